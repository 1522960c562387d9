"""Annealed importance sampling against exact values of log p(x), for each kind of prior."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import LinearGaussian
from scipy import stats
from test_hierarchical import Chain

import tfvae
from tfvae.evaluate import UndefinedError, annealed, log_marginal
from tfvae.evaluate.annealing import AIS, schedule

TRUTH = LinearGaussian.random()


def unbiased(found: AIS, exact: Any, least: float = 0.0) -> bool:
    """Whether the mean of w / p(x) over examples is 1, within 4.5 of its standard errors."""
    ratio = np.exp(found.log_marginal - exact)
    error = ratio.std(ddof=1) / np.sqrt(len(ratio))
    # An estimate that is all noise would pass any such test.
    assert error < 0.1
    assert np.all(found.effective >= 1)
    return bool(abs(ratio.mean() - 1) < 4.5 * error + least)


def test_weights_are_unbiased_and_agree_with_the_importance_weighted_bound() -> None:
    x = TRUTH.sample(60).astype("float32")
    exact = TRUTH.log_marginal(x)
    # A posterior that is off: annealing does not know of it, and the bound needs many samples.
    vae, steps = TRUTH.vae(error=0.4), []
    found = annealed(vae, x, temperatures=40, batch_size=40, progress=lambda *at: steps.append(at))
    assert unbiased(found, exact)
    assert steps == [(40, 60), (60, 60)]
    # E log w is below log p(x) by half the variance of log w, 0.03 here.
    assert -0.1 < np.mean(found.log_marginal - exact) < 0.05
    bound = log_marginal(vae, x, 1000)
    assert np.mean(found.log_marginal - bound) == pytest.approx(0, abs=0.1)
    # Step sizes were found that have some 0.7 accepted.
    assert found.acceptance.mean() == pytest.approx(0.7, abs=0.08)
    assert (found.chains, found.temperatures) == (16, 40)


@pytest.mark.slow
def test_more_temperatures_make_a_tighter_bound_and_few_are_no_less_unbiased() -> None:
    x = TRUTH.sample(200).astype("float32")
    exact = TRUTH.log_marginal(x)
    options: dict[str, Any] = {"batch_size": 200, "leapfrog": 3}
    few, many = (annealed(TRUTH.vae(), x, temperatures=t, **options) for t in (8, 32))
    assert unbiased(few, exact)
    assert np.mean(few.log_marginal - exact) < np.mean(many.log_marginal - exact) < 0.05
    assert few.effective.mean() < many.effective.mean()


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["ladder", "bottom_up"])
def test_chains_of_levels(inference: str) -> None:
    truth = Chain.random()
    x = truth.sample(100).astype("float32")
    found = annealed(truth.vae(inference), x, temperatures=60, batch_size=100)
    assert unbiased(found, truth.joint.logpdf(x))


@pytest.mark.slow
def test_a_mixture_prior_moves_in_z() -> None:
    prior = tfvae.priors.MixtureOfGaussians((2,), components=2)
    means = np.array([[-2.0, 0.0], [1.0, 1.0]])
    prior.assign([0.3, 0.7], means, np.stack([0.5 * np.eye(2), np.eye(2)]))
    likelihood = tfvae.layers.Normal((5,), scale=TRUTH.s)
    vae = tfvae.zoo.vae((5,), 2, hidden=(), prior=prior, likelihood=likelihood)
    vae.decoder.set_weights([TRUTH.w.T, TRUTH.b])
    noise = TRUTH.s**2 * np.eye(5)
    parts = [
        stats.multivariate_normal(TRUTH.w @ mu + TRUTH.b, scale * TRUTH.w @ TRUTH.w.T + noise)
        for mu, scale in zip(means, (0.5, 1.0), strict=True)
    ]
    x = np.concatenate([parts[0].rvs(30, random_state=0), parts[1].rvs(70, random_state=1)])
    exact = np.logaddexp(*(np.log(w) + p.logpdf(x) for w, p in zip((0.3, 0.7), parts, strict=True)))
    assert unbiased(annealed(vae, x.astype("float32"), temperatures=60, batch_size=100), exact)


def by_quadrature(vae: Any, x: Any, low: float, high: float) -> Any:
    """Return log p(x) of a model with one latent, by the midpoint rule."""
    z = np.linspace(low, high, 20_001)
    z = ((z[1:] + z[:-1]) / 2).astype("float32")[:, None]
    log_p = vae.decode(z[:, None]).log_prob(x) + vae.prior(None).log_prob(z)[:, None]
    return tf.reduce_logsumexp(tf.cast(log_p, tf.float64), axis=0) + np.log((high - low) / 20_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prior", "low", "high"),
    [
        ("uniform", 0.0, 1.0),
        ("logistic", -40.0, 40.0),
    ],
)
def test_priors_that_are_quantiles_of_a_uniform(prior: str, low: float, high: float) -> None:
    # Nowhere Gaussian: chains move in the normal noise whose quantiles these are.
    layer = (
        tfvae.priors.Uniform((1,))
        if prior == "uniform"
        else tfvae.priors.Parametric(tfvae.layers.Logistic((1,)), learn=False)
    )
    posterior = "Kumaraswamy" if prior == "uniform" else "Logistic"
    vae = tfvae.zoo.vae((4,), 1, prior=layer, posterior=posterior, hidden=(8,), seed=3)
    kernel, bias = vae.decoder.layers[-1].get_weights()
    vae.decoder.layers[-1].set_weights([3 * kernel, bias])
    x = np.random.default_rng(0).integers(0, 2, (60, 4)).astype("float32")
    found = annealed(vae, x, temperatures=40)
    assert unbiased(found, by_quadrature(vae, x, low, high), least=1e-3)


def near(found: AIS, exact: Any) -> bool:
    """Whether all are within 5 errors, of weights that are worth so many of the chains."""
    error = np.sqrt(1 / found.effective - 1 / found.chains)
    # Of a dozen estimates one is off by more once in 100,000 seeds; the slack is the truth's own.
    return bool(np.all(np.abs(found.log_marginal - exact) < 5 * error + 0.03))


@pytest.mark.slow
def test_conditions_are_given() -> None:
    vae = tfvae.zoo.cvae((4,), 2, classes=3, hidden=(8,), seed=1)
    x = np.random.default_rng(0).integers(0, 2, (12, 4)).astype("float32")
    labels = np.arange(12) % 3
    line = np.arange(-6, 6, 0.1) + 0.05
    z = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2).astype("float32")

    def exact(labels: Any) -> Any:
        log_p = vae.decode(np.repeat(z[:, None], 12, axis=1), condition=labels).log_prob(x)
        joint = log_p + vae.prior(None).log_prob(z)[:, None]
        return tf.reduce_logsumexp(tf.cast(joint, tf.float64), axis=0) + 2 * np.log(0.1)

    found = annealed(vae, x, condition=labels, temperatures=40)
    assert near(found, exact(labels))
    assert not near(found, exact((labels + 1) % 3))


@pytest.mark.slow
def test_of_sequences_what_was_observed_counts() -> None:
    vae = tfvae.zoo.deep_markov_model((4, 2), 2, units=4, hidden=(4,), likelihood="Normal")
    x = np.random.default_rng(0).normal(size=(6, 4, 2)).astype("float32")
    lengths = np.array([4, 3, 2, 1, 4, 3])
    x[np.arange(4) >= lengths[:, None]] = 0
    found = annealed(vae, x, condition=lengths, temperatures=60)
    # The truth by a mean over the prior, 8 dimensions at most: off by 0.02 or so.
    paths = vae.prior.transform(tf.random.stateless_normal([50_000, 1, 4, 2], [0, 1]))
    trace = vae.trace(x, mask=lengths).given((tf.tile(paths, [1, 6, 1, 1]),))
    log_p = tf.cast(trace.log_likelihood, tf.float64)
    assert near(found, tf.reduce_logsumexp(log_p, axis=0) - np.log(50_000))


def test_the_path_goes_from_0_to_1() -> None:
    powers = schedule(10)
    assert (powers[0], powers[-1], len(powers)) == (0, 1, 11)
    assert np.all(np.diff(powers) > 0)
    np.testing.assert_allclose(powers + powers[::-1], 1)


@pytest.mark.slow
def test_it_repeats_and_follows_its_seed() -> None:
    vae, x = TRUTH.vae(), TRUTH.sample(3).astype("float32")
    options: dict[str, Any] = {"temperatures": 3, "chains": 2, "leapfrog": 2}
    first, again, other = (annealed(vae, x, seed=seed, **options) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.log_marginal, again.log_marginal)
    assert not np.array_equal(first.log_marginal, other.log_marginal)


@pytest.mark.slow
def test_a_model_that_was_annealed_can_be_forgotten() -> None:
    vae = TRUTH.vae()
    annealed(vae, TRUTH.sample(2).astype("float32"), temperatures=2, chains=2, leapfrog=1)
    forgotten = weakref.ref(vae)
    del vae
    gc.collect()
    assert forgotten() is None


def test_what_cannot_be_annealed_is_refused() -> None:
    x = np.zeros((3, 6), "float32")
    small: dict[str, Any] = {"hidden": (4,)}
    for vae, reason in (
        (tfvae.zoo.vq_vae((6,), 2, codes=4, positions=2, **small), "Codebook"),
        (tfvae.zoo.bernoulli_vae((6,), 2, **small), "prior=Parametric"),
        (tfvae.zoo.semi_supervised_vae((6,), 2, classes=3, **small), "class is summed over"),
    ):
        with pytest.raises(UndefinedError, match=reason):
            annealed(vae, x)
    for name in ("chains", "temperatures", "leapfrog"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            annealed(TRUTH.vae(), TRUTH.sample(3), **{name: 0})
