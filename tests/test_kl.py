"""Closed forms of the KL divergence that we register: against quadrature, Monte Carlo and TFP."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special
from tensorflow_probability.python.distributions import kullback_leibler

from tfvae import layers
from tfvae.layers.kl import has_closed_form
from tfvae.priors import StandardNormal

tfd = tfp.distributions


def f64(*values: float) -> list[tf.Tensor]:
    return [tf.constant(value, tf.float64) for value in values]


NORMAL = tfd.Normal(*f64(0.3, 1.7))
LOG_NORMAL = tfd.LogNormal(*f64(0.3, 0.7))
GAMMA = tfd.Gamma(*f64(1.5, 0.8))
WIDE = tfd.Uniform(*f64(-0.5, 1.5))
PAIRS: dict[str, tuple[Any, Any]] = {
    "beta_normal": (tfd.Beta(*f64(2.0, 3.0)), NORMAL),
    "chi2_normal": (tfd.Chi2(*f64(3.0)), NORMAL),
    "continuous_bernoulli_normal": (tfd.ContinuousBernoulli(*f64(1.2)), NORMAL),
    "exponential_normal": (tfd.Exponential(*f64(1.2)), NORMAL),
    "gamma_normal": (GAMMA, NORMAL),
    "gumbel_normal": (tfd.Gumbel(*f64(0.5, 0.8)), NORMAL),
    "inverse_gamma_normal": (tfd.InverseGamma(*f64(6.0, 2.0)), NORMAL),
    "kumaraswamy_normal": (tfd.Kumaraswamy(*f64(2.0, 3.0)), NORMAL),
    "laplace_normal": (tfd.Laplace(*f64(0.5, 0.8)), NORMAL),
    "log_normal_normal": (tfd.LogNormal(*f64(0.1, 0.4)), NORMAL),
    "logistic_normal": (tfd.Logistic(*f64(0.5, 0.8)), NORMAL),
    "pareto_normal": (tfd.Pareto(*f64(8.0, 0.5)), NORMAL),
    "student_t_normal": (tfd.StudentT(*f64(6.0, 0.5, 0.8)), NORMAL),
    "triangular_normal": (tfd.Triangular(*f64(-1.0, 2.0, 0.3)), NORMAL),
    "uniform_normal": (tfd.Uniform(*f64(-1.0, 2.0)), NORMAL),
    "weibull_normal": (tfd.Weibull(*f64(1.5, 0.8)), NORMAL),
    "normal_laplace": (NORMAL, tfd.Laplace(*f64(0.5, 0.8))),
    "beta_uniform": (tfd.Beta(*f64(2.0, 3.0)), WIDE),
    "continuous_bernoulli_uniform": (tfd.ContinuousBernoulli(*f64(1.2)), WIDE),
    "kumaraswamy_uniform": (tfd.Kumaraswamy(*f64(2.0, 3.0)), WIDE),
    "inverse_gamma_twice": (tfd.InverseGamma(*f64(3.0, 2.0)), tfd.InverseGamma(*f64(2.0, 1.0))),
    "gamma_log_normal": (GAMMA, LOG_NORMAL),
    "exponential_log_normal": (tfd.Exponential(*f64(1.2)), LOG_NORMAL),
    "inverse_gamma_log_normal": (tfd.InverseGamma(*f64(3.0, 2.0)), LOG_NORMAL),
    "weibull_log_normal": (tfd.Weibull(*f64(1.5, 0.8)), LOG_NORMAL),
    "log_normal_gamma": (LOG_NORMAL, GAMMA),
    "inverse_gamma_gamma": (tfd.InverseGamma(*f64(3.0, 2.0)), GAMMA),
}


def grid(q: Any) -> tuple[Any, Any]:
    """Points and weights of the trapezoid rule after a change of variables, over q's support."""
    t = np.linspace(-36.0, 36.0, 200_001)
    h = t[1] - t[0]
    match q:
        case tfd.Uniform() | tfd.Triangular():
            low, high = float(q.low), float(q.high)
        case tfd.Beta() | tfd.ContinuousBernoulli() | tfd.Kumaraswamy():
            low, high = 0.0, 1.0
        case tfd.Pareto():
            return float(q.scale) + np.exp(t), np.exp(t) * h
        case tfd.Normal() | tfd.Laplace() | tfd.Logistic() | tfd.Gumbel() | tfd.StudentT():
            return float(q.loc) + np.sinh(t), np.cosh(t) * h
        case _:
            return np.exp(t), np.exp(t) * h
    # Up to 1e-11 from the ends, within which these densities hold less mass than that.
    t = t[np.abs(t) < 25]
    scale = (high - low) * special.expit(t)
    return low + scale, scale * special.expit(-t) * h


@pytest.mark.parametrize("name", PAIRS)
def test_against_quadrature(name: str) -> None:
    q, p = PAIRS[name]
    assert has_closed_form(q, p)
    x, weight = grid(q)
    log_q, log_p = q.log_prob(x).numpy(), p.log_prob(x).numpy()
    density = np.exp(log_q) * weight
    used = density > 0
    assert density.sum() == pytest.approx(1, abs=1e-6)  # the quadrature is worth something
    expected = np.sum(density[used] * (log_q - log_p)[used])
    assert float(tfd.kl_divergence(q, p)) == pytest.approx(expected, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_independent_axes_add(name: str) -> None:
    q, p = PAIRS[name]
    wide = type(q)(**{k: v + tf.zeros([4, 3], tf.float64) for k, v in tensors(q).items()})
    kl = tfd.kl_divergence(tfd.Independent(wide, 1), tfd.Independent(tiled(p), 1))
    np.testing.assert_allclose(kl, [3 * float(tfd.kl_divergence(q, p))] * 4, rtol=1e-9)


def tensors(distribution: Any) -> dict[str, tf.Tensor]:
    return {k: v for k, v in distribution.parameters.items() if isinstance(v, tf.Tensor)}


def tiled(distribution: Any) -> Any:
    values = tensors(distribution).items()
    return type(distribution)(**{k: v + tf.zeros([3], tf.float64) for k, v in values})


# ---------------------------------------------------------------- multivariate

RNG = np.random.default_rng(3)
SIZE = 4
TRIL = np.tril(RNG.normal(0, 0.5, (SIZE, SIZE)), -1) + np.diag([0.5, 1.0, 1.5, 0.8])
FACTOR = RNG.normal(0, 0.7, (SIZE, 2))
LOC = RNG.normal(0, 1, SIZE)
FULL = tfd.MultivariateNormalTriL(LOC, TRIL)
OTHER = tfd.MultivariateNormalTriL(
    LOC[::-1], np.eye(SIZE) + 0.3 * np.tril(np.ones((SIZE, SIZE)), -1)
)
DIAGONAL = tfd.MultivariateNormalDiag(LOC, np.full(SIZE, 1.3))
LOW_RANK = tfd.MultivariateNormalDiagPlusLowRankCovariance(LOC, np.full(SIZE, 0.6), FACTOR)
STUDENT = tfd.MultivariateStudentTLinearOperator(
    np.float64(6.0), LOC, tf.linalg.LinearOperatorLowerTriangular(TRIL)
)
NORMALS = tfd.Independent(tfd.Normal(LOC * 0.5, np.full(SIZE, 1.4)), 1)
LAPLACES = tfd.Independent(tfd.Laplace(LOC * 0.5, np.full(SIZE, 0.7)), 1)
PARETOS = tfd.Independent(tfd.Pareto(np.full(SIZE, 9.0), np.full(SIZE, 0.7)), 1)
MULTIVARIATE: dict[str, tuple[Any, Any]] = {
    "full_independent": (FULL, NORMALS),
    "low_rank_independent": (LOW_RANK, NORMALS),
    "student_independent": (STUDENT, NORMALS),
    "diagonal_independent": (DIAGONAL, NORMALS),
    "independent_full": (NORMALS, FULL),
    "pareto_full": (PARETOS, FULL),
    "independent_low_rank": (NORMALS, LOW_RANK),
    "laplace_full": (LAPLACES, FULL),
    "low_rank_full": (LOW_RANK, OTHER),
    "full_low_rank": (OTHER, LOW_RANK),
    "low_rank_diagonal": (LOW_RANK, DIAGONAL),
    "student_full": (STUDENT, OTHER),
    "full_full": (FULL, OTHER),
}


@pytest.mark.parametrize("name", MULTIVARIATE)
def test_multivariate_against_monte_carlo(name: str) -> None:
    q, p = MULTIVARIATE[name]
    assert has_closed_form(q, p)
    draws = q.sample(50_000, seed=[1, 2])
    log_ratio = (q.log_prob(draws) - p.log_prob(draws)).numpy()
    # Five standard errors, thirteen pairs: a false alarm once in 130,000 seeds.
    tolerance = 5 * log_ratio.std() / math.sqrt(len(log_ratio))
    assert abs(float(tfd.kl_divergence(q, p)) - log_ratio.mean()) < tolerance


def test_multivariate_against_tfp() -> None:
    # TFP knows two Gaussians by their scales: ours by variances, by entropy and by covariance.
    standard = tfd.MultivariateNormalDiag(LOC * 0.5, np.full(SIZE, 1.4))
    truth = float(tfd.kl_divergence(FULL, standard))
    assert float(tfd.kl_divergence(FULL, NORMALS)) == pytest.approx(truth, rel=1e-12)
    truth = float(tfd.kl_divergence(standard, FULL))
    assert float(tfd.kl_divergence(NORMALS, FULL)) == pytest.approx(truth, rel=1e-12)
    dense = tfd.MultivariateNormalTriL(LOC, tf.linalg.cholesky(LOW_RANK.covariance()))
    for p in (OTHER, DIAGONAL, NORMALS):
        truth = float(tfd.kl_divergence(dense, p))
        assert float(tfd.kl_divergence(LOW_RANK, p)) == pytest.approx(truth, rel=1e-10)
    truth = float(tfd.kl_divergence(OTHER, dense))
    assert float(tfd.kl_divergence(OTHER, LOW_RANK)) == pytest.approx(truth, rel=1e-10)


@pytest.mark.parametrize("event", [(3,), (2, 3)])
@pytest.mark.parametrize(
    "make", [layers.MultivariateNormal, layers.LowRankNormal, layers.MultivariateStudentT]
)
def test_posteriors_of_any_rank_against_the_standard_normal(make: Any, event: Any) -> None:
    layer = make(event)
    params = tf.constant(RNG.normal(0, 1, (5, *layer.params_shape)), tf.float32)
    q, p = layer(params), StandardNormal(event)(None)
    assert has_closed_form(q, p)
    kl = tfd.kl_divergence(q, p)
    assert kl.shape == [5]
    draws = q.sample(20_000, seed=[1, 2])
    log_ratio = (q.log_prob(draws) - p.log_prob(draws)).numpy()
    # Thirty means at five standard errors: a false alarm once in 58,000 seeds.
    error = np.abs(kl - log_ratio.mean(0))
    np.testing.assert_array_less(error, 5 * log_ratio.std(0) / math.sqrt(20_000))


def test_gradients_of_the_kl_are_finite_at_extreme_outputs() -> None:
    for make in (layers.MultivariateNormal, layers.LowRankNormal, layers.MultivariateStudentT):
        layer = make((3,))
        for raw in (-30.0, 30.0):
            params = tf.fill([2, *layer.params_shape], raw)
            with tf.GradientTape() as tape:
                tape.watch(params)
                kl = tf.reduce_sum(tfd.kl_divergence(layer(params), StandardNormal((3,))(None)))
            assert np.isfinite(float(kl))
            assert np.all(np.isfinite(tape.gradient(kl, params)))


# ---------------------------------------------------------------- what has none


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (tfd.Cauchy(0.0, 1.0), tfd.Normal(0.0, 1.0)),
        (tfd.Kumaraswamy(2.0, 3.0), tfd.Kumaraswamy(2.0, 4.0)),
        (FULL, LAPLACES),
        (STUDENT, STUDENT),
        (tfd.Independent(tfd.Cauchy(LOC, 1.0), 1), FULL),
        (tfd.Independent(FULL, 0), tfd.Independent(LAPLACES, 0)),
    ],
)
def test_pairs_without_a_closed_form_are_known(q: Any, p: Any) -> None:
    assert not has_closed_form(q, p)
    assert not tf.function(lambda: tf.constant(has_closed_form(q, p)))()
    with pytest.raises(NotImplementedError):
        tfd.kl_divergence(q, p)


def test_a_uniform_that_does_not_cover_the_interval() -> None:
    beta = tfd.Beta(*f64(2.0, 3.0))
    assert float(tfd.kl_divergence(beta, tfd.Uniform(*f64(0.0, 0.9)))) == math.inf


def test_one_map_of_two_distributions_has_that_of_the_two() -> None:
    def tanh(scale: float) -> Any:
        return tfd.TransformedDistribution(tfd.Normal(0.0, scale), tfp.bijectors.Tanh())

    assert has_closed_form(tanh(1.0), tanh(2.0))
    truth = float(tfd.kl_divergence(tfd.Normal(0.0, 1.0), tfd.Normal(0.0, 2.0)))
    assert float(tfd.kl_divergence(tanh(1.0), tanh(2.0))) == pytest.approx(truth)


def test_what_tfp_registers_stays_its_own() -> None:
    own = kullback_leibler._DIVERGENCES[tfd.Normal, tfd.Normal]
    assert own.__module__.startswith("tensorflow_probability")
