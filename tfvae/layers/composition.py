"""Composition: draws made of other draws, of a Normal or of Gammas.

Gammas are drawn by bounded rejection (:mod:`tfvae.layers.rejection`), in training as in exports,
with implicit gradients. What is made of several takes their logarithms, for one Gamma may be too
small for floats where a share of it is not.

References:
    Figurnov, Mohamed and Mnih (2018), Implicit reparameterization gradients, arXiv:1805.08498.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.fisher import FisherF
from tfvae.layers.numerics import Bound, bounded
from tfvae.layers.rejection import OfGammas
from tfvae.layers.support import Support


@keras.saving.register_keras_serializable("tfvae")
class LogNormal(DistributionLayer):
    r"""LogNormal: the exponential of a Normal.

    *Composition*: :math:`\exp(\mu + \sigma \varepsilon)` with standard normal noise.

    Args:
        event_shape: the shape of one draw. The network emits ``[loc | raw scale]``, of log x: the
            location is bounded to (-15, 15), the scale to (0.0001, 3): the variance is finite.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.LogNormal((1,))
        >>> float(layer.transform(tf.zeros([1, 1]), tf.zeros([1, 2]))[0, 0])
        1.0
    """

    noise = "normal"
    bounds = bounded(loc=Bound(high=15.0), scale=Bound(1e-4, 3.0))
    support = Support.POSITIVE

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.LogNormal``."""
        return tfd.LogNormal(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`e^{\mu + \sigma^2 / 2}`."""
        loc, scale = self.parameters(params).values()
        return tf.exp(loc + 0.5 * tf.square(scale))

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return ``exp(loc + scale * noise)``."""
        loc, scale = self.parameters(params).values()
        return tf.exp(loc + scale * tf.cast(noise, loc.dtype))


@keras.saving.register_keras_serializable("tfvae")
class Gamma(OfGammas):
    r"""Gamma, :math:`p(x) = \beta^\alpha x^{\alpha - 1} e^{-\beta x} / \Gamma(\alpha)`.

    *Composition* of normals and uniforms by bounded rejection, with implicit gradients.

    Args:
        event_shape: the shape of one draw. The network emits ``[raw concentration | raw rate]``,
            bounded to (0.3, 1000) and (0.001, 1000): below, draws leave the range of floats.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Gamma((2,))
        >>> layer.noise_shape, layer.choices  # 5 normals and 6 uniforms for each of two values
        ((22,), 12)
        >>> layer(tf.zeros([3, 4])).sample(5, seed=[0, 1]).shape
        TensorShape([5, 3, 2])
    """

    bounds = bounded(concentration=Bound(0.3, 1e3), rate=Bound(1e-3, 1e3))

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Gamma``."""
        return tfd.Gamma(**parameters)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return a Gamma draw over the rate."""
        concentration, rate = self.parameters(params).values()
        (log_draw,) = self.log_gammas(noise, concentration)
        return tf.exp(log_draw) / rate


@keras.saving.register_keras_serializable("tfvae")
class InverseGamma(OfGammas):
    r"""InverseGamma: one over a Gamma with concentration :math:`\alpha` and rate :math:`\beta`.

    *Composition*, with implicit gradients.

    Args:
        event_shape: the shape of one draw. The network emits ``[raw concentration | raw scale]``,
            bounded to (1.1, 1000) and (0.001, 1000): the mean is finite.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.InverseGamma((2,))
        >>> layer.params_shape
        (4,)
    """

    bounds = bounded(concentration=Bound(1.1, 1e3), scale=Bound(1e-3, 1e3))

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.InverseGamma``."""
        return tfd.InverseGamma(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`\beta / (\alpha - 1)`."""
        concentration, scale = self.parameters(params).values()
        return scale / (concentration - 1.0)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the scale over a Gamma draw."""
        concentration, scale = self.parameters(params).values()
        (log_draw,) = self.log_gammas(noise, concentration)
        return scale * tf.exp(-log_draw)


@keras.saving.register_keras_serializable("tfvae")
class Chi2(OfGammas):
    r"""Chi-squared: the sum of :math:`\nu` squared standard normals, for any :math:`\nu > 0`.

    *Composition*, with implicit gradients: the Gamma with concentration :math:`\nu / 2` and rate ½.

    Args:
        event_shape: the shape of one draw. The network emits the raw degrees of freedom, bounded
            to (0.6, 1000).
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Chi2((2,))
        >>> params = tf.ones([1, 2])
        >>> bool(tf.reduce_all(layer.mean(params) == layer.parameters(params)["df"]))
        True
    """

    bounds = bounded(df=Bound(0.6, 1e3))

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Chi2``."""
        return tfd.Chi2(**parameters)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return twice a Gamma draw."""
        (log_draw,) = self.log_gammas(noise, 0.5 * self.parameters(params)["df"])
        return 2.0 * tf.exp(log_draw)


@keras.saving.register_keras_serializable("tfvae")
class F(OfGammas):
    r"""Fisher's F: the ratio of two chi-squared draws, each over its degrees of freedom.

    *Composition*, with implicit gradients through both.

    Args:
        event_shape: the shape of one draw. The network emits ``[raw df1 | raw df2]``, bounded to
            (1, 1000) and (2.1, 1000): the mean is finite.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.F((2,))
        >>> layer(tf.zeros([3, 4])).log_prob(tf.ones([2])).shape
        TensorShape([3])
    """

    bounds = bounded(df1=Bound(1.0, 1e3), df2=Bound(2.1, 1e3))
    gammas = 2

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return the ratio, as a TFP distribution."""
        return FisherF(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`\nu_2 / (\nu_2 - 2)`."""
        df1, df2 = self.parameters(params).values()
        return tf.zeros_like(df1) + df2 / (df2 - 2.0)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the ratio of two Gamma draws, each over its degrees of freedom."""
        df1, df2 = self.parameters(params).values()
        top, bottom = self.log_gammas(noise, 0.5 * df1, 0.5 * df2)
        return tf.exp(top - bottom) * (df2 / df1)


@keras.saving.register_keras_serializable("tfvae")
class Beta(OfGammas):
    r"""Beta on (0, 1), :math:`p(x) \propto x^{a - 1} (1 - x)^{b - 1}`.

    *Composition* of two Gammas, with implicit gradients. :class:`Kumaraswamy` is nearly the same,
    and takes one uniform for a draw where this takes 22 values of noise.

    Args:
        event_shape: the shape of one draw. The network emits ``[raw a | raw b]``, bounded to
            (0.5, 1000). Draws are kept four units of rounding away from 1 and above 0.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Beta((1,))
        >>> float(layer.mean(tf.zeros([1, 2]))[0, 0])
        0.5
    """

    bounds = bounded(concentration1=Bound(0.5, 1e3), concentration0=Bound(0.5, 1e3))
    support = Support.OPEN_UNIT
    gammas = 2

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Beta``, whose draws are never rounded to an end."""
        return _OpenBeta(**parameters)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the first Gamma draw's share of two."""
        one, zero = self.log_gammas(noise, *self.parameters(params).values())
        # The sigmoid of `one - zero`, which ONNX Runtime cuts off below 1e-8.
        return _keep_inside(tf.exp(-tf.nn.softplus(zero - one)))


@keras.saving.register_keras_serializable("tfvae")
class Dirichlet(OfGammas):
    r"""Dirichlet over the last axis, :math:`p(x) \propto \prod_i x_i^{\alpha_i - 1}`.

    *Composition* of Gammas, with implicit gradients. Axes before the last are independent.

    Args:
        event_shape: the shape of one draw, its last axis at least 2 long. The network emits the
            raw concentrations, bounded to (0.3, 1000). Draws are kept above 0.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if the last axis is 1 long.

    Example:
        >>> layer = tfvae.layers.Dirichlet((3,))
        >>> np.round(layer.mean(tf.zeros([1, 3]))[0], 3)
        array([0.333, 0.333, 0.333], dtype=float32)
    """

    bounds = bounded(concentration=Bound(0.3, 1e3))
    support = Support.SIMPLEX

    def __init__(self, event_shape: tuple[int, ...] | int, **kwargs: Any) -> None:
        super().__init__(event_shape, **kwargs)
        if self.event_shape[-1] < 2:
            raise ValueError(
                "Expected the last axis of `event_shape` to be at least 2 long, for its values sum "
                f"to 1. Received: event_shape={event_shape!r}."
            )

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Dirichlet``, whose draws are never rounded to 0."""
        return _OpenDirichlet(**parameters)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the shares of Gamma draws in their sum."""
        (log_draws,) = self.log_gammas(noise, self.parameters(params)["concentration"])
        return _keep_inside(tf.nn.softmax(log_draws))


def _keep_inside(draws: tf.Tensor) -> tf.Tensor:
    info = np.finfo(draws.dtype.as_numpy_dtype)
    return tf.clip_by_value(draws, float(info.tiny), 1.0 - 4.0 * float(info.epsneg))


class _OpenBeta(tfp.distributions.Beta):
    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return _keep_inside(super()._sample_n(n, seed))


class _OpenDirichlet(tfp.distributions.Dirichlet):
    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return _keep_inside(super()._sample_n(n, seed))
