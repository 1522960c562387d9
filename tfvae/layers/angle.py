r"""The angle between a von Mises-Fisher draw and its mean direction: its law and its quantile.

On the unit sphere of d-dimensional space the angle has the density

.. math:: p(\theta) \propto e^{\kappa \cos \theta} \sin^{d - 2} \theta,
          \quad 0 \le \theta \le \pi.

All is done in :math:`\tau = \tan(\theta / 4)`, from 0 to 1, in which the density is analytic up to
both ends and sines and cosines are ratios of polynomials. Gauss-Legendre panels around its mode
give integrals to float64 precision, for any d and any concentration, in a fixed number of plain
operations. Bessel functions would take loops, which are slow and which no export can run.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

_PANELS, _NODES, _STEPS = 12, 8, 4
_LEGENDRE = np.polynomial.legendre.leggauss(_NODES)
_POINTS, _WEIGHTS = 0.5 * (1.0 + _LEGENDRE[0]), 0.5 * _LEGENDRE[1]  # on [0, 1]
_PLACES = np.arange(_PANELS)[:, np.newaxis] + _POINTS
_TO_END = np.append(_POINTS, 1.0)
_TINY = 1e-300


class Angle:
    r"""The law of the angle for a tensor of concentrations.

    It is computed in float64, for a quantile's derivative is a small difference of masses, and
    returned in the concentration's dtype.

    Args:
        concentration: :math:`\kappa > 0`, [...].
        dim: d, at least 2.

    Example:
        >>> from tfvae.layers.angle import Angle
        >>> angle = Angle(tf.constant(2.0), dim=3)
        >>> round(float(angle.mean_cosine()), 5), round(float(1 / np.tanh(2.0) - 1 / 2.0), 5)
        (0.53731, 0.53731)
    """

    def __init__(self, concentration: tf.Tensor, dim: int) -> None:
        self.dtype = concentration.dtype
        self.dim = dim
        self.concentration = tf.cast(concentration, tf.float64)
        # Panels follow the concentration, but what they sum to does not depend on where they lie:
        # gradients pass through the integrands alone.
        fixed = tf.stop_gradient(self.concentration)
        power = dim - 2.0
        curvature = tf.sqrt(power**2 + 4.0 * tf.square(fixed))  # of -log p(theta) at its mode
        # sin^2 and cos^2 of half the angle at the mode, written so that nothing cancels.
        self._sine2 = 0.5 * power * (1.0 + power / (curvature + 2.0 * fixed)) / (power + curvature)
        self._cosine2 = 0.5 * (1.0 + 2.0 * fixed / (power + curvature))
        mode = tf.sqrt(self._sine2) / (1.0 + tf.sqrt(self._cosine2))
        scale = 0.25 * (1.0 + tf.square(mode)) / tf.sqrt(curvature)
        # Outside lies a mass of some 1e-14. The upper tail is the longer, most so on the circle.
        self._start = tf.maximum(mode - 8.0 * scale, 0.0)
        stop = tf.minimum(mode + (8.0 + 24.0 / math.sqrt(dim + 1.0)) * scale, 1.0)
        self._width = (stop - self._start) / _PANELS
        start, width = self._start[..., tf.newaxis, tf.newaxis], self._width[..., tf.newaxis]
        density, half = self._density(self.concentration, start + width[..., tf.newaxis] * _PLACES)
        mass = width * tf.reduce_sum(_WEIGHTS * density, axis=-1)
        versine = 2.0 * width * tf.reduce_sum(_WEIGHTS * density * half, axis=-1)
        self._total = tf.reduce_sum(mass, axis=-1)
        # Each panel's share of the mass and of the mean of 1 - cos(theta).
        self._mass = mass / self._total[..., tf.newaxis]
        self._versine = versine / self._total[..., tf.newaxis]

    def log_normaliser(self) -> tf.Tensor:
        r"""Return :math:`\log \int e^{\kappa (\mu^\top x - 1)} dx` over the sphere."""
        peak = -2.0 * self.concentration * self._sine2
        if self.dim > 2:
            peak += 0.5 * (self.dim - 2) * tf.math.log(4.0 * self._sine2 * self._cosine2)
        ring = 0.5 * (self.dim - 1)  # the area of the sphere of directions at one angle
        area = math.log(2.0) + ring * math.log(math.pi) - math.lgamma(ring)
        return tf.cast(peak + tf.math.log(4.0 * self._total) + area, self.dtype)

    def mean_cosine(self) -> tf.Tensor:
        """Return the mean of the cosine, which is the length of a draw's mean."""
        return tf.cast(1.0 - tf.reduce_sum(self._versine, axis=-1), self.dtype)

    def entropy(self) -> tf.Tensor:
        """Return the entropy of a draw on the sphere."""
        energy = self.concentration * tf.reduce_sum(self._versine, axis=-1)
        return self.log_normaliser() + tf.cast(energy, self.dtype)

    def quantile(self, uniform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        r"""Return the cosine and the sine of the angle below which a share `uniform` lies.

        First derivatives with respect to the concentration are those of the implicit function,
        :math:`d\tau / d\kappa = -(\partial F / \partial \kappa) / p`. There are no second ones.

        Args:
            uniform: in (0, 1), [..., *concentration.shape].
        """
        uniform = tf.cast(uniform, tf.float64)
        mass, versine = tf.stop_gradient(self._mass), tf.stop_gradient(self._versine)
        # The panel that holds the quantile: where it starts, and what lies below it.
        edges = tf.cumsum(mass, axis=-1)[..., :-1]
        below = tf.cast(edges <= uniform[..., tf.newaxis], tf.float64)
        mass_below = tf.reduce_sum(below * mass[..., :-1], axis=-1)
        versine_below = tf.reduce_sum(below * versine[..., :-1], axis=-1)
        left = self._start + self._width * tf.reduce_sum(below, axis=-1)
        right = left + self._width
        # What lies below the median is measured from below, the rest from above: both tails keep
        # their relative precision.
        side = 1.0 - 2.0 * tf.cast(uniform > 0.5, tf.float64)
        wanted = tf.minimum(uniform, 1.0 - uniform)
        tau = 0.5 * (left + right)
        for _ in range(_STEPS):
            part, _, density, slope = self._reach(left, tau)
            tail = tf.maximum(0.5 * (1.0 - side) + side * (mass_below + part), _TINY)
            # Along the curve (a + b tau)^(1 / rho) that has the tail's mass, density and slope. It
            # is exact for exponential tails, rho = 0, and for powers, as near 0 and pi.
            rho = tf.clip_by_value(1.0 - side * slope * tail / density, 1e-4, 10.0)
            stretch = (tf.exp(rho * tf.math.log(wanted / tail)) - 1.0) / rho
            # Never to the panel's very ends: at 0 and pi the mass of the tail is all rounding.
            step = side * stretch * tail / density
            tau += tf.clip_by_value(step, 0.999 * (left - tau), 0.999 * (right - tau))
        part, part_versine, density, _ = self._reach(left, tau)
        mean = tf.reduce_sum(versine, axis=-1)
        derivative = (versine_below + part_versine - mean * (mass_below + part)) / density
        fixed = tf.stop_gradient(self.concentration)
        tau += tf.stop_gradient(derivative) * (self.concentration - fixed)
        sine, cosine, _ = _half_angle(tau)
        return (
            tf.cast(1.0 - 2.0 * tf.square(sine), self.dtype),
            tf.cast(2.0 * sine * cosine, self.dtype),
        )

    def _density(self, concentration: tf.Tensor, tau: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the density at tau, [..., *concentration.shape, m, n], and (1 - cos(theta)) / 2.

        Up to a factor, with which it is about 1 at the mode.
        """
        kappa, sine2, cosine2 = (
            value[..., tf.newaxis, tf.newaxis]
            for value in (concentration, self._sine2, self._cosine2)
        )
        sine, cosine, jacobian = _half_angle(tau)
        half = tf.square(sine)
        log_density = -2.0 * kappa * (half - sine2)
        if self.dim > 2:
            area = tf.maximum(half * tf.square(cosine), _TINY) / (sine2 * cosine2)
            log_density += 0.5 * (self.dim - 2) * tf.math.log(area)
        return 0.25 * jacobian * tf.exp(log_density), half

    def _reach(
        self, left: tf.Tensor, tau: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return mass and versine from `left` to tau; the density and its log's slope at tau."""
        kappa, total = tf.stop_gradient(self.concentration), tf.stop_gradient(self._total)
        length = tau - left
        places = left[..., tf.newaxis] + length[..., tf.newaxis] * _TO_END
        density, half = (
            value[..., 0, :] for value in self._density(kappa, places[..., tf.newaxis, :])
        )
        inside = _WEIGHTS * density[..., :-1]
        mass = length / total * tf.reduce_sum(inside, axis=-1)
        versine = 2.0 * length / total * tf.reduce_sum(inside * half[..., :-1], axis=-1)
        sine, cosine, jacobian = _half_angle(tau)
        slope = -2.0 * kappa * sine * cosine
        if self.dim > 2:
            slope += (self.dim - 2) * (0.5 / (sine * cosine) - sine / cosine)
        slope = jacobian * (slope - 0.5 * tau)
        return mass, versine, density[..., -1] / total + _TINY, slope


def _half_angle(tau: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the sine and cosine of half the angle, and the derivative of the angle to tau."""
    square = tf.square(tau)
    scale = 1.0 / (1.0 + square)
    return 2.0 * tau * scale, (1.0 - square) * scale, 4.0 * scale
