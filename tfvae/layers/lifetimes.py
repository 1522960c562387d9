"""Inverse CDF on the positive numbers: waiting times, lifetimes, and what outlives them."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.base import tfd
from tfvae.layers.inverse_cdf import InverseCDF
from tfvae.layers.numerics import (
    SCALE,
    Bound,
    bounded,
    log1p,
    log_gamma,
    scaled_exponential_integral,
)
from tfvae.layers.support import Support

RATE = Bound(1e-3, 1e3)


@keras.saving.register_keras_serializable("tfvae")
class Exponential(InverseCDF):
    r"""Exponential, :math:`p(x) = \lambda e^{-\lambda x}`: the wait for an event.

    *Inverse CDF*: :math:`-\log(1 - u) / \lambda`.

    Args:
        event_shape: the shape of one draw. The network emits the raw rate, bounded to
            (0.001, 1000).
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Exponential((1,))
        >>> round(float(layer.mean(tf.constant([[0.54]]))[0, 0]), 2)  # the rate is 1
        1.0
    """

    bounds = bounded(rate=RATE)
    support = Support.NONNEGATIVE

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Exponential``."""
        return tfd.Exponential(**parameters)

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the logarithm of the upper share over the rate."""
        return -tf.math.log(1.0 - uniform) / parameters["rate"]


@keras.saving.register_keras_serializable("tfvae")
class Erlang(InverseCDF):
    r"""Erlang, the Gamma with an integer concentration k: the wait for k events.

    *Composition* of inverse CDFs: :math:`-\sum_{j=1}^k \log u_j / \lambda`. Its noise has k
    uniforms for each value.

    Args:
        event_shape: the shape of one draw. The network emits the raw rate, bounded to
            (0.001, 1000).
        shape: k, a positive integer.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `shape` is not a positive integer.

    Example:
        >>> layer = tfvae.layers.Erlang((5,), shape=3)
        >>> layer.noise_shape
        (5, 3)
    """

    bounds = bounded(rate=RATE)
    support = Support.POSITIVE

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        shape: int = 2,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not (isinstance(shape, int) and shape > 0):
            raise ValueError(
                f"Expected `shape` to be a positive integer. Received: shape={shape!r}."
            )
        self.shape = shape

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """K uniforms for each value."""
        return (*self.event_shape, self.shape)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Gamma``."""
        return tfd.Gamma(tf.constant(self.shape, self.compute_dtype), **parameters)

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the sum of k waits."""
        return -tf.reduce_sum(tf.math.log(uniform), axis=-1) / parameters["rate"]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "shape": self.shape}


@keras.saving.register_keras_serializable("tfvae")
class Rayleigh(InverseCDF):
    r"""Rayleigh, :math:`p(x) = x e^{-x^2 / 2 \sigma^2} / \sigma^2`: the length of a normal pair.

    *Inverse CDF*: :math:`\sigma \sqrt{-2 \log(1 - u)}`. It is the Weibull with concentration 2.

    Args:
        event_shape: the shape of one draw. The network emits the raw scale;
            :math:`\sigma` is ``softplus(raw) + 1e-4``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Rayleigh((1,))
        >>> round(float(layer.mean(tf.constant([[0.5413]]))[0, 0]), 3)  # sqrt(pi / 2)
        1.253
    """

    bounds = bounded(scale=SCALE)
    support = Support.POSITIVE

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Weibull`` with concentration 2."""
        scale = parameters["scale"]
        return tfd.Weibull(tf.constant(2.0, scale.dtype), math.sqrt(2.0) * scale)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`\sigma \sqrt{\pi / 2}`."""
        return math.sqrt(math.pi / 2.0) * self.parameters(params)["scale"]

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the root of an exponential draw."""
        return parameters["scale"] * tf.sqrt(-2.0 * tf.math.log(1.0 - uniform))


@keras.saving.register_keras_serializable("tfvae")
class Weibull(InverseCDF):
    r"""Weibull, whose CDF is :math:`1 - e^{-(x / \lambda)^k}`.

    *Inverse CDF*: :math:`\lambda (-\log(1 - u))^{1 / k}`.

    Args:
        event_shape: the shape of one draw. The network emits ``[raw k | raw scale]``: the
            concentration k, bounded to (0.5, 50), and the scale ``softplus(raw) + 1e-4``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Weibull((2,))
        >>> sorted(layer.parameters(tf.zeros([1, 4])))
        ['concentration', 'scale']
    """

    bounds = bounded(concentration=Bound(0.5, 50.0), scale=SCALE)
    support = Support.POSITIVE

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Weibull``."""
        return tfd.Weibull(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`\lambda \Gamma(1 + 1 / k)`."""
        concentration, scale = self.parameters(params).values()
        return scale * tf.exp(log_gamma(1.0 + 1.0 / concentration))

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the power of an exponential draw."""
        log_wait = tf.math.log(-tf.math.log(1.0 - uniform))
        return parameters["scale"] * tf.exp(log_wait / parameters["concentration"])


@keras.saving.register_keras_serializable("tfvae")
class Pareto(InverseCDF):
    r"""Pareto, :math:`p(x) = \alpha m^\alpha / x^{\alpha + 1}` from the lower end :math:`m` on.

    *Inverse CDF*: :math:`m (1 - u)^{-1 / \alpha}`.

    Args:
        event_shape: the shape of one draw. The network emits the raw concentration, bounded to
            (1.1, 100): the mean is finite, and so are draws.
        lower: the lower end :math:`m`, positive. A number and not a parameter, for every value
            of the data must lie above it.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `lower` is not a positive number.

    Example:
        >>> layer = tfvae.layers.Pareto((2,), lower=0.5)
        >>> bool(tf.reduce_all(layer(tf.zeros([1, 2])).sample(9, seed=[0, 1]) >= 0.5))
        True
    """

    bounds = bounded(concentration=Bound(1.1, 100.0))

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        lower: float = 1.0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not (math.isfinite(lower) and lower > 0):
            raise ValueError(
                f"Expected `lower` to be a positive number. Received: lower={lower!r}."
            )
        self.lower = lower
        self.support = Support.above(lower)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Pareto``."""
        return tfd.Pareto(scale=tf.constant(self.lower, self.compute_dtype), **parameters)

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the power of the upper share."""
        excess = tf.exp(-tf.math.log(1.0 - uniform) / parameters["concentration"])
        # Rounding must not put a draw below the end, where the density is 0.
        lower = tf.constant(self.lower, self.compute_dtype)
        return lower * tf.maximum(excess, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "lower": self.lower}


@keras.saving.register_keras_serializable("tfvae")
class Gompertz(InverseCDF):
    r"""Gompertz, a lifetime whose hazard :math:`a b e^{b x}` grows exponentially.

    *Inverse CDF*: :math:`\log(1 - \log(1 - u) / a) / b`. Its right tail is doubly exponential:
    scale data to a few units, for their log-density is minus infinity in float32 where b x is
    above 88.

    Args:
        event_shape: the shape of one draw. The network emits ``[raw a | raw b]``: the
            concentration a and the rate b, both bounded to (0.001, 100).
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Gompertz((1,))
        >>> params = tf.constant([[0.0, 1.0]])
        >>> round(float(layer(params).cdf(layer.transform(tf.constant([[0.3]]), params))[0]), 5)
        0.3

    References:
        Gompertz (1825), On the nature of the function expressive of the law of human mortality.
    """

    bounds = bounded(concentration=Bound(1e-3, 100.0), rate=Bound(1e-3, 100.0))
    support = Support.NONNEGATIVE

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return uniform noise through the inverse of ``tfb.GompertzCDF``."""
        zeros = tf.zeros_like(parameters["rate"])
        cdf = tfp.bijectors.GompertzCDF(**parameters)
        return tfd.TransformedDistribution(
            tfd.Uniform(zeros, zeros + 1.0), tfp.bijectors.Invert(cdf)
        )

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`e^a E_1(a) / b`, with the exponential integral."""
        concentration, rate = self.parameters(params).values()
        return scaled_exponential_integral(concentration) / rate

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the logarithm of an exponential draw."""
        wait = -tf.math.log(1.0 - uniform)
        return log1p(wait / parameters["concentration"]) / parameters["rate"]
