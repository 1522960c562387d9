"""Distributions over which row of a codebook: a point on the nearest, and categoricals.

A draw is a row, or one row at each position; probabilities are those of its index, the code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.base import tfd


def nearest(vectors: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
    """Return which of the rows [K, d] is nearest to each of the vectors [..., d], int32 [...].

    Of rows equally near it is the first.
    """
    codebook = tf.convert_to_tensor(codebook)
    # |v - c|² without |v|², which all rows share. Around the codebook's centre, since what two
    # terms have in common is lost to rounding.
    centre = tf.reduce_mean(codebook, axis=0)
    codes = codebook - centre
    products = tf.tensordot(vectors - centre, codes, [[-1], [1]])
    distances = tf.reduce_sum(tf.square(codes), axis=-1) - 2.0 * products
    return tf.argmin(distances, axis=-1, output_type=tf.int32)


@tf.custom_gradient
def rows(codebook: tf.Tensor, codes: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """Return the rows [..., d] of a codebook [K, d] at codes [...]."""

    # TensorFlow's own gradient is sparse: its sums are in any order, and optimizers that move
    # every weight at every step, such as Adam, treat it otherwise.
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        chosen = tf.one_hot(tf.reshape(codes, [-1]), codebook.shape[0], dtype=upstream.dtype)
        flat = tf.reshape(upstream, [-1, codebook.shape[1]])
        return tf.matmul(chosen, flat, transpose_a=True), None

    return tf.gather(codebook, codes), gradient


def pick(uniform: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Map uniforms [..., *positions] to codes of categoricals, int32, by the inverse CDF.

    Args:
        uniform: numbers in [0, 1).
        logits: [codes] for all positions, or [*positions, codes].
    """
    codes = logits.shape[-1]
    # In float64 first: rounded, the steps of the CDF are the same in every runtime.
    steps = tf.cumsum(tf.nn.softmax(tf.cast(logits, tf.float64)), axis=-1)[..., : codes - 1]
    bits = (codes - 1).bit_length()
    positions = logits.shape[:-1]
    padding = [[0, 0]] * len(positions) + [[0, 2**bits - codes + 1]]
    steps = tf.pad(tf.cast(steps, uniform.dtype), padding, constant_values=2.0)
    first = tf.constant(np.arange(math.prod(positions)).reshape(positions) << bits, tf.int32)
    # A binary search: a comparison with all steps would take codes times the memory.
    table = tf.reshape(steps, [-1])
    code = tf.zeros_like(uniform, tf.int32)
    for bit in reversed(range(bits)):
        further = code + 2**bit
        code = tf.where(uniform >= tf.gather(table, first + further - 1), further, code)
    return code


class Quantized(tfd.Distribution):  # type: ignore[misc, name-defined]
    """The point mass on the codes nearest to what an encoder emits; it counts codes.

    ``log_prob`` is 0 at these rows of the codebook and -inf elsewhere. Draws and the mean are
    these rows, and hand their gradient straight through to `encoded`.

    Args:
        encoded: the encoder's vectors, [..., *positions, d].
        codebook: the codes, [K, d].
        event_ndims: how many of the last axes make up one event.

    Attributes:
        encoded: the encoder's vectors.
        codebook: the codes, as given.
        codes: which rows are nearest, int32 [..., *positions].
        quantized: these rows, [..., *positions, d], with their gradient to the codebook.
    """

    def __init__(
        self,
        encoded: tf.Tensor,
        codebook: Any,
        event_ndims: int = 1,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "Quantized",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as scope:
            self.encoded = tf.convert_to_tensor(encoded)
            self.codebook = codebook
            self.codes = nearest(tf.stop_gradient(self.encoded), codebook)
            self.quantized = rows(tf.convert_to_tensor(codebook), self.codes)
            self._event_ndims = event_ndims
            super().__init__(
                dtype=self.encoded.dtype,
                reparameterization_type=tfd.FULLY_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=scope,
            )

    def _batch_shape(self) -> tf.TensorShape:
        return self.encoded.shape[: -self._event_ndims]

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.encoded)[: -self._event_ndims]

    def _event_shape(self) -> tf.TensorShape:
        return self.encoded.shape[-self._event_ndims :]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.encoded)[-self._event_ndims :]

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return tf.repeat(self._mean()[tf.newaxis], n, axis=0)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        # By value and not by the nearest code: of codes that are all but equal, rounding may
        # take another for the nearest to a row itself.
        axes = list(range(-self._event_ndims, 0))
        equal = tf.reduce_all(tf.equal(value, self.quantized), axis=axes)
        return tf.where(equal, tf.zeros([], self.dtype), tf.constant(-math.inf, self.dtype))

    def _mean(self) -> tf.Tensor:
        # In this order: the bracket is an exact zero, so the value is the row itself.
        return tf.stop_gradient(self.quantized) + (self.encoded - tf.stop_gradient(self.encoded))

    def _stddev(self) -> tf.Tensor:
        return tf.zeros_like(self.encoded)


class Codes(tfd.Distribution):  # type: ignore[misc, name-defined]
    """Independent categoricals over the rows of a codebook, one at each position.

    For ``log_prob`` a vector stands for the code that is nearest to it.

    Args:
        logits: [K] for all positions, or [*positions, K].
        codebook: the codes, [K, d].
        event_shape: (*positions, d).

    Attributes:
        logits: as given.
        codebook: the codes, as given.
    """

    def __init__(
        self,
        logits: tf.Tensor,
        codebook: Any,
        event_shape: tuple[int, ...],
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "Codes",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as scope:
            self.logits = tf.convert_to_tensor(logits)
            self.codebook = codebook
            self._shape = tf.TensorShape(event_shape)
            super().__init__(
                dtype=self.logits.dtype,
                reparameterization_type=tfd.NOT_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=scope,
            )

    def log_prob_of_codes(self, codes: tf.Tensor) -> tf.Tensor:
        """Return the log-probability of codes [..., *positions], [...]."""
        positions = self.logits.shape[:-1]
        table = tf.reshape(tf.nn.log_softmax(self.logits), [-1])
        first = np.arange(math.prod(positions)).reshape(positions) * self.logits.shape[-1]
        each = tf.gather(table, tf.constant(first, tf.int32) + codes)
        return tf.reduce_sum(each, axis=list(range(1 - self._shape.rank, 0)))

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _event_shape(self) -> tf.TensorShape:
        return self._shape

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._shape.as_list(), tf.int32)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        seed = tfp.random.sanitize_seed(seed)
        uniform = tf.random.stateless_uniform([n, *self._shape[:-1]], seed, dtype=self.dtype)
        return tf.gather(tf.convert_to_tensor(self.codebook), pick(uniform, self.logits))

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        return self.log_prob_of_codes(nearest(value, self.codebook))

    def _mean(self) -> tf.Tensor:
        return self._expected(tf.convert_to_tensor(self.codebook))

    def _variance(self) -> tf.Tensor:
        square = self._expected(tf.square(tf.convert_to_tensor(self.codebook)))
        return square - tf.square(self._mean())

    def _expected(self, of_codes: tf.Tensor) -> tf.Tensor:
        each = tf.tensordot(tf.nn.softmax(self.logits), of_codes, axes=1)
        return tf.broadcast_to(each, self._shape)


@tfd.RegisterKL(Quantized, Codes)
def _quantized_codes(q: Quantized, p: Codes, name: str | None = None) -> tf.Tensor:
    """Minus the log-probability of the codes: a point mass has no entropy."""
    if q.codebook is not p.codebook:
        raise ValueError(
            "Expected a posterior and a prior over one codebook. Received: two codebooks. Share "
            "the layer, as in posterior = layers.VectorQuantizer(...) with "
            "prior = priors.Codebook(posterior)."
        )
    return -p.log_prob_of_codes(q.codes)
