"""Closed forms of KL(q‖p) that TFP lacks, registered with it, and what has one.

Most rest on one identity: KL(q‖p) is the cross entropy of q and p less the entropy of q. Where
log p is a polynomial in x, log x or 1/x, the cross entropy needs no more than a few moments of q.
A missing form would fall to Monte Carlo in silence; a pair that only looks registered would raise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.distributions import independent, kullback_leibler, masked

tfd = tfp.distributions

AnyIndependent = independent._Independent
"""What ``tfd.Independent`` makes: it is no ``tfd.Independent`` around a class of our own."""

_AnyMasked = masked._Masked

_GAUSSIAN = (
    tfd.MultivariateNormalLinearOperator,
    tfd.MultivariateNormalDiagPlusLowRankCovariance,
)
_ELLIPTICAL = (*_GAUSSIAN, tfd.MultivariateStudentTLinearOperator)
_UNIT = (tfd.Beta, tfd.ContinuousBernoulli, tfd.Kumaraswamy)
# Those whose entropy, mean and variance TFP has; a subclass (Exponential of Gamma) is included.
_WITH_MOMENTS = (
    *_UNIT, tfd.Chi2, tfd.Gamma, tfd.Gumbel, tfd.InverseGamma, tfd.Laplace, tfd.LogNormal,
    tfd.Logistic, tfd.Pareto, tfd.StudentT, tfd.Triangular, tfd.Uniform, tfd.Weibull,
)  # fmt: skip


def has_closed_form(q: Any, p: Any) -> bool:
    """Say whether ``tfd.kl_divergence`` knows this pair, without drawing or computing anything.

    Args:
        q: the distribution that is averaged over, such as a posterior.
        p: the other, such as a prior.

    Example:
        >>> from tfvae.layers.kl import has_closed_form
        >>> tfd = tfp.distributions
        >>> full = tfd.MultivariateNormalTriL([0.0, 0.0], tf.eye(2))
        >>> has_closed_form(full, tfd.Independent(tfd.Normal([0.0, 0.0], 1.0), 1))
        True
        >>> has_closed_form(tfd.Cauchy(0.0, 1.0), tfd.Normal(0.0, 1.0))
        False
    """
    if isinstance(q, AnyIndependent) and isinstance(p, AnyIndependent):
        return has_closed_form(*_peel(q, p))
    if isinstance(q, _AnyMasked) and isinstance(p, _AnyMasked):
        return has_closed_form(q.distribution, p.distribution)
    if isinstance(q, AnyIndependent):
        # Element by element against a Gaussian whose axes are correlated.
        return isinstance(p, _GAUSSIAN) and isinstance(q.distribution, (tfd.Normal, *_WITH_MOMENTS))
    if isinstance(p, AnyIndependent):
        return isinstance(q, _ELLIPTICAL) and isinstance(p.distribution, tfd.Normal)
    known = kullback_leibler._registered_kl(type(q), type(p))
    general = kullback_leibler._registered_kl(
        tfd.TransformedDistribution, tfd.TransformedDistribution
    )
    if known is general:  # it raises unless the two are one map of two base distributions
        same: bool = q.bijector == p.bijector
        return same and has_closed_form(q.distribution, p.distribution)
    return known is not None


@tfd.RegisterKL(tfd.Independent, tfd.Independent)
def _independent(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """Sum over the axes that both hold as independent; what is left may differ in kind."""
    axes = min(_axes(q), _axes(p))
    kl = tfd.kl_divergence(*_peel(q, p))
    return tf.reduce_sum(kl, axis=list(range(-axes, 0)))


def _normal(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """Any q with two moments against a Normal."""
    square = q.variance() + tf.square(q.mean() - p.loc)
    cross = 0.5 * (math.log(2.0 * math.pi) + square / tf.square(p.scale)) + tf.math.log(p.scale)
    return cross - _entropy(q)


def _elliptical_independent(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """An elliptical q against independent Normals: only q's variances count."""
    _require(q, p)
    normal = p.distribution
    square = q.variance() + tf.square(q.mean() - normal.loc)
    cross = 0.5 * (math.log(2.0 * math.pi) + square / tf.square(normal.scale))
    return tf.reduce_sum(cross + tf.math.log(normal.scale), axis=-1) - q.entropy()


def _independent_gaussian(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """Independent values against a Gaussian with a full covariance."""
    _require(q, p)
    inverse = tf.linalg.inv(p.covariance())
    spread = tf.reduce_sum(tf.linalg.diag_part(inverse) * q.variance(), axis=-1)
    entropy = tf.reduce_sum(_entropy(q.distribution), axis=-1)
    return -p.log_prob(q.mean()) + 0.5 * spread - entropy


def _elliptical_gaussian(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """Two elliptical distributions with full covariances."""
    inverse = tf.linalg.inv(p.covariance())
    spread = tf.reduce_sum(inverse * q.covariance(), axis=[-2, -1])
    return -p.log_prob(q.mean()) + 0.5 * spread - q.entropy()


@tfd.RegisterKL(tfd.Normal, tfd.Laplace)
def _normal_laplace(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """The mean distance of a Normal from a point is that of a folded Normal."""
    shift = (q.loc - p.loc) / q.scale
    distance = q.scale * (
        math.sqrt(2.0 / math.pi) * tf.exp(-0.5 * tf.square(shift))
        + shift * tf.math.erf(shift / math.sqrt(2.0))
    )
    return tf.math.log(2.0 * p.scale) + distance / p.scale - q.entropy()


def _unit_uniform(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """A density on [0, 1] against a Uniform: infinite unless that covers the interval."""
    kl = tf.math.log(p.high - p.low) - q.entropy()
    return tf.where((p.low <= 0.0) & (p.high >= 1.0), kl, tf.constant(math.inf, kl.dtype))


@tfd.RegisterKL(tfd.InverseGamma, tfd.InverseGamma)
def _inverse_gamma(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """KL does not change under x -> 1/x."""
    return tfd.kl_divergence(
        tfd.Gamma(q.concentration, q.scale), tfd.Gamma(p.concentration, p.scale)
    )


def _log_normal(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """A positive q with two moments of log x against a LogNormal."""
    mean, variance = _log_moments(q)
    square = variance + tf.square(mean - p.loc)
    cross = 0.5 * (math.log(2.0 * math.pi) + square / tf.square(p.scale)) + tf.math.log(p.scale)
    return cross + mean - q.entropy()


def _gamma(q: Any, p: Any, name: str | None = None) -> tf.Tensor:
    """A positive q with the means of x and of log x against a Gamma."""
    a, b = tf.convert_to_tensor(p.concentration), tf.convert_to_tensor(p.rate)
    normaliser = tf.math.lgamma(a) - a * tf.math.log(b)
    return normaliser - (a - 1.0) * _log_moments(q)[0] + b * q.mean() - q.entropy()


def _entropy(q: Any) -> tf.Tensor:
    if isinstance(q, tfd.Pareto):  # the one of these whose entropy TFP lacks
        return tf.math.log(q.scale / q.concentration) + 1.0 / q.concentration + 1.0
    return q.entropy()


def _log_moments(q: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the mean and the variance of log x."""
    if isinstance(q, tfd.LogNormal):
        return tf.convert_to_tensor(q.loc), tf.square(q.scale)
    if isinstance(q, tfd.Weibull):
        k = tf.convert_to_tensor(q.concentration)
        gamma = 0.5772156649015329
        return tf.math.log(q.scale) - gamma / k, math.pi**2 / 6.0 / tf.square(k)
    a = tf.convert_to_tensor(q.concentration)
    location = tf.math.digamma(a)
    mean = (
        tf.math.log(q.scale) - location
        if isinstance(q, tfd.InverseGamma)
        else location - tf.math.log(q.rate)
    )
    return mean, tf.math.polygamma(tf.ones_like(a), a)


def _axes(distribution: Any) -> int:
    return int(tf.get_static_value(distribution.reinterpreted_batch_ndims))


def _peel(q: Any, p: Any) -> tuple[Any, Any]:
    """Take from both the independent axes that they share."""
    axes = min(_axes(q), _axes(p))

    def inner(distribution: Any) -> Any:
        left = _axes(distribution) - axes
        inside = distribution.distribution
        return tfd.Independent(inside, reinterpreted_batch_ndims=left) if left else inside

    return inner(q), inner(p)


def _require(q: Any, p: Any) -> None:
    if not has_closed_form(q, p):
        raise NotImplementedError(f"No closed form of the KL divergence of {q} from {p} is known.")


def _register(form: Callable[..., tf.Tensor], q: tuple[Any, ...], p: tuple[Any, ...]) -> None:
    for a in q:
        for b in p:
            if (a, b) not in kullback_leibler._DIVERGENCES:
                tfd.RegisterKL(a, b)(form)


_register(_normal, _WITH_MOMENTS, (tfd.Normal,))
_register(_unit_uniform, _UNIT, (tfd.Uniform,))
_register(_elliptical_independent, _ELLIPTICAL, (tfd.Independent,))
_register(_independent_gaussian, (tfd.Independent,), _GAUSSIAN)
_register(_elliptical_gaussian, _ELLIPTICAL, _GAUSSIAN)
_register(_log_normal, (tfd.Gamma, tfd.InverseGamma, tfd.Weibull), (tfd.LogNormal,))
_register(_gamma, (tfd.LogNormal, tfd.InverseGamma), (tfd.Gamma,))
