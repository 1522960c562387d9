"""The parts of the KL against quadrature, and closed forms of Gaussians."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from linear_gaussian import LinearGaussian
from scipy import special, stats
from test_hierarchical import Chain

import tfvae
from tfvae.evaluate import surgery
from tfvae.evaluate.batches import Estimate


def near(found: Any, exact: float, slack: float = 0.0) -> bool:
    """Whether an estimate is within 4.5 standard errors: a false alarm once in 140,000 seeds."""
    assert isinstance(found, Estimate)
    return abs(found.mean - exact) < 4.5 * found.error + slack


def normal(z: Any, mean: Any, stddev: Any) -> Any:
    return stats.norm(mean, stddev).logpdf(z)


def test_all_terms_against_quadrature(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(6)
    m = np.sum(truth.w**2, axis=0) + truth.s**2
    means, stddev = (x - truth.b) @ truth.w / m, truth.s / np.sqrt(m)
    # The midpoint rule on a grid far finer than the narrowest posterior (0.3): all but exact.
    line = np.arange(-7, 7, 0.05) + 0.025
    each = [special.logsumexp(normal(line[:, None], mu, sd), axis=1) - math.log(6)
            for mu, sd in zip(means.T, stddev, strict=True)]  # fmt: skip
    joint = special.logsumexp(
        [np.add.outer(*(normal(line, mu[d], stddev[d]) for d in range(2))) for mu in means], axis=0
    ) - math.log(6)
    q, marginal = np.exp(joint) * 0.05**2, [np.exp(log_q) * 0.05 for log_q in each]
    assert q.sum() == pytest.approx(1, abs=1e-9)
    prior = normal(line, 0, 1)
    mismatch = np.sum(q * (joint - np.add.outer(prior, prior)))
    correlation = np.sum(q * (joint - np.add.outer(*each)))
    dimensions = [np.sum(p * (log_q - prior)) for p, log_q in zip(marginal, each, strict=True)]
    kl = np.mean(np.sum(0.5 * (means**2 + stddev**2 - 1) - np.log(stddev), axis=1))

    steps: list[tuple[int, int]] = []
    found = surgery(
        truth.vae(), x, draws=4000, batch_size=4096, progress=lambda *at: steps.append(at)
    )
    assert (found.examples, found.draws, found.components) == (6, 4000, 6)
    assert near(found.kl, kl)
    assert near(found.marginal_kl, mismatch)
    assert near(found.mutual_information, kl - mismatch)
    assert near(found.total_correlation, correlation)
    assert near(found.dimension_kl, sum(dimensions))
    # The whole is the sum of its parts, draw by draw.
    assert found.kl.mean == pytest.approx(found.mutual_information.mean + found.marginal_kl.mean)
    assert found.total_correlation is not None
    assert found.dimension_kl is not None
    parts = found.total_correlation.mean + found.dimension_kl.mean
    assert found.marginal_kl.mean == pytest.approx(parts)
    np.testing.assert_allclose(found.each_dimension, dimensions, atol=5 * found.dimension_kl.error)
    assert steps[-1] == (4006, 4006)


def test_of_one_gaussian_all_is_known_in_closed_form(float64: None) -> None:
    vae = tfvae.zoo.full_covariance_vae((3,), 2, hidden=(), likelihood="Normal", seed=4)
    x = np.ones((1, 3))
    posterior = vae.encode(x)
    mean, covariance = np.asarray(posterior.mean())[0], np.asarray(posterior.covariance())[0]
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    assert abs(correlation[0, 1]) > 0.1
    found = surgery(vae, x, draws=4000, batch_size=4096)
    assert found.mutual_information == (0, 0)
    exact = -0.5 * np.linalg.slogdet(correlation)[1]
    assert near(found.total_correlation, exact)
    exact = 0.5 * (np.trace(covariance) + mean @ mean - 2 - np.linalg.slogdet(covariance)[1])
    assert near(found.marginal_kl, exact)
    exact = np.sum(0.5 * (deviation**2 + mean**2 - 1) - np.log(deviation))
    assert near(found.dimension_kl, exact)


@pytest.mark.slow
def test_information_goes_from_that_of_a_gaussian_channel_to_log_n(float64: None) -> None:
    truth = LinearGaussian.random()
    vae = truth.vae()
    # z = E[z|x] + noise with variances m - s² and s² over m: ½ log(m / s²) for each latent. The
    # draw's own example weighs 1/N in the mixture: a bias of -E[q(z|x)/q(z)] / N or some 0.01.
    m = np.sum(truth.w**2, axis=0) + truth.s**2
    exact = 0.5 * np.sum(np.log(m / truth.s**2))
    found = surgery(vae, truth.sample(1000), draws=1000)
    assert near(found.mutual_information, exact, slack=0.01)
    assert near(found.marginal_kl, 0.0, slack=0.01)
    assert not found.saturated
    # Two examples so far apart that a code tells which it is of; and two that are the same.
    apart = truth.b + 40 * np.array([1, -1])[:, None] * truth.w[:, 0]
    found = surgery(vae, apart, draws=100)
    assert found.mutual_information.mean == pytest.approx(math.log(2), abs=1e-9)
    assert found.saturated
    same = surgery(vae, np.repeat(apart[:1], 2, axis=0), draws=100)
    assert same.mutual_information.mean == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_of_a_part_of_the_mixture_its_density_is_unbiased(float64: None) -> None:
    truth = LinearGaussian.random()
    vae, x = truth.vae(), truth.sample(60)
    whole = surgery(vae, x, draws=60)
    # Over seeds, other draws and other parts: exp(-information) is a mean of q̂(z)/q(z|x), which
    # is unbiased, so that its logarithm is too low, and what is called information too high.
    parts = [surgery(vae, x, draws=60, components=6, seed=seed) for seed in range(4)]
    assert {part.components for part in parts} == {6}
    excess = [part.mutual_information.mean - whole.mutual_information.mean for part in parts]
    assert np.mean(excess) > 0.05
    assert np.mean([part.marginal_kl.mean for part in parts]) < whole.marginal_kl.mean


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["ladder", "bottom_up"])
def test_of_a_hierarchy_the_latents_of_all_levels_are_one(inference: str, float64: None) -> None:
    truth = Chain.random()
    x = truth.sample(5)
    # Of the exact posterior, jointly Gaussian: the prior of (z_0, z_1), given x.
    a, t = np.diag(truth.a), truth.t**2 * np.eye(2)
    prior = np.block([[a @ a.T + t, a], [a.T, np.eye(2)]])
    seen = np.concatenate([truth.w, np.zeros((5, 2))], axis=1)
    gain = prior @ seen.T @ np.linalg.inv(seen @ prior @ seen.T + truth.s**2 * np.eye(5))
    covariance = prior - gain @ seen @ prior
    loc = np.concatenate([truth.c, np.zeros(2)])
    means = loc + (x - truth.w @ truth.c - truth.b) @ gain.T
    rng = np.random.default_rng(0)
    z = means[np.arange(20_000) % 5] + rng.multivariate_normal(np.zeros(4), covariance, 20_000)
    log_q = np.stack([stats.multivariate_normal(mu, covariance).logpdf(z) for mu in means])
    own = log_q[np.arange(20_000) % 5, np.arange(20_000)]
    mixture = special.logsumexp(log_q, axis=0) - math.log(5)
    exact = Estimate.of(own - mixture)
    found = surgery(truth.vae(inference), x, draws=4000, batch_size=2000)
    assert near(found.mutual_information, exact.mean, slack=4.5 * exact.error)
    exact = Estimate.of(mixture - stats.multivariate_normal(loc, prior).logpdf(z))
    assert near(found.marginal_kl, exact.mean, slack=4.5 * exact.error)
    assert found.total_correlation is None


@pytest.mark.slow
def test_draws_follow_the_seed() -> None:
    truth = LinearGaussian.random()
    vae, x = truth.vae(), truth.sample(10).astype("float32")
    first, again, other = (surgery(vae, x, draws=20, seed=seed) for seed in (1, 1, 2))
    assert first.kl == again.kl
    assert first.kl != other.kl


def test_what_has_no_aggregate_posterior_is_refused_with_the_reason() -> None:
    x = np.zeros((4, 6), "float32")
    small: dict[str, Any] = {"hidden": (4,)}
    for vae, reason in (
        (tfvae.zoo.autoencoder((6,), 2, **small), "has no density"),
        (tfvae.zoo.semi_supervised_vae((6,), 2, classes=3, **small), "class is summed over"),
        (tfvae.zoo.deep_markov_model((3, 2), 2, units=4, hidden=(4,)), "paths"),
        (tfvae.zoo.supervised_vae((6,), 2, **small), "another one for each condition"),
    ):
        with pytest.raises(tfvae.evaluate.UndefinedError, match=reason):
            surgery(vae, x)
    vae = tfvae.zoo.vae((6,), 2, **small)
    with pytest.raises(ValueError, match="`draws`"):
        surgery(vae, x, draws=1)
    with pytest.raises(ValueError, match="`components`"):
        surgery(vae, x, components=1)
