"""Sentences from latents: greedily, by drawing, or by beam search.

Each is laid out step by step in plain operations, so that exports run the very same. A decoder is
anything that can ``begin(z)`` and ``advance(tokens, z, states)``; see :class:`RecurrentDecoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from tfvae.layers.mixture import choose_index
from tfvae.text import BOS, EOS, PAD

States = tuple[tf.Tensor, ...]


class Decoder(Protocol):
    """What writes sentences a token at a time."""

    def begin(self, z: tf.Tensor) -> States:
        """Return the states before the first token, of z [B, d]."""

    def advance(self, tokens: tf.Tensor, z: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
        """Return logits [B, K] of ``<eos>`` and the tokens after it, and the states after them."""


def greedy(decoder: Decoder, z: tf.Tensor, length: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Write the most probable token at each place.

    Args:
        decoder: what writes.
        z: [B, d].
        length: of a row, T.

    Returns:
        Tokens int64 [B, T], and the logits of each [B, T, K], zero after the ``<eos>``.
    """
    return _written(decoder, z, length, lambda _, logits: _most_probable(logits))


def sampled(
    decoder: Decoder, z: tf.Tensor, uniform: tf.Tensor, temperature: tf.Tensor
) -> tf.Tensor:
    """Draw each token from p(x_t|x_<t, z), by a uniform of its own.

    Args:
        decoder: what writes.
        z: [B, d].
        uniform: values in (0, 1), [B, T].
        temperature: what logits are divided by, [B]; at 0 the most probable token is taken.

    Returns:
        Tokens int64 [B, T].
    """
    scale = tf.where(temperature > 0, temperature, tf.ones_like(temperature))[:, tf.newaxis]

    def pick(place: int, logits: tf.Tensor) -> tf.Tensor:
        kind = logits.dtype
        drawn = choose_index(tf.cast(uniform[:, place], kind), logits / tf.cast(scale, kind))
        return tf.where(temperature > 0, drawn, _most_probable(logits))

    return _written(decoder, z, int(uniform.shape[1]), pick)[0]


def beam(decoder: Decoder, z: tf.Tensor, length: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Search for the most probable sentences, `width` beginnings at a time.

    Args:
        decoder: what writes.
        z: [B, d].
        length: of a row, T.
        width: how many beginnings are kept at each place, W.

    Returns:
        Tokens int64 [B, W, T], the most probable row first, and log p(x|z) [B, W]. Rows that there
        are not, where fewer than W can be written at all, have -inf.

    References:
        Graves (2012), Sequence transduction with recurrent neural networks, arXiv:1211.3711.
    """
    rows = tf.shape(z)[0]
    # All beginnings are the same empty one: the first alone counts.
    first = tf.constant([0.0] + [_NEVER] * (width - 1), z.dtype)[tf.newaxis]
    total = tf.repeat(first, rows, axis=0)  # [B, W]
    z = tf.repeat(z, width, axis=0)  # [B W, d]
    states, last = decoder.begin(z), tf.fill([rows * width], BOS)
    written = tf.zeros([rows * width, 0], tf.int32)
    origin = width * tf.range(rows)[:, tf.newaxis]
    for _ in range(length):
        logits, states = decoder.advance(last, z, states)
        each = tf.nn.log_softmax(tf.cast(logits, total.dtype))
        count = each.shape[-1]
        # What has ended is continued in one way, at no cost.
        over = tf.logical_or(tf.equal(last, EOS), tf.equal(last, PAD))[:, tf.newaxis]
        stay = tf.constant([0.0] + [_NEVER] * (count - 1), each.dtype)[tf.newaxis]
        each = tf.reshape(tf.where(over, stay, each), [-1, width, count])
        candidates = tf.reshape(total[:, :, tf.newaxis] + each, [-1, width * count])
        total, picked = tf.math.top_k(candidates, width)
        parent = tf.reshape(origin + picked // count, [-1])
        token = tf.reshape(picked % count, [-1]) + EOS
        last = tf.where(tf.gather(over[:, 0], parent), tf.fill(tf.shape(token), PAD), token)
        states = tuple(tf.gather(state, parent) for state in states)
        written = tf.concat([tf.gather(written, parent), last[:, tf.newaxis]], axis=1)
    tokens = tf.reshape(written, [-1, width, length])
    none = tf.constant(-float("inf"), total.dtype)
    return tf.cast(tokens, tf.int64), tf.where(total > 0.5 * _NEVER, total, none)


_NEVER = -1e30


def _written(
    decoder: Decoder, z: tf.Tensor, length: int, pick: Callable[[int, tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    rows = tf.shape(z)[0]
    states, last = decoder.begin(z), tf.fill([rows], BOS)
    over = tf.fill([rows], False)
    tokens, shown = [], []
    for place in range(length):
        logits, states = decoder.advance(last, z, states)
        last = tf.where(over, tf.fill([rows], PAD), pick(place, logits) + EOS)
        tokens.append(last)
        shown.append(tf.where(over[:, tf.newaxis], tf.zeros_like(logits), logits))
        over = tf.logical_or(over, tf.equal(last, EOS))
    return tf.cast(tf.stack(tokens, axis=1), tf.int64), tf.stack(shown, axis=1)


def _most_probable(logits: Any) -> tf.Tensor:
    return tf.argmax(logits, axis=-1, output_type=tf.int32)
