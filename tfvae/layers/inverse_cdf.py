"""Inverse CDF: a draw is the quantile of uniform noise. On the real line and on intervals.

Kingma and Welling's first strategy. Quantiles are written so that both tails keep their
precision in float32, in operations that every export can run.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.numerics import FREE, SCALE, Bound, bounded, expm1, log_gamma
from tfvae.layers.support import Support


class InverseCDF(DistributionLayer):
    """A layer whose draws are quantiles of uniform noise: a subclass writes :meth:`quantile`."""

    noise = "uniform"

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the value below which a share `uniform` of the mass lies."""
        raise NotImplementedError

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the quantile of the noise."""
        return self.quantile(tf.cast(noise, self.compute_dtype), **self.parameters(params))


@keras.saving.register_keras_serializable("tfvae")
class Cauchy(InverseCDF):
    r"""Cauchy, :math:`p(x) = 1 / \pi \gamma (1 + ((x - \mu) / \gamma)^2)`.

    *Inverse CDF*: :math:`\mu + \gamma \tan \pi (u - \frac12)`. It has no mean: :meth:`mean`
    returns the median.

    Args:
        event_shape: the shape of one draw. The network emits ``[loc | raw scale]``; the scale is
            ``softplus(raw) + 1e-4``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Cauchy((1,))
        >>> float(layer.transform(tf.constant([[0.5]]), tf.constant([[3.0, 0.0]]))[0, 0])
        3.0
    """

    bounds = bounded(loc=FREE, scale=SCALE)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Cauchy``."""
        return tfd.Cauchy(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the median, ``loc``."""
        return self._split(params)[0]

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the tangent of the angle, measured from the nearer end."""
        angle = math.pi * tf.minimum(uniform, 1.0 - uniform)
        return parameters["loc"] + parameters["scale"] * tf.sign(uniform - 0.5) / tf.tan(angle)


@keras.saving.register_keras_serializable("tfvae")
class Logistic(InverseCDF):
    r"""Logistic, whose CDF is :math:`\sigma((x - \mu) / s)`.

    *Inverse CDF*, and *location-scale*: :math:`\mu + s \log u / (1 - u)`.

    Args:
        event_shape: the shape of one draw. The network emits ``[loc | raw scale]``; the scale is
            ``softplus(raw) + 1e-4``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Logistic((2,))
        >>> layer(tf.zeros([3, 4])).cdf(tf.zeros([2])).shape
        TensorShape([3])
    """

    bounds = bounded(loc=FREE, scale=SCALE)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Logistic``."""
        return tfd.Logistic(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc``."""
        return self._split(params)[0]

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the scaled logit."""
        logit = tf.math.log(uniform) - tf.math.log(1.0 - uniform)
        return parameters["loc"] + parameters["scale"] * logit


@keras.saving.register_keras_serializable("tfvae")
class Gumbel(InverseCDF):
    r"""Gumbel, the law of a maximum, whose CDF is :math:`\exp(-e^{-(x - \mu) / \beta})`.

    *Inverse CDF*: :math:`\mu - \beta \log(-\log u)`. Its left tail is doubly exponential: the
    log-density of data 88 scales below the location is minus infinity in float32.

    Args:
        event_shape: the shape of one draw. The network emits ``[loc | raw scale]``; the scale is
            ``softplus(raw) + 0.05``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Gumbel((1,))
        >>> median = layer.transform(tf.constant([[0.5]]), tf.constant([[0.0, 0.461032]]))
        >>> float(median[0, 0])  # -log log 2
        0.366...
    """

    bounds = bounded(loc=FREE, scale=Bound(0.05))

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Gumbel``."""
        return tfd.Gumbel(**parameters)

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the double logarithm."""
        return parameters["loc"] - parameters["scale"] * tf.math.log(-tf.math.log(uniform))


@keras.saving.register_keras_serializable("tfvae")
class Kumaraswamy(InverseCDF):
    r"""Kumaraswamy on (0, 1), whose CDF is :math:`1 - (1 - x^a)^b`: nearly a Beta, with a quantile.

    *Inverse CDF*: :math:`(1 - (1 - u)^{1 / b})^{1 / a}`.

    Args:
        event_shape: the shape of one draw. The network emits ``[raw a | raw b]``, the
            concentrations, bounded to (0.5, 50). Draws are kept four units of rounding away
            from 1, where the density may be infinite.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Kumaraswamy((1,))
        >>> params = tf.constant([[1.0, 0.541325]])  # b = softplus(0.54) + 0.5 = 1.5
        >>> round(float(layer(params).cdf(layer.transform(tf.constant([[0.3]]), params))[0]), 5)
        0.3

    References:
        Kumaraswamy (1980), A generalized probability density function for double-bounded random
        processes. Nalisnick and Smyth (2017), Stick-breaking variational autoencoders,
        arXiv:1605.06197.
    """

    bounds = bounded(concentration1=Bound(0.5, 50.0), concentration0=Bound(0.5, 50.0))
    support = Support.OPEN_UNIT

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Kumaraswamy``."""
        return tfd.Kumaraswamy(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`b \, B(1 + 1 / a, b)`."""
        a, b = self.parameters(params).values()
        top = 1.0 + 1.0 / a
        return b * tf.exp(log_gamma(top) + log_gamma(b) - log_gamma(top + b))

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the two powers, without cancellation at either end."""
        a, b = parameters["concentration1"], parameters["concentration0"]
        power = tf.math.log(-expm1(tf.math.log(1.0 - uniform) / b)) / a
        highest = 1.0 - 4.0 * float(np.finfo(self.compute_dtype).epsneg)
        return tf.minimum(tf.exp(power), highest)


@keras.saving.register_keras_serializable("tfvae")
class Reciprocal(InverseCDF):
    r"""Reciprocal or log-uniform, :math:`p(x) = 1 / (x \log (b / a))` for x between a and b.

    *Inverse CDF*: :math:`a (b / a)^u`. The network places [a, b] inside the outer interval
    [`low`, `high`]: with :math:`W = \log(high / low)`, its log-width is
    :math:`w = W (0.01 + 0.99\,\sigma(r_1))`, and its centre is moved by
    :math:`\frac12 (W - w) \tanh r_0`.

    Args:
        event_shape: the shape of one draw. The network emits ``[raw centre | raw width]``.
        low: the lowest value there can be, positive.
        high: the highest value there can be.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: unless 0 < `low` < `high`.

    Example:
        >>> layer = tfvae.layers.Reciprocal((1,), low=0.1, high=10.0)
        >>> params = tf.constant([[0.0, 30.0]])  # all of the outer interval
        >>> float(layer.transform(tf.constant([[0.5]]), params)[0, 0])
        1.0
    """

    blocks = 2

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        low: float = 0.01,
        high: float = 100.0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not (math.isfinite(high) and 0 < low < high):
            raise ValueError(
                f"Expected 0 < `low` < `high`, both finite. Received: low={low!r}, high={high!r}."
            )
        self.low = low
        self.high = high
        self.support = Support(f"[{low:g}, {high:g}]", low, high, moving=True)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``log_low`` and ``log_high``, the ends of the interval."""
        centre, width = self._split(params)
        middle, full = math.log(self.low * self.high) / 2, math.log(self.high / self.low)
        width = full * (0.01 + 0.99 * tf.sigmoid(width))
        centre = middle + 0.5 * (full - width) * tf.tanh(centre)
        return {"log_low": centre - 0.5 * width, "log_high": centre + 0.5 * width}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return the exponential of ``tfd.Uniform``, wider by the rounding of a draw."""
        low, high = parameters["log_low"], parameters["log_high"]
        slack = rounding(1.0 + max(abs(math.log(self.low)), abs(math.log(self.high))), low)
        uniform = tfd.Uniform(low - slack, high + slack)
        return tfd.TransformedDistribution(uniform, tfp.bijectors.Exp())

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`(b - a) / \log (b / a)`."""
        low, high = self.parameters(params).values()
        return tf.exp(low) * expm1(high - low) / (high - low)

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the exponential of a uniform draw."""
        low, high = parameters["log_low"], parameters["log_high"]
        return tf.clip_by_value(tf.exp(low + (high - low) * uniform), self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "low": self.low, "high": self.high}


def rounding(magnitude: tf.Tensor | float, like: tf.Tensor) -> tf.Tensor:
    """Return how far rounding can move a value of this magnitude: eight units in its last place.

    The ends of an interval are moved out by it, so that no draw has density 0.
    """
    return 8.0 * float(np.finfo(like.dtype.as_numpy_dtype).eps) * magnitude
