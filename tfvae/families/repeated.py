"""One distribution at every step of a sequence."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.kl import AnyIndependent


@keras.saving.register_keras_serializable("tfvae")
class Repeated(DistributionLayer):
    r"""A distribution layer at each of T steps, :math:`p(x) = \prod_t p(x_t)`.

    Its parameters have an axis of steps before those of the layer, whose weights, if it has any,
    all steps share.

    Args:
        layer: the distribution of one step.
        steps: how many there are, T.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `layer` is not a distribution layer.
        ValueError: if steps < 1.

    Example:
        >>> layer = tfvae.families.Repeated(tfvae.layers.Normal((3,)), steps=10)
        >>> layer.event_shape, layer.params_shape
        ((10, 3), (10, 6))
    """

    def __init__(
        self,
        layer: DistributionLayer,
        steps: int,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        check_layer("layer", layer)
        super().__init__(
            (check_steps(steps), *layer.event_shape), name=name, dtype=dtype, trainable=trainable
        )
        self.layer = layer
        self.steps = steps
        take_after(self, layer)
        self.choices = steps * layer.choices
        self.quantiles = steps * layer.quantiles

    @property
    def params_shape(self) -> tuple[int, ...]:
        """The layer's, for each step."""
        return (self.steps, *self.layer.params_shape)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The layer's, for each step; flat where some of it picks among components."""
        shape = self.layer.noise_shape
        return (self.steps * math.prod(shape),) if self.choices else (self.steps, *shape)

    @property
    def by_value(self) -> bool:
        """Whether the values of a step are independent, so that some of them can be left out."""
        each = self.layer(tf.zeros([1, *self.layer.params_shape], self.compute_dtype))
        return isinstance(each, AnyIndependent) and not each.distribution.event_shape.rank

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Name the parameters as the layer does, [..., T, *event]."""
        return self.layer.parameters(params)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the mean of each step."""
        return self.layer.mean(params)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Map base noise as the layer does at each step."""
        return self.layer.transform(self.of_steps(noise), params)

    def of_steps(self, noise: tf.Tensor) -> tf.Tensor:
        """Return base noise [..., *noise_shape] step by step, [..., T, *layer.noise_shape]."""
        if not self.choices:
            return noise
        # What picks comes first: of all steps here, of each step there.
        parts = tf.split(noise, [self.choices, self.noise_shape[0] - self.choices], axis=-1)
        leading = tf.shape(noise)[:-1]
        each = [
            tf.reshape(part, tf.concat([leading, [self.steps, part.shape[-1] // self.steps]], 0))
            for part in parts
        ]
        return tf.concat(each, axis=-1)

    def call(self, params: tf.Tensor) -> Any:
        """Return the distribution over all steps of ``params [..., T, *layer.params_shape]``."""
        return over_steps(self.layer(tf.cast(params, self.compute_dtype)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["event_shape"]
        layer = keras.saving.serialize_keras_object(self.layer)
        return config | {"layer": layer, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Repeated:
        """Rebuild a layer from :meth:`get_config`."""
        return cls(**config | {"layer": keras.saving.deserialize_keras_object(config["layer"])})


def over_steps(distribution: Any, valid: tf.Tensor | None = None) -> Any:
    """Make the last batch axis of a distribution, that of steps, a part of its event.

    Args:
        distribution: batch shape [..., T].
        valid: which steps there are, booleans [B, T]; the others count for nothing.

    Returns:
        A distribution of batch shape [...], independent over all values where each step's is.
    """
    axes = 1
    if isinstance(distribution, AnyIndependent):
        axes += int(tf.get_static_value(distribution.reinterpreted_batch_ndims))
        distribution = distribution.distribution
    if valid is not None:
        mask = tf.reshape(valid, tf.concat([tf.shape(valid), [1] * (axes - 1)], axis=0))
        distribution = tfd.Masked(distribution, mask, safe_sample_fn=_zero)
    return tfd.Independent(distribution, reinterpreted_batch_ndims=axes)


def _zero(distribution: Any) -> tf.Tensor:
    return tf.zeros([], distribution.dtype)


def take_after(layer: DistributionLayer, other: DistributionLayer) -> None:
    """Have a layer be capable of what another is."""
    for name in ("support", "noise", "reparameterised", "has_density", "pointwise"):
        setattr(layer, name, getattr(other, name))
    layer.slow_under_xla = other.slow_under_xla


def check_layer(argument: str, layer: Any) -> None:
    """Raise a ``TypeError`` unless it is a distribution layer that parameters are given to."""
    if not isinstance(layer, DistributionLayer) or layer.params_shape == ():
        raise TypeError(
            f"Expected `{argument}` to be the distribution layer of one step, such as "
            f"tfvae.layers.Normal((3,)). Received: {argument}={layer!r}."
        )


def check_steps(steps: Any, argument: str = "steps") -> int:
    """Return a number of steps, or raise a ``ValueError`` unless it is at least 1."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(
            f"Expected `{argument}` to be a whole number of at least 1. "
            f"Received: {argument}={steps!r}."
        )
    return int(steps)
