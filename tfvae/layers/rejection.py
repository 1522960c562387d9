r"""Gamma draws by bounded rejection: a fixed number of proposals, and no loop.

Marsaglia and Tsang propose :math:`d (1 + y)^3` with :math:`y = c \varepsilon`, where
:math:`d = \alpha - \frac13`, :math:`c = 1 / \sqrt{9 d}` and :math:`\varepsilon` is standard normal,
and accept it with probability

.. math:: \exp \left( 3 d \, [\log(1 + y) - y + y^2 / 2 - y^3 / 3] \right).

The first of five normals that is accepted makes the draw; the fifth is taken untested. Two boosts,
:math:`G_\alpha = G_{\alpha + 2} \, U_1^{1 / \alpha} \, U_2^{1 / (\alpha + 1)}`, keep what is
proposed for above a concentration of 2. There a proposal is accepted in 98.1% of cases and more, so
that the fifth would have been rejected in less than 2.5e-9 of draws (9e-10 from a concentration of
0.3 on, 1e-13 from 10 on). Such a draw is finite, and of the proposal's own law.

Which normal is accepted is a choice, through which no gradient flows. The gradient of a draw with
respect to the concentration is the implicit one, :math:`-(\partial F / \partial \alpha) / p`, as it
is of TFP's own sampler.

References:
    Marsaglia and Tsang (2000), A simple method for generating gamma variables. Figurnov, Mohamed
    and Mnih (2018), Implicit reparameterization gradients, arXiv:1805.08498. Naesseth, Ruiz,
    Linderman and Blei (2017), Reparameterization gradients through acceptance-rejection sampling
    algorithms, arXiv:1610.05683.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tfvae.layers.base import DistributionLayer
from tfvae.layers.mixture import flatten, unflatten
from tfvae.layers.numerics import polynomial
from tfvae.layers.support import Support

# What one draw takes: normals to propose, uniforms to test all but the last, uniforms that boost.
PROPOSALS, TESTS, BOOSTS = 5, 4, 2

# Proposals below come up in 6e-5 of cases at most, and one in a million of these is accepted.
_LEAST = -0.99


def log_gamma_draws(choices: tf.Tensor, normals: tf.Tensor, concentration: tf.Tensor) -> tf.Tensor:
    """Return the logarithms of draws from Gammas of rate 1.

    Proposals are tested in the noise's precision, and draws have the concentration's. The gradient
    is finite for concentrations from 0.3 on; below, draws leave the range of float32.

    Args:
        choices: uniforms [..., 6 n]: those that test, then those that boost.
        normals: standard normals [..., 5 n].
        concentration: positive, [..., n].

    Returns:
        The logarithms, [..., n].

    Example:
        >>> from tfvae.layers.rejection import log_gamma_draws
        >>> draw = log_gamma_draws(tf.fill([6], 0.5), tf.zeros([5]), tf.constant([100.0]))
        >>> np.round(np.exp(draw), 1)  # near the median, 99.7
        array([100.3], dtype=float32)
    """
    count = concentration.shape[-1]
    alpha = tf.stop_gradient(concentration)
    tests, boosts = choices[..., : TESTS * count], choices[..., TESTS * count :]
    normal = _accepted(
        unflatten(tests, (TESTS, count)),
        unflatten(normals, (PROPOSALS, count)),
        tf.cast(alpha, normals.dtype),
    )
    d, c = _shape(alpha)
    y = tf.maximum(c * tf.cast(normal, alpha.dtype), _LEAST)
    log_draw = tf.math.log(d) + 3.0 * tf.math.log(1.0 + y)
    uniforms = unflatten(tf.cast(boosts, alpha.dtype), (BOOSTS, count))
    for step in range(BOOSTS):
        log_draw += tf.math.log(uniforms[..., step, :]) / (alpha + float(step))
    return _implicit(tf.broadcast_to(concentration, tf.shape(log_draw)), log_draw)


class OfGammas(DistributionLayer):
    """A layer whose draws are made of `gammas` Gamma draws for each value."""

    noise = "normal"
    support = Support.POSITIVE
    gammas: int = 1

    def __init__(self, event_shape: tuple[int, ...] | int, **options: Any) -> None:
        super().__init__(event_shape, **options)
        self._count = self.gammas * math.prod(self.event_shape)
        self.choices = (TESTS + BOOSTS) * self._count
        self.quantiles = BOOSTS * self._count

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The uniforms that accept and boost, then the normals that propose."""
        return (self.choices + PROPOSALS * self._count,)

    def log_gammas(self, noise: tf.Tensor, *concentrations: tf.Tensor) -> list[tf.Tensor]:
        """Return the logarithms of draws of rate 1, [..., *event_shape] for each concentration."""
        noise = tf.cast(noise, self.compute_dtype)
        joined = tf.concat([flatten(c, len(self.event_shape)) for c in concentrations], axis=-1)
        draws = log_gamma_draws(noise[..., : self.choices], noise[..., self.choices :], joined)
        parts = tf.split(draws, self.gammas, axis=-1)
        return [unflatten(part, self.event_shape) for part in parts]


def _shape(alpha: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return d and c of the boosted concentration."""
    d = alpha + (BOOSTS - 1.0 / 3.0)
    return d, tf.math.rsqrt(9.0 * d)


def _accepted(tests: tf.Tensor, normals: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Return the first normal whose test accepts it, or the last."""
    d, c = _shape(alpha[..., tf.newaxis, :])
    y = tf.maximum(c * normals[..., :TESTS, :], _LEAST)
    accept = tests < tf.exp(3.0 * d * _remainder(y))
    chosen = normals[..., TESTS, :]
    for index in reversed(range(TESTS)):
        chosen = tf.where(accept[..., index, :], normals[..., index, :], chosen)
    return chosen


def _remainder(y: tf.Tensor) -> tf.Tensor:
    """Return log(1 + y) - y + y^2 / 2 - y^3 / 3, of which little is left near 0."""
    near = tf.abs(y) < 0.2
    small, large = tf.where(near, y, tf.zeros_like(y)), tf.where(near, tf.ones_like(y), y)
    # What the series leaves out is at most 1e-8, and 2e-6 of the probability of any test.
    series = polynomial(small, (1 / 9, -1 / 8, 1 / 7, -1 / 6, 1 / 5, -1 / 4))
    direct = tf.math.log(1.0 + large) - large * (1.0 - large * (1 / 2 - large / 3))
    return tf.where(near, tf.square(tf.square(small)) * series, direct)


@tf.custom_gradient
def _implicit(concentration: tf.Tensor, log_draw: tf.Tensor) -> Any:
    """Return the logarithms of draws, with their implicit gradients."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        draw = tf.exp(log_draw)
        slope = tf.raw_ops.RandomGammaGrad(alpha=concentration, sample=draw)
        return upstream * slope / draw, None

    return tf.identity(log_draw), gradient
