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
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

Noise = Literal["normal", "uniform"]

# Streams keep the draws of one seed apart: two uses of a seed never share a word.
LATENT, OBSERVATION, PRIOR, BINARIZE, SHUFFLE, TEST = range(6)

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


def words(seed: tf.Tensor | Sequence[int] | int, shape: Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Return uint32 words of the given shape: the bits that training noise is made of.

    Filled in row-major order, so a batch of 3 gets the first three rows of a batch of 100.
    """
    return tf.random.stateless_uniform(
        shape, as_seed(seed), minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )


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
    seed = tf.cast(tf.convert_to_tensor(seed), tf.int64)
    low, high = _halves(tf.bitcast(seed, tf.uint64))
    zeros = tf.zeros_like(low)
    # Scramble [seed, stream] into a key and the upper half of the counter.
    key0, key1, upper0, upper1 = _philox(
        (low, high, zeros + _u64(stream & _MASK), zeros + _u64((stream >> 32) & _MASK)),
        (zeros + _u64(_SCRAMBLE_KEY[0]), zeros + _u64(_SCRAMBLE_KEY[1])),
    )
    blocks = tf.constant([list(range(-(-count // 4)))], tf.uint64)  # [1, blocks]
    column = tf.zeros_like(blocks)
    lanes = _philox(
        (
            blocks + zeros[:, None],
            column + zeros[:, None],
            upper0[:, None] + column,
            upper1[:, None] + column,
        ),
        (key0[:, None], key1[:, None]),
    )
    flat = tf.reshape(tf.stack(lanes, axis=-1), [-1, 4 * blocks.shape[1]])
    return tf.cast(flat[:, :count], tf.uint32)


def noise_from_words(kind: Noise, bits: tf.Tensor) -> tf.Tensor:
    """Turn uint32 words [..., m] into float32 noise [..., m]; a normal draw needs m even.

    *uniform*: ``(⌊w / 2⁹⌋ + ½) 2⁻²³``, in the open interval (0, 1), exact in float32.
    *normal*: Box-Muller on the two halves of the last axis, computed in float64 and rounded to
    float32. Library logarithms differ in float64's last bit, about 1e-16; the rounding to
    float32 hides that in all but some two of 10⁹ draws, so eager, compiled and exported noise
    is bit-equal in practice. Draws reach ±6.7 standard deviations.
    """
    if kind == "uniform":
        # 23 bits and not 24, so that the half still fits and 1.0 is never reached.
        top = tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32))
        return (tf.cast(tf.cast(top, tf.int32), tf.float32) + 0.5) * 2.0**-23
    if kind == "normal":
        half = bits.shape[-1] // 2
        unit = (tf.cast(tf.cast(bits, tf.int64), tf.float64) + 0.5) * 2.0**-32
        radius = tf.sqrt(-2.0 * tf.math.log(unit[..., :half]))
        angle = (2.0 * math.pi) * unit[..., half:]
        # sin(x + π/2) for cos(x): older ONNX runtimes have no cosine in float64.
        phase = tf.concat([angle + 0.5 * math.pi, angle], axis=-1)
        pair = tf.concat([radius, radius], axis=-1) * tf.sin(phase)
        return tf.cast(pair, tf.float32)
    raise ValueError(f'Expected `kind` to be "normal" or "uniform". Received: kind={kind!r}.')


def _word_count(kind: Noise, draws: int, choices: int) -> int:
    return draws + (draws - choices) % 2 if kind == "normal" else draws


def _flat_noise(kind: Noise, bits: tf.Tensor, draws: int, choices: int) -> tf.Tensor:
    """Turn words [..., m] into `draws` floats, the first `choices` of them uniform."""
    if not choices:
        return noise_from_words(kind, bits)[..., :draws]
    rest = noise_from_words(kind, bits[..., choices:])[..., : draws - choices]
    return tf.concat([noise_from_words("uniform", bits[..., :choices]), rest], axis=-1)


def noise(
    kind: Noise,
    seed: tf.Tensor | Sequence[int] | int,
    samples: int,
    batch: int | tf.Tensor,
    event_shape: Sequence[int],
    choices: int = 0,
) -> tf.Tensor:
    """Draw training noise: float32 [samples, batch, *event_shape].

    Example b's noise depends on the seed and b, not on how large the batch is. The first
    `choices` values of each example are uniform, whatever the kind of the others.
    """
    draws = math.prod(event_shape)
    bits = words(seed, [batch, samples, _word_count(kind, draws, choices)])
    values = _flat_noise(kind, bits, draws, choices)
    return tf.reshape(tf.transpose(values, [1, 0, 2]), [samples, batch, *event_shape])


def row_noise(
    kind: Noise, seed: tf.Tensor, event_shape: Sequence[int], stream: int, choices: int = 0
) -> tf.Tensor:
    """Draw generation noise: float32 [B, *event_shape], row i from ``seed[i]`` alone."""
    draws = math.prod(event_shape)
    bits = row_words(seed, _word_count(kind, draws, choices), stream)
    return tf.reshape(_flat_noise(kind, bits, draws, choices), [-1, *event_shape])


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


def _u64(value: int) -> tf.Tensor:
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
    """Philox-4x32-10 on 32-bit lanes carried in uint64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for round_ in range(_ROUNDS):
        if round_:
            k0 = tf.bitwise.bitwise_and(k0 + _u64(_WEYL[0]), _u64(_MASK))
            k1 = tf.bitwise.bitwise_and(k1 + _u64(_WEYL[1]), _u64(_MASK))
        low0, high0 = _halves(c0 * _u64(_MULTIPLIERS[0]))
        low1, high1 = _halves(c2 * _u64(_MULTIPLIERS[1]))
        c0, c1, c2, c3 = (
            tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(high1, c1), k0),
            low1,
            tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(high0, c3), k1),
            low0,
        )
    return c0, c1, c2, c3
