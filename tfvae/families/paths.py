"""The distribution of a path of latents, and what its parts are checked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.base import DistributionLayer

tfd = tfp.distributions

Leading = list[tf.Tensor | int]


class Chain(tfd.Distribution):  # type: ignore[name-defined, misc]
    r"""The distribution of a path, step by step: :math:`\prod_t f(z_t | z_{t-1})`.

    At a path all its steps' distributions are known at once, without a loop over them.

    Args:
        conditionals: from paths z [..., T, d] to the distribution with which each of their steps
            follows the one before: batch shape [...], event shape [T, d].
        draw: from base noise [n, ..., T, d] to paths.
        event_shape: (T, d).
        batch_shape: of the distribution.
        dtype: of the draws.
    """

    def __init__(
        self,
        conditionals: Callable[[tf.Tensor], Any],
        draw: Callable[[tf.Tensor], tf.Tensor],
        event_shape: tuple[int, ...],
        batch_shape: tf.TensorShape,
        dtype: Any,
    ) -> None:
        parameters = dict(locals())
        self.conditionals = conditionals
        self._draw = draw
        self._shapes = tf.TensorShape(batch_shape), tf.TensorShape(event_shape)
        super().__init__(
            dtype=tf.as_dtype(dtype),
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="Chain",
        )

    def _batch_shape(self) -> tf.TensorShape:
        return self._shapes[0]

    def _event_shape(self) -> tf.TensorShape:
        return self._shapes[1]

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return self.conditionals(z).log_prob(z)

    def _sample_n(self, n: int, seed: Any = None) -> tf.Tensor:
        key = tfp.random.sanitize_seed(seed)
        shape = [n, *self.batch_shape, *self.event_shape]
        return self._draw(tf.random.stateless_normal(shape, key, dtype=self.dtype))


def check_step_layer(layer: DistributionLayer, argument: str) -> None:
    """Refuse a layer that is not of vectors, or whose draws are no map of normal noise."""
    if layer.noise != "normal" or layer.choices or len(layer.event_shape) != 1:
        raise ValueError(
            f"Expected `{argument}` to be the distribution of vectors that are a map of normal "
            "noise, such as tfvae.layers.Normal((8,)). Received: "
            f"{type(layer).__name__}(event_shape={layer.event_shape})."
        )


def check_emits(
    network: Any, argument: str, inputs: list[str], layer: DistributionLayer, *, first: int | None
) -> None:
    """Refuse a network that does not map vectors to a step's parameters.

    Args:
        network: what should do so.
        argument: what it was passed as.
        inputs: what the vectors are.
        layer: of one step.
        first: how many values the first of them has; None for any number.
    """
    if not isinstance(network, keras.Model) or not network.built:
        raise TypeError(
            f"Expected `{argument}` to be a Keras model that is built: begin it with "
            f"keras.Input(shape). Received: {argument}={network!r}."
        )
    given = [tuple(each.shape[1:]) for each in network.inputs]
    emitted = network.output_shape[1:]
    if (
        [len(each) for each in given] != [1] * len(inputs)
        or (first is not None and given[0] != (first,))
        or (tuple(emitted) != layer.params_shape)
    ):
        raise ValueError(
            f"Expected `{argument}` to map {' and '.join(inputs)}, vectors"
            + ("" if first is None else f" of which the first has {first} values")
            + f", to [batch, {layer.params_shape[0]}], the parameters of "
            f"{type(layer).__name__}(event_shape={layer.event_shape}). Received: one from "
            f"{' and '.join(str((None, *each)) for each in given)} to {(None, *emitted)}."
        )


def as_rows(sequences: tf.Tensor) -> tuple[tf.Tensor, Leading]:
    """Return sequences [..., T, n] as rows [R, T, n], and their leading shape."""
    dynamic = tf.shape(sequences)
    leading = [
        dynamic[axis] if size is None else size for axis, size in enumerate(sequences.shape[:-2])
    ]
    return tf.reshape(sequences, [-1, *sequences.shape[-2:]]), leading


def under_every(z: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    """Repeat paths [..., 1, T, d], if they are, for each of the features [B, T, k]."""
    batch = features.shape[-3]
    if z.shape.rank < 3 or z.shape[-3] != 1 or batch == 1:
        return z
    count = tf.shape(features)[-3] if batch is None else batch
    return tf.broadcast_to(z, [*tf.unstack(tf.shape(z)[:-3]), count, *z.shape[-2:]])


def as_before(rows: tf.Tensor, leading: Leading) -> tf.Tensor:
    """Give rows [R, T, n] the leading shape [...] of what they were made of."""
    return tf.reshape(rows, [*leading, *rows.shape[1:]])
