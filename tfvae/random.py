"""Randomness as a function: integer words from a counter, and noise from words.

Nothing here holds state. A draw is made in two steps:

1. **words**: uint32 integers, a pure function of a seed. They are the same bits eagerly, under
   XLA and in every export, which TensorFlow's own *float* draws are not.
2. **noise**: floats from words, one word a draw or two for a pair. ``transform(noise, params)``
   of a distribution layer then makes the draw.

Training takes its words from :func:`words` (TensorFlow's kernel, fast under XLA). Generation
takes them from :func:`row_words`, the same generator written in plain integer operations, so
that each row is a function of its own seed and the graph runs in any ONNX runtime.

References:
    Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3
    (Philox-4x32-10). Box and Muller (1958), A note on the generation of random normal deviates.
    Giles (2010), Approximating the erfinv function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import tensorflow as tf

Noise = Literal["normal", "uniform", "coin"]

# Streams keep the draws of one seed apart: two uses of a seed never share a word.
LATENT, OBSERVATION, PRIOR, BINARIZE, SHUFFLE, TEST, POSTERIOR, CORRUPTION = range(8)
WORDS, WEIGHTS = 8, 9

_LEVEL = 1 << 8  # between the same streams of two levels

_PHILOX = 1  # TensorFlow's number for the algorithm
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
# The key under which TensorFlow scrambles a seed into a Philox key and counter.
_SCRAMBLE_KEY = (0x3EC8F720, 0x02461E29)
_MASK = 0xFFFFFFFF


def fold(seed: tf.Tensor | Sequence[int] | int, *numbers: tf.Tensor | int) -> tf.Tensor:
    """Derive a new seed from a seed and any numbers, as in "the noise of step 7".

    Args:
        seed: an integer, or a seed of shape [2].
        *numbers: integers (Python or tensors) to fold in, one after the other.

    Returns:
        A seed of shape [2], int64.

    Example:
        >>> fold(0, 7).shape
        TensorShape([2])
    """
    folded = as_seed(seed)
    for number in numbers:
        # Philox is a keyed permutation of its counter: distinct numbers give distinct seeds.
        folded = tf.bitcast(
            tf.reshape(
                tf.random.stateless_uniform(
                    [4],
                    tf.stack([folded[0] ^ folded[1], tf.cast(number, tf.int64)]),
                    minval=None,
                    maxval=None,
                    dtype=tf.uint32,
                    alg="philox",
                ),
                [2, 2],
            ),
            tf.int64,
        )
    return folded


def as_seed(seed: tf.Tensor | Sequence[int] | int) -> tf.Tensor:
    """Return `seed` as a tensor of shape [2], int64; an integer n becomes [n, 0]."""
    if isinstance(seed, int):
        return tf.constant([seed, 0], tf.int64)
    tensor = tf.cast(seed, tf.int64)
    if tensor.shape.rank == 0:
        return tf.stack([tensor, tf.zeros_like(tensor)])
    if tensor.shape != (2,):
        raise ValueError(
            "Expected `seed` to be an integer or a tensor of shape [2]. "
            f"Received: seed of shape {tensor.shape}."
        )
    return tensor


def level(stream: int, number: int) -> int:
    """Return a stream's namesake for a level of a hierarchy; of level 0 that stream itself."""
    return stream + _LEVEL * number


def words(
    seed: tf.Tensor | Sequence[int] | int,
    shape: Sequence[int | tf.Tensor] | tf.Tensor,
    start: tf.Tensor | int | None = None,
) -> tf.Tensor:
    """Return uint32 words of the given shape: the bits that training noise is made of.

    Filled in row-major order, so a batch of 3 gets the first three rows of a batch of 100.

    Args:
        seed: an integer or a seed of shape [2].
        shape: of the words.
        start: how many words of the seed's stream to leave out, so that a part of a batch can be
            drawn by itself; None draws from the beginning.

    Example:
        >>> whole = words(0, [5, 3])
        >>> bool(tf.reduce_all(words(0, [2, 3], start=3 * 3) == whole[3:]))
        True
    """
    if start is None:
        return tf.random.stateless_uniform(
            shape, as_seed(seed), minval=None, maxval=None, dtype=tf.uint32, alg="philox"
        )
    # One count of the Philox counter is four words.
    start = tf.cast(start, tf.int64)
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=as_seed(seed))
    blocks = tf.cast(start // 4, tf.uint64)
    size = tf.reduce_prod(tf.cast(tf.convert_to_tensor(shape), tf.int64))
    drawn = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[size + 4],
        key=key,
        counter=counter + tf.stack([blocks, tf.zeros_like(blocks)]),
        alg=_PHILOX,
        dtype=tf.uint32,
    )
    return tf.reshape(drawn[start % 4 :][:size], shape)


def row_words(seed: tf.Tensor, count: int, stream: int) -> tf.Tensor:
    """Return `count` words for each row, from that row's seed alone.

    Philox-4x32-10 in 64-bit integer multiplications, shifts and exclusive ors. Row i equals
    ``tf.random.stateless_uniform([count], [seed[i], stream], None, None, tf.uint32,
    alg="philox")``, key scrambling included.

    Args:
        seed: int64 [B], any value.
        count: words per row.
        stream: which of the row's streams (``LATENT``, ``OBSERVATION``, ...).

    Returns:
        uint32 [B, count].

    Example:
        >>> row_words(tf.constant([7, -1], tf.int64), 3, LATENT).shape
        TensorShape([2, 3])
    """
    return row_streams(seed, [(count, stream)])[0]


def row_streams(seed: tf.Tensor, wanted: Sequence[tuple[int, int]]) -> list[tf.Tensor]:
    """Return words of several streams: for each (count, stream), what :func:`row_words` returns.

    The scrambling of all of them is one pass.
    """
    seed = tf.cast(tf.convert_to_tensor(seed), tf.int64)
    low, high = _halves(tf.bitcast(seed[:, None], tf.uint64))
    streams = [stream for _, stream in wanted]
    zeros = tf.zeros([1, len(wanted)], tf.uint64)
    # Scramble [seed, stream] into a key and the upper half of the counter.
    scrambled = _philox(
        (
            low + zeros,
            high + zeros,
            tf.zeros_like(low) + _u64([[stream & _MASK for stream in streams]]),
            tf.zeros_like(low) + _u64([[(stream >> 32) & _MASK for stream in streams]]),
        ),
        (_u64(_SCRAMBLE_KEY[0]), _u64(_SCRAMBLE_KEY[1])),
    )
    drawn = []
    for index, (count, _) in enumerate(wanted):
        key0, key1, upper0, upper1 = (lane[:, index : index + 1] for lane in scrambled)
        blocks = _u64([list(range(-(-count // 4)))])
        lanes = _philox(
            (blocks + tf.zeros_like(key0), tf.zeros_like(key0), upper0, upper1), (key0, key1)
        )
        flat = tf.reshape(tf.stack(lanes, axis=-1), [-1, 4 * blocks.shape[1]])
        drawn.append(tf.cast(flat[:, :count], tf.uint32))
    return drawn


def noise_from_words(kind: Noise, bits: tf.Tensor) -> tf.Tensor:
    """Turn uint32 words [..., m] into float32 noise: [..., m], m even for normal noise.

    *uniform*: ``(⌊w / 2⁹⌋ + ½) 2⁻²³``, in the open interval (0, 1), exact in float32.
    *normal*: Box-Muller on the two halves of the last axis, computed in float64 and rounded to
    float32. Library logarithms differ in float64's last bit, about 1e-16; the rounding to
    float32 hides that in all but some two of 10⁹ draws, so eager, compiled and exported noise
    is bit-equal in practice. Draws reach ±6.7 standard deviations.
    *coin*: uniform noise to be compared with a probability, [..., 2 (m - 1)]: two numbers a word.
    Each has 16 bits of its own; the next 7, which decide one comparison in 65,536, are those of
    the last word, for all.
    """
    if kind == "uniform":
        # 23 bits and not 24, so that the half still fits and 1.0 is never reached.
        top = tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32))
        return (_float32(top) + 0.5) * 2.0**-23
    if kind == "normal":
        half = bits.shape[-1] // 2
        unit = (tf.cast(tf.cast(bits, tf.int64), tf.float64) + 0.5) * 2.0**-32
        radius = tf.sqrt(-2.0 * tf.math.log(unit[..., :half]))
        angle = (2.0 * math.pi) * unit[..., half:]
        # sin(x + π/2) for cos(x): older ONNX runtimes have no cosine in float64.
        phase = tf.concat([angle + 0.5 * math.pi, angle], axis=-1)
        pair = tf.concat([radius, radius], axis=-1) * tf.sin(phase)
        return tf.cast(pair, tf.float32)
    if kind == "coin":
        own, shared = bits[..., :-1], bits[..., -1:]
        high = tf.bitwise.right_shift(own, tf.constant(16, tf.uint32))
        low = tf.bitwise.bitwise_and(own, tf.constant(0xFFFF, tf.uint32))
        # 16 + 7 bits and the half of the last are 24, which float32 holds.
        rest = _float32(tf.bitwise.right_shift(shared, tf.constant(25, tf.uint32))) + 0.5
        return (_float32(tf.concat([high, low], axis=-1)) + rest * 2.0**-7) * 2.0**-16
    raise ValueError(
        f'Expected `kind` to be "normal", "uniform" or "coin". Received: kind={kind!r}.'
    )


def word_count(kind: Noise, draws: int, choices: int = 0) -> int:
    """Return how many words a number of draws takes, `choices` of which are uniform."""
    rest = draws - choices
    return choices + {"normal": rest + rest % 2, "uniform": rest, "coin": 1 + -(-rest // 2)}[kind]


def _flat_noise(
    kind: Noise,
    bits: tf.Tensor,
    draws: int,
    choices: int,
    make: Callable[[Noise, tf.Tensor], tf.Tensor] = noise_from_words,
) -> tf.Tensor:
    """Turn words [..., m] into `draws` floats, the first `choices` of them uniform."""
    if not choices:
        return make(kind, bits)[..., :draws]
    rest = make(kind, bits[..., choices:])[..., : draws - choices]
    return tf.concat([make("uniform", bits[..., :choices]), rest], axis=-1)


def _training_noise(kind: Noise, bits: tf.Tensor) -> tf.Tensor:
    """Turn words into noise as :func:`noise_from_words` does, faster for normal noise.

    The inverse distribution function in float32, one draw a word, up to ±5.3 standard deviations.
    It is not the same to the last bit everywhere, which training does not need: on CPU it makes a
    step of a small VAE a tenth shorter.
    """
    if kind != "normal":
        return noise_from_words(kind, bits)
    return math.sqrt(2.0) * tf.math.erfinv(2.0 * noise_from_words("uniform", bits) - 1.0)


def noise(
    kind: Noise,
    seed: tf.Tensor | Sequence[int] | int,
    samples: int,
    batch: int | tf.Tensor,
    event_shape: Sequence[int],
    choices: int = 0,
    position: tf.Tensor | None = None,
) -> tf.Tensor:
    """Draw training noise: float32 [samples, batch, *event_shape].

    Example b's noise depends on the seed and b, not on how large the batch is. The first
    `choices` values of each example are uniform, whatever the kind of the others. `position` is
    the index of the first example in a larger batch, of which this is a part.
    """
    draws = math.prod(event_shape)
    each = word_count(kind, draws, choices)
    start = None if position is None else tf.cast(position, tf.int64) * (samples * each)
    bits = words(seed, [batch, samples, each], start)
    values = _flat_noise(kind, bits, draws, choices, _training_noise)
    return tf.reshape(tf.transpose(values, [1, 0, 2]), [samples, batch, *event_shape])


class Request(NamedTuple):
    """Base noise that is wanted of each row.

    Attributes:
        kind: of the noise.
        event_shape: its shape, for one draw.
        stream: which of the row's streams.
        choices: how many leading values are uniform, whatever the kind of the others.
        samples: how many draws; None for one, without an axis of its own.
    """

    kind: Noise
    event_shape: tuple[int, ...]
    stream: int
    choices: int = 0
    samples: int | None = None

    @property
    def words(self) -> int:
        """How many words one draw takes."""
        return word_count(self.kind, math.prod(self.event_shape), self.choices)


def row_noise(seed: tf.Tensor, *requests: Request) -> list[tf.Tensor]:
    """Draw generation noise, row i from ``seed[i]`` alone.

    Args:
        seed: int64 [B], any value.
        *requests: what is wanted, each from a stream of its own.

    Returns:
        For each, float32 [B, *event_shape], or [samples, B, *event_shape].
    """
    wanted = [((each.samples or 1) * each.words, each.stream) for each in requests]
    noises = []
    for bits, (kind, event_shape, _, choices, samples) in zip(
        row_streams(seed, wanted), requests, strict=True
    ):
        draws = math.prod(event_shape)
        if samples is None:
            values = _flat_noise(kind, bits, draws, choices)
            noises.append(tf.reshape(values, [-1, *event_shape]))
            continue
        each = tf.reshape(bits, [-1, samples, bits.shape[-1] // samples])
        values = tf.transpose(_flat_noise(kind, each, draws, choices), [1, 0, 2])
        noises.append(tf.reshape(values, [samples, -1, *event_shape]))
    return noises


def tempered(kind: Noise, noise: tf.Tensor, temperature: tf.Tensor, choices: int = 0) -> tf.Tensor:
    """Draw base noise in to the middle of its distribution, for temperatures below 1.

    Normal noise is multiplied by the temperature, uniform noise by its distance from one half;
    what that would put outside (0, 1) stays at its ends. The first `choices` values, which pick
    among components, stay as they are.
    """
    if choices:
        rest = tempered(kind, noise[..., choices:], temperature)
        return tf.concat([noise[..., :choices], rest], axis=-1)
    if kind == "normal":
        return noise * temperature
    drawn_in = 0.5 + temperature * (noise - 0.5)
    return tf.clip_by_value(drawn_in, 2.0**-24, 1.0 - 2.0**-24)


def _float32(words: tf.Tensor) -> tf.Tensor:
    """Cast words below 2³¹ to float32; not every runtime casts uint32."""
    return tf.cast(tf.cast(words, tf.int32), tf.float32)


def _u64(value: int | list[list[int]]) -> tf.Tensor:
    return tf.constant(value, tf.uint64)


def _halves(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Split uint64 into its low and high 32 bits, each still carried in uint64."""
    return (
        tf.bitwise.bitwise_and(value, _u64(_MASK)),
        tf.bitwise.right_shift(value, _u64(32)),
    )


def _philox(
    counter: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], key: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Philox-4x32-10 on 32-bit lanes carried in uint64; keys [..., 1] or scalars."""
    c0, c1, c2, c3 = counter
    keys = (_round_keys(key[0], _WEYL[0]), _round_keys(key[1], _WEYL[1]))
    for k0, k1 in zip(*keys, strict=True):
        low0, high0 = _halves(c0 * _u64(_MULTIPLIERS[0]))
        low1, high1 = _halves(c2 * _u64(_MULTIPLIERS[1]))
        c0, c1, c2, c3 = (
            tf.bitwise.bitwise_xor(high1, tf.bitwise.bitwise_xor(c1, k0)),
            low1,
            tf.bitwise.bitwise_xor(high0, tf.bitwise.bitwise_xor(c3, k1)),
            low0,
        )
    return c0, c1, c2, c3


def _round_keys(key: tf.Tensor, weyl: int) -> list[tf.Tensor]:
    """Return the keys of all rounds, key + r weyl, computed at once."""
    if key.shape.rank == 0:  # fixed: no operation in the graph
        fixed = int(tf.get_static_value(key))
        return [_u64((fixed + r * weyl) & _MASK) for r in range(_ROUNDS)]
    steps = _u64([[(r * weyl) & _MASK for r in range(_ROUNDS)]])
    return list(tf.split(tf.bitwise.bitwise_and(key + steps, _u64(_MASK)), _ROUNDS, axis=-1))
