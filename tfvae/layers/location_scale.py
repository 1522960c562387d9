"""Location-scale: a draw of a standard distribution, scaled and moved; value by value."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.inverse_cdf import InverseCDF, rounding
from tfvae.layers.numerics import FREE, SCALE, Bound, bounded, expm1
from tfvae.layers.support import Support

WIDTH = Bound(1e-3)


@keras.saving.register_keras_serializable("tfvae")
class Laplace(InverseCDF):
    r"""Laplace, :math:`p(x) = e^{-|x - \mu| / b} / 2 b`.

    *Location-scale* of a standard Laplace, whose *inverse CDF* is
    :math:`\operatorname{sign}(u - \frac12) (-\log(1 - |2 u - 1|))`.

    Args:
        event_shape: the shape of one draw. The network emits ``[loc | raw scale]``; the scale is
            ``softplus(raw) + 1e-4``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Laplace((2,))
        >>> layer.params_shape
        (4,)
    """

    bounds = bounded(loc=FREE, scale=SCALE)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Laplace``."""
        return tfd.Laplace(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc``."""
        return self._split(params)[0]

    def quantile(self, uniform: tf.Tensor, **parameters: tf.Tensor) -> tf.Tensor:
        """Return the logarithm of the nearer tail, on its side."""
        tail = -tf.math.log(2.0 * tf.minimum(uniform, 1.0 - uniform))
        return parameters["loc"] + parameters["scale"] * tf.sign(uniform - 0.5) * tail


@keras.saving.register_keras_serializable("tfvae")
class StudentT(DistributionLayer):
    r"""Student's t, with degrees of freedom from the network: heavy tails.

    *Location-scale* of a standard t by Bailey's polar method, which needs two uniforms for each
    value: :math:`t = \sqrt{\nu (u_0^{-2 / \nu} - 1)} \cos 2 \pi u_1`. Box and Muller's normals
    are its limit. It is exact for every :math:`\nu`, and smooth in it.

    Args:
        event_shape: the shape of one draw. The network emits ``[loc | raw scale | raw df]``; the
            scale is ``softplus(raw) + 1e-4``, the degrees of freedom are bounded to (2.1, 100):
            the variance is finite.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.StudentT((3,))
        >>> layer.params_shape, layer.noise_shape
        ((9,), (3, 2))

    References:
        Bailey (1994), Polar generation of random variates with the t-distribution.
    """

    noise = "uniform"
    bounds = bounded(loc=FREE, scale=SCALE, df=Bound(2.1, 100.0))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Two uniforms for each value."""
        return (*self.event_shape, 2)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.StudentT``."""
        return tfd.StudentT(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc``."""
        return self._split(params)[0]

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc + scale * t``."""
        loc, scale, df = self.parameters(params).values()
        radius, angle = tf.unstack(tf.cast(noise, loc.dtype), axis=-1)
        square = df * expm1(-2.0 * tf.math.log(radius) / df)
        return loc + scale * tf.sqrt(square) * tf.cos(2.0 * math.pi * angle)


class _Interval(InverseCDF):
    """On an interval around ``loc``, whose ends are moved out by the rounding of a draw."""

    support = Support.MOVING

    def _ends(self, loc: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        half = 0.5 * width + rounding(tf.abs(loc) + width, loc)
        return loc - half, loc + half


@keras.saving.register_keras_serializable("tfvae")
class Uniform(_Interval):
    r"""Uniform on :math:`[\mu - \frac{w}{2}, \mu + \frac{w}{2}]`.

    *Location-scale*: :math:`\mu + w (u - \frac12)`. As a likelihood it gives data outside of the
    interval density 0; as a posterior its importance weights never converge.

    Args:
        event_shape: the shape of one draw. The network emits ``[loc | raw width]``; the width is
            ``softplus(raw) + 1e-3``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Uniform((1,))
        >>> float(layer.transform(tf.constant([[0.5]]), tf.constant([[3.0, 0.0]]))[0, 0])
        3.0
    """

    blocks = 2

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the ends, ``low`` and ``high``."""
        loc, raw = self._split(params)
        low, high = self._ends(loc, WIDTH(raw))
        return {"low": low, "high": high}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Uniform``."""
        return tfd.Uniform(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc``."""
        return self._split(params)[0]

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc + width * (noise - 1/2)``."""
        loc, raw = self._split(params)
        return loc + WIDTH(raw) * (tf.cast(noise, loc.dtype) - 0.5)


@keras.saving.register_keras_serializable("tfvae")
class Triangular(_Interval):
    r"""Triangular on an interval of width w around :math:`\mu`, its peak at a share m of it.

    *Location-scale* of the triangle on [0, 1], whose *inverse CDF* is :math:`\sqrt{m u}` for
    u < m, else :math:`1 - \sqrt{(1 - m)(1 - u)}`.

    Args:
        event_shape: the shape of one draw. The network emits ``[loc | raw width | raw peak]``:
            the width is ``softplus(raw) + 1e-3`` and m is ``0.05 + 0.9 sigmoid(raw)``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Triangular((1,))
        >>> float(layer.transform(tf.constant([[0.5]]), tf.constant([[3.0, 0.0, 0.0]]))[0, 0])
        3.0
    """

    blocks = 3

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``low``, ``high`` and ``peak``."""
        loc, width, share = self._shape(params)
        low, high = self._ends(loc, width)
        return {"low": low, "high": high, "peak": loc + width * (share - 0.5)}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Triangular``."""
        return tfd.Triangular(**parameters)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the quantile on the side of the peak where it lies."""
        loc, width, share = self._shape(params)
        uniform = tf.cast(noise, loc.dtype)
        left = tf.sqrt(share * uniform) - 0.5
        right = 0.5 - tf.sqrt((1.0 - share) * (1.0 - uniform))
        return loc + width * tf.where(uniform < share, left, right)

    def _shape(self, params: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        loc, width, share = self._split(params)
        return loc, WIDTH(width), 0.05 + 0.9 * tf.sigmoid(share)
