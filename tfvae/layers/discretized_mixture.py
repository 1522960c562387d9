"""PixelCNN++'s likelihood: a mixture of discretised logistics with channels that are coupled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.discretized import (
    check_levels,
    clipped_mean,
    draw,
    location,
    log_mass,
    positive,
    uniforms,
)
from tfvae.layers.mixture import check_components, choose, split_noise, unflatten
from tfvae.layers.support import Support


@keras.saving.register_keras_serializable("tfvae")
class DiscretizedLogisticMixture(DistributionLayer):
    r"""Mixture of discretised logistics, for 8-bit colour images scaled to [0, 1].

    Each position of an image has one mixture for all of its C channels. Given the component k,
    channel c is a :class:`DiscretizedLogistic` whose location is moved by the channels before it:

    .. math:: p(x) = \sum_k \pi_k \prod_c p\bigl(x_c \mid \mu_{kc}
        + \sum_{c' < c} a_{kcc'} (x_{c'} - \tfrac12),\; s_{kc}\bigr).

    A draw takes one uniform to choose a component, by the inverse CDF of :math:`\pi`, and one for
    each channel in turn.

    Args:
        event_shape: the shape of one draw, its last axis the C channels: (H, W, C). Give grey
            images as (H, W, 1); in (H, W) each row would be a position with W coupled channels.
            The network emits ``[logits | loc | raw scale | raw coupling]``, K + 2 K C +
            K C (C - 1) / 2 values for each position, component after component in each block;
            with one channel there is no coupling. Locations and scales have the bounds of
            :class:`DiscretizedLogistic`, couplings a are ``tanh(raw)``, ordered (c, c') = (1, 0),
            (2, 0), (2, 1), ... Outputs of 0 are K equal components at mid grey, which only
            different outputs tell apart, such as those of a network's random weights.
        components: the number of components K.
        levels: how many levels there are, at least 2.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `components` is not a positive integer or `levels` not one above 1.

    Example:
        >>> layer = tfvae.layers.DiscretizedLogisticMixture((32, 32, 3), components=10)
        >>> layer.params_shape, layer.noise_shape, layer.choices
        ((32, 32, 100), (4096,), 1024)

    References:
        Salimans, Karpathy, Chen and Kingma (2017), PixelCNN++: improving the PixelCNN with
        discretized logistic mixture likelihood and other modifications, arXiv:1701.05517.
    """

    noise = "uniform"
    reparameterised = False

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        components: int = 10,
        levels: int = 256,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        check_components(components)
        check_levels(levels)
        self.components = components
        self.levels = levels
        self.choices = math.prod(self.event_shape[:-1])
        self.support = Support.levels(levels)

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Logits, locations, scales, and couplings where there is more than one channel."""
        count, channels = self.components, self.event_shape[-1]
        coupling = (count * channels * (channels - 1) // 2,) if channels > 1 else ()
        return (count, count * channels, count * channels, *coupling)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The uniforms that choose, then one for each value."""
        return (self.choices + math.prod(self.event_shape),)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``logits`` [..., K], ``loc`` and ``scale`` [..., K, C], and ``coupling``.

        The last is [..., K, C (C - 1) / 2], and left out with one channel.
        """
        logits, *blocks = self._split(params)
        count = self.components
        loc, raw, *coupling = (unflatten(v, (count, v.shape[-1] // count)) for v in blocks)
        named = {"logits": logits, "loc": location(loc), "scale": positive(raw)}
        return {**named, "coupling": tf.tanh(coupling[0])} if coupling else named

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return a :class:`QuantizedLogisticMixture`."""
        return QuantizedLogisticMixture(**parameters, levels=self.levels)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the weighted mean of the components' means.

        A component's mean is that of :class:`DiscretizedLogistic`, channel after channel, with
        the means of the channels before it in place of their values. It is exact up to rounding
        for a first channel; clipping makes the others an approximation.
        """
        return _mean(**self.parameters(params))

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the draw of the component that the first uniforms choose."""
        noise = tf.cast(noise, self.compute_dtype)
        chooser, uniform = split_noise(noise, self.choices, self.event_shape)
        return _draw(chooser, uniform, levels=self.levels, **self.parameters(params))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "components": self.components, "levels": self.levels}


class QuantizedLogisticMixture(tfp.distributions.Distribution):
    """A mixture of products of quantised logistics, each moved by the values before it."""

    def __init__(
        self,
        logits: tf.Tensor,
        loc: tf.Tensor,
        scale: tf.Tensor,
        levels: int,
        coupling: tf.Tensor | None = None,
        name: str = "QuantizedLogisticMixture",
    ) -> None:
        parameters = dict(locals())
        self.logits, self.loc, self.scale, self.coupling = logits, loc, scale, coupling
        self.levels = levels
        super().__init__(
            dtype=loc.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        axes = {"logits": 1, "loc": 2, "scale": 2, "coupling": 2}
        return {name: tfp.util.ParameterProperties(event_ndims=n) for name, n in axes.items()}

    def _event_shape(self) -> tf.TensorShape:
        return self.loc.shape[-1:]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.loc)[-1:]

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        x = x[..., tf.newaxis, :]
        each = sum(
            log_mass(
                x[..., channel],
                _moved(self.loc, self.coupling, x[..., :channel], channel),
                self.scale[..., channel],
                self.levels,
            )
            for channel in range(self.loc.shape[-1])
        )
        return tf.reduce_logsumexp(tf.nn.log_softmax(self.logits) + each, axis=-1)

    def _mean(self) -> tf.Tensor:
        return _mean(self.logits, self.loc, self.scale, self.coupling)

    def _sample_n(self, n: int, seed: Any = None) -> tf.Tensor:
        batch = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        shape = tf.concat([batch, self.event_shape_tensor() + 1], axis=0)
        noise = uniforms(shape, self.dtype, seed)
        named = {"logits": self.logits, "loc": self.loc, "scale": self.scale}
        return _draw(noise[..., 0], noise[..., 1:], self.levels, **named, coupling=self.coupling)


def _mean(
    logits: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, coupling: tf.Tensor | None = None
) -> tf.Tensor:
    def step(channel: int, centre: tf.Tensor) -> tf.Tensor:
        return clipped_mean(centre, scale[..., channel])

    weights = tf.nn.softmax(logits)[..., tf.newaxis]
    return tf.reduce_sum(weights * _in_turn(step, loc, coupling), axis=-2)


def _draw(
    chooser: tf.Tensor,
    uniform: tf.Tensor,
    levels: int,
    logits: tf.Tensor,
    loc: tf.Tensor,
    scale: tf.Tensor,
    coupling: tf.Tensor | None = None,
) -> tf.Tensor:
    chosen = choose(chooser, logits)[..., tf.newaxis]
    # [..., K, C] to [..., C]: only one component is drawn from.
    loc = tf.reduce_sum(chosen * loc, axis=-2)
    scale = tf.reduce_sum(chosen * scale, axis=-2)
    coupling = None if coupling is None else tf.reduce_sum(chosen * coupling, axis=-2)

    def step(channel: int, centre: tf.Tensor) -> tf.Tensor:
        return draw(uniform[..., channel], centre, scale[..., channel], levels)

    return _in_turn(step, loc, coupling)


def _in_turn(
    step: Callable[[int, tf.Tensor], tf.Tensor], loc: tf.Tensor, coupling: tf.Tensor | None
) -> tf.Tensor:
    """Find the channels one after the other, each from a location that those before it moved."""
    values = [step(0, loc[..., 0])]
    for channel in range(1, loc.shape[-1]):
        earlier = tf.stack(values, axis=-1)
        values.append(step(channel, _moved(loc, coupling, earlier, channel)))
    return tf.stack(values, axis=-1)


def _moved(
    loc: tf.Tensor, coupling: tf.Tensor | None, earlier: tf.Tensor, channel: int
) -> tf.Tensor:
    if coupling is None or channel == 0:
        return loc[..., channel]
    first = channel * (channel - 1) // 2
    row = coupling[..., first : first + channel]
    return loc[..., channel] + tf.reduce_sum(row * (earlier - 0.5), axis=-1)
