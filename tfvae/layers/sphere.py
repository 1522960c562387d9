r"""Distributions on the unit sphere of the last axis, around a mean direction.

A draw is :math:`x = \cos\theta \, \mu + \sin\theta \, H v`: an angle to the mean direction
:math:`\mu`, and a direction v at right angles to it, uniform on the sphere of one axis less. The
reflection H takes what is at right angles to the first axis to what is so to :math:`\mu`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.angle import Angle
from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.mixture import flatten, unflatten
from tfvae.layers.numerics import Bound
from tfvae.layers.rejection import BOOSTS, PROPOSALS, TESTS, log_gamma_draws
from tfvae.layers.support import Support

CONCENTRATION = Bound(1e-3, 1e4)


class _Spherical(DistributionLayer):
    """A mean direction and a concentration for each last axis."""

    support = Support.SPHERE

    def __init__(self, event_shape: tuple[int, ...] | int, **options: Any) -> None:
        super().__init__(event_shape, **options)
        check_sphere(self.event_shape)

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """The raw direction and the raw concentration."""
        return (self.event_shape[-1], 1)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``mean_direction`` [..., d] and ``concentration`` [...]."""
        direction, raw = self._split(params)
        return {
            "mean_direction": unit(direction, 1e-3),
            "concentration": CONCENTRATION(raw)[..., 0],
        }


@keras.saving.register_keras_serializable("tfvae")
class VonMisesFisher(_Spherical):
    r"""Von Mises-Fisher, :math:`p(x) \propto e^{\kappa \mu^\top x}`: the sphere's normal law.

    Its noise has one uniform, of which the angle to :math:`\mu` is the quantile, and d - 1 normals
    for the direction at that angle. Draws, normaliser, mean and entropy are right to float64
    precision before they are rounded (:class:`tfvae.layers.angle.Angle`).

    Args:
        event_shape: the shape of one draw, its last axis d of unit length; the axes before are
            independent. The network emits ``[raw direction | raw concentration]``, d + 1 values.
            The direction is :math:`r + 10^{-3} e_1` over its length, which has a gradient at
            r = 0. The concentration :math:`\kappa` is bounded to (0.001, 10000); Davidson et al.
            take ``softplus(raw) + 1``. Draws are smooth in both on the circle. For d > 2 there is
            no smooth way to turn all of the sphere: the direction's gradient grows like 1 over the
            distance of :math:`\mu` from :math:`-e_1`, up to a million.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if the last axis is 1 long.

    Example:
        >>> layer = tfvae.layers.VonMisesFisher((3,))
        >>> layer.params_shape, layer.noise_shape
        ((4,), (3,))
        >>> params = tf.constant([0.0, 0.0, 5.0, 2.0])  # kappa = softplus(2) + 0.001 = 2.13
        >>> # The median cosine in three dimensions is 1 + log((1 + exp(-2 kappa)) / 2) / kappa.
        >>> np.round(layer.transform(tf.constant([0.5, 1.0, 0.0]), params), 3)
        array([0.   , 0.732, 0.681], dtype=float32)

    References:
        Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), Hyperspherical variational
        auto-encoders, arXiv:1804.00891.
    """

    noise = "normal"

    def __init__(self, event_shape: tuple[int, ...] | int, **options: Any) -> None:
        super().__init__(event_shape, **options)
        self.choices = math.prod(self.event_shape[:-1])

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """A uniform for each last axis, then d - 1 normals for each."""
        return (self.choices * self.event_shape[-1],)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.VonMisesFisher``, with a normaliser and a sampler of our own."""
        return _VonMisesFisher(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`E[\cos\theta] \, \mu`."""
        direction, concentration = self.parameters(params).values()
        angle = Angle(concentration, self.event_shape[-1])
        return angle.mean_cosine()[..., tf.newaxis] * direction

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the point at the angle and in the direction that the noise picks."""
        noise = tf.cast(noise, self.compute_dtype)
        lead, dim = self.event_shape[:-1], self.event_shape[-1]
        uniform = unflatten(noise[..., : self.choices], lead)
        normal = unflatten(noise[..., self.choices :], (*lead, dim - 1))
        return _at_quantile(uniform, normal, **self.parameters(params))


@keras.saving.register_keras_serializable("tfvae")
class PowerSpherical(_Spherical):
    r"""Power spherical, :math:`p(x) \propto (1 + \mu^\top x)^\kappa`: nearly a von Mises-Fisher.

    *Composition* of a Gamma and d - 1 normals, with implicit gradients. Its normaliser is in closed
    form, so it is the faster of the two.

    Args:
        event_shape: the shape of one draw, its last axis d of unit length; the axes before are
            independent. The network emits what :class:`VonMisesFisher` takes; its bounds, and what
            it says of gradients near :math:`\mu = -e_1`, hold here too.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if the last axis is 1 long.

    Example:
        >>> layer = tfvae.layers.PowerSpherical((3,))
        >>> params = tf.constant([[0.0, 0.0, 5.0, 2.0]])  # kappa = softplus(2) + 0.001 = 2.13
        >>> np.round(layer.mean(params), 2)  # kappa / (kappa + d - 1)
        array([[0.  , 0.  , 0.52]], dtype=float32)

    References:
        De Cao and Aziz (2020), The power spherical distribution, arXiv:2006.04437.
    """

    noise = "normal"

    def __init__(self, event_shape: tuple[int, ...] | int, **options: Any) -> None:
        super().__init__(event_shape, **options)
        self._points = math.prod(self.event_shape[:-1])
        self.choices = (TESTS + BOOSTS) * self._points
        self.quantiles = BOOSTS * self._points

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The uniforms and normals of a Gamma for each last axis, then d - 1 normals for each."""
        return (self.choices + (PROPOSALS + self.event_shape[-1] - 1) * self._points,)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.PowerSpherical``, whose draws and gradients are finite in float32."""
        return _PowerSpherical(**parameters)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the points that a Gamma draw and the normals pick."""
        noise = tf.cast(noise, self.compute_dtype)
        direction, concentration = self.parameters(params).values()
        lead, dim = self.event_shape[:-1], self.event_shape[-1]
        ring = dim - 1
        sizes = [self.choices, PROPOSALS * self._points, ring * self._points]
        choices, proposals, normals = tf.split(noise, sizes, axis=-1)
        shape = flatten(concentration[..., tf.newaxis], len(self.event_shape)) + 0.5 * ring
        gamma = tf.exp(unflatten(log_gamma_draws(choices, proposals, shape), lead))
        return _projected(2.0 * gamma, unflatten(normals, (*lead, ring)), direction)


class _VonMisesFisher(tfp.distributions.VonMisesFisher):
    """TFP's, but exact in float32 too, and with draws through which gradients flow.

    TFP's Bessel functions leave errors of 1e-3 in the gradients of a float32 entropy.
    """

    @property
    def reparameterization_type(self) -> Any:
        return tfd.FULLY_REPARAMETERIZED

    def _angle(self) -> Angle:
        return Angle(tf.convert_to_tensor(self.concentration), self.event_shape[-1])

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        # 1 - mu.x as half a squared distance: large concentrations would show its rounding.
        square = tf.reduce_sum(tf.square(x - self.mean_direction), axis=-1)
        return -0.5 * self.concentration * square - self._angle().log_normaliser()

    def _log_normalization(self, concentration: tf.Tensor | None = None) -> tf.Tensor:
        return self._angle().log_normaliser() + self.concentration

    def _mean(self) -> tf.Tensor:
        return self._angle().mean_cosine()[..., tf.newaxis] * self.mean_direction

    def _entropy(self) -> tf.Tensor:
        return self._angle().entropy()

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        shape = tf.concat([[n], tf.shape(self.mean_direction)], axis=0)
        first, second = tfp.random.split_seed(seed)
        uniform = tf.random.stateless_uniform(shape[:-1], first, dtype=self.dtype)
        normal = tf.random.stateless_normal(shape, second, dtype=self.dtype)[..., 1:]
        return _at_quantile(uniform, normal, self.mean_direction, self.concentration)


@tfd.RegisterKL(_VonMisesFisher, _VonMisesFisher)
def _kl_von_mises_fisher(
    q: _VonMisesFisher, p: _VonMisesFisher, name: str | None = None
) -> tf.Tensor:
    """Log p is linear in x, so its mean is its value at q's mean."""
    inner = tf.reduce_sum(p.mean_direction * q.mean(), axis=-1)
    return p._angle().log_normaliser() + p.concentration * (1.0 - inner) - q.entropy()


class _PowerSpherical(tfp.distributions.PowerSpherical):
    """TFP's, but finite at the poles in float32, where its draws have infinite gradients."""

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        # log((1 + mu.x) / 2) from the squared distance to the nearer pole.
        tiny = tf.constant(1e-30, self.dtype)
        away = 0.25 * tf.reduce_sum(tf.square(x - self.mean_direction), axis=-1)
        opposite = 0.25 * tf.reduce_sum(tf.square(x + self.mean_direction), axis=-1)
        log_half = tf.where(
            away < 0.5,
            tf.math.log1p(-tf.minimum(away, 0.5)),
            tf.math.log(tf.maximum(opposite, tiny)),
        )
        return self.concentration * log_half - self._log_scaled_normaliser()

    def _entropy(
        self, concentration: tf.Tensor | None = None, mean_direction: tf.Tensor | None = None
    ) -> tf.Tensor:
        above, ring = self._shapes()
        energy = (above - ring) * (tf.math.digamma(above) - tf.math.digamma(above + ring))
        return self._log_scaled_normaliser() - tf.cast(energy, self.dtype)

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        first, second = tfp.random.split_seed(seed)
        ring = 0.5 * (self.event_shape[-1] - 1)
        gamma = tfd.Gamma(self.concentration + ring, tf.constant(0.5, self.dtype))
        shape = tf.concat([[n], tf.shape(self.mean_direction)], axis=0)
        normal = tf.random.stateless_normal(shape, second, dtype=self.dtype)[..., 1:]
        return _projected(gamma.sample(n, seed=first), normal, self.mean_direction)

    def _shapes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the two concentrations of the Beta, in float64 for what cancels."""
        ring = tf.constant(0.5 * (self.event_shape[-1] - 1), tf.float64)
        return tf.cast(self.concentration, tf.float64) + ring, ring

    def _log_scaled_normaliser(self) -> tf.Tensor:
        r"""Return :math:`\log \int ((1 + \mu^\top x) / 2)^\kappa dx`."""
        above, ring = self._shapes()
        value = tf.math.lgamma(above) - tf.math.lgamma(above + ring)
        return tf.cast(value + ring * math.log(4.0 * math.pi), self.dtype)


def _at_quantile(
    uniform: tf.Tensor, normal: tf.Tensor, mean_direction: tf.Tensor, concentration: tf.Tensor
) -> tf.Tensor:
    """Return the von Mises-Fisher draw at this quantile of the angle, in this direction."""
    cosine, sine = Angle(concentration, mean_direction.shape[-1]).quantile(uniform)
    across = _turn(unit(normal, 1e-10), mean_direction)
    return unit(cosine[..., tf.newaxis] * mean_direction + sine[..., tf.newaxis] * across, 0.0)


def _projected(square: tf.Tensor, normal: tf.Tensor, mean_direction: tf.Tensor) -> tf.Tensor:
    """Return the power spherical draw of a chi-squared draw [...] and normals [..., d - 1].

    (1 + mu.x) / 2 is a Beta draw, and so a share of one Gamma draw in two. The other is half the
    squared length of the normals that point in x's direction: the stereographic map.
    """
    square = tf.maximum(square, 1e-30)[..., tf.newaxis]
    length = tf.reduce_sum(tf.square(normal), axis=-1, keepdims=True)
    turned = 2.0 * tf.sqrt(square) * _turn(normal, mean_direction)
    return unit((square - length) * mean_direction + turned, 0.0)


def _turn(tangent: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
    """Turn vectors at right angles to the first axis, [..., d - 1], to be so to the direction.

    By the reflection along ``direction + first axis``, which has no limit where that is 0.
    """
    first, rest = direction[..., :1], direction[..., 1:]
    if rest.shape[-1] == 1:  # a quarter turn, smooth everywhere
        return tf.concat([-rest * tangent, first * tangent], axis=-1)
    square = tf.reduce_sum(tf.square(rest), axis=-1, keepdims=True)
    # 1 + first, in the form in which nothing cancels; the floor keeps gradients below 1e6.
    gap = tf.where(first < 0.0, square / (1.0 + tf.abs(first)), 1.0 + first) + 1e-12
    along = tf.reduce_sum(tangent * rest, axis=-1, keepdims=True)
    return tf.concat([-along, tangent - rest * along / gap], axis=-1)


def unit(vector: tf.Tensor, offset: float) -> tf.Tensor:
    """Return the vector, moved by `offset` along its first axis, over its length."""
    moved = vector + offset * tf.one_hot(0, vector.shape[-1], dtype=vector.dtype)
    # The floor is for the one vector that the offset moves to zero.
    return moved * tf.math.rsqrt(tf.reduce_sum(tf.square(moved), axis=-1, keepdims=True) + 1e-30)


def check_sphere(event_shape: tuple[int, ...]) -> None:
    """Refuse the sphere of one axis, which is two points."""
    if event_shape[-1] < 2:
        raise ValueError(
            "Expected the last axis of `event_shape` to be at least 2 long: it is a point on the "
            f"unit sphere. Received: event_shape={event_shape!r}."
        )
