"""Time series of exact probability: against TFP's filter and SciPy's joint density."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp
from scipy import stats

import tfvae
from tfvae import zoo
from tfvae.state_space import OSCILLATIONS, StateSpace

tfd = tfp.distributions
# Sums of some hundred terms of order 10 in float64.
EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}


def joint(truth: StateSpace, steps: int) -> Any:
    """Return the covariance of all values of x, [T k, T k]; their means are 0."""
    a, c = np.array(truth.transition), np.array(truth.observation)
    noise = np.eye(len(a))
    # Of each state as a function of all noise before it.
    factor = [np.zeros((len(a), len(a) * steps)) for _ in range(steps)]
    for t in range(steps):
        scale = truth.transition_scale if t else truth.initial_scale
        factor[t] += a @ factor[t - 1] if t else 0.0
        factor[t][:, t * len(a) : (t + 1) * len(a)] += scale * noise
    seen = np.concatenate([c @ each for each in factor])
    return seen @ seen.T + truth.observation_scale**2 * np.eye(len(seen))


def test_the_filter_is_tfp_s() -> None:
    x, _ = OSCILLATIONS.generate(4, 6, seed=2)
    double = {"dtype": np.float64}
    lgssm = tfd.LinearGaussianStateSpaceModel(
        num_timesteps=6,
        transition_matrix=np.array(OSCILLATIONS.transition),
        transition_noise=tfd.MultivariateNormalDiag(np.zeros(2), np.full(2, 0.2)),
        observation_matrix=np.array(OSCILLATIONS.observation),
        observation_noise=tfd.MultivariateNormalDiag(np.zeros(3), np.full(3, 0.3)),
        initial_state_prior=tfd.MultivariateNormalDiag(np.zeros(2), np.ones(2)),
    )
    np.testing.assert_allclose(
        OSCILLATIONS.log_prob(x), lgssm.log_prob(x.astype(**double)), **EXACT
    )
    steps = np.random.default_rng(0).random((4, 6)) < 0.6
    np.testing.assert_allclose(
        OSCILLATIONS.log_prob(x, steps), lgssm.log_prob(x.astype(**double), mask=~steps), **EXACT
    )


def test_what_is_missing_may_be_nan() -> None:
    x = np.random.default_rng(3).normal(size=(2, 5, 3))
    seen = np.ones((2, 5))
    seen[:, 2] = 0
    gaps = np.where(seen[..., None] > 0, x, np.nan)
    np.testing.assert_array_equal(OSCILLATIONS.log_prob(gaps, seen), OSCILLATIONS.log_prob(x, seen))


def test_what_was_not_observed_is_marginalised() -> None:
    x, lengths = OSCILLATIONS.generate(5, 6, shortest=2, seed=3)
    values = np.random.default_rng(0).random(x.shape) < 0.6
    covariance = joint(OSCILLATIONS, 6)
    for mask, given in (
        (values, values),
        (np.broadcast_to((np.arange(6) < lengths[:, None])[..., None], x.shape), lengths),
    ):
        exact = [
            stats.multivariate_normal(cov=covariance[np.ix_(there, there)]).logpdf(row[there])
            for row, there in zip(x.reshape(5, -1), mask.reshape(5, -1), strict=True)
        ]
        np.testing.assert_allclose(OSCILLATIONS.log_prob(x, given), exact, **EXACT)


def test_draws_have_the_density_and_are_functions_of_the_seed() -> None:
    count, steps = 20_000, 4
    x, lengths = OSCILLATIONS.generate(count, steps, shortest=2, seed=1)
    whole = x[lengths == steps].reshape(-1, 12).astype(np.float64)
    covariance, kept = joint(OSCILLATIONS, steps), len(whole)
    spread = np.sqrt(np.diag(covariance))
    # 5 standard errors of 12 means and 78 covariances: a false alarm in 19,000.
    assert np.all(np.abs(whole.mean(0)) < 5 * spread / kept**0.5)
    error = np.sqrt((np.outer(spread, spread) ** 2 + covariance**2) / kept)
    assert np.all(np.abs(np.cov(whole.T) - covariance) < 5 * error)
    # Lengths are uniform: each of 3 within 5 standard deviations of a third.
    counts = np.bincount(lengths)[2:]
    assert np.all(np.abs(counts - count / 3) < 5 * np.sqrt(count * 2 / 9))
    assert not x[np.arange(steps) >= lengths[:, None]].any()
    few, _ = OSCILLATIONS.generate(3, steps, shortest=2, seed=1)
    np.testing.assert_array_equal(few, x[:3])
    assert np.any(OSCILLATIONS.generate(3, steps, seed=2)[0] != x[:3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StateSpace(((1.0,),), ((1.0, 2.0),), 1.0, 1.0, 1.0), "rows of d"),
        (lambda: StateSpace(((1.0,),), ((1.0,),), 1.0, 0.0, 1.0), "`transition_scale`"),
        (lambda: OSCILLATIONS.generate(0, 3), "`n`"),
        (lambda: OSCILLATIONS.generate(2, 3, shortest=4), "`shortest`"),
        (lambda: OSCILLATIONS.log_prob(np.ones((2, 3))), r"\[N, T, 3\]"),
        (lambda: OSCILLATIONS.log_prob(np.ones((2, 4, 3)), np.ones((2, 3))), "`observed`"),
    ],
)
def test_what_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_data_set() -> None:
    data = tfvae.data.load("oscillations")
    assert (data.train.shape, len(data.train), len(data.test)) == ((20, 3), 4000, 1000)
    assert data.test.y is not None
    assert set(np.unique(data.test.y)) == set(range(10, 21))


@pytest.mark.slow
def test_a_deep_markov_model_approaches_the_density() -> None:
    data = tfvae.data.load("oscillations")
    x, lengths = data.test.values(), data.test.y
    assert lengths is not None
    exact = OSCILLATIONS.log_prob(x, lengths)
    # What the best model of independent steps reaches: the truth's own distribution of each.
    covariance = joint(OSCILLATIONS, 20)
    alone = [covariance[3 * t : 3 * t + 3, 3 * t : 3 * t + 3] for t in range(20)]
    each = [stats.multivariate_normal(cov=own).logpdf(x[:, t]) for t, own in enumerate(alone)]
    independent = np.sum(np.stack(each, 1) * (np.arange(20) < lengths[:, None]), axis=1)
    vae = zoo.deep_markov_model(
        (20, 3), 2, hidden=(16,), units=16, direction="backward",
        likelihood=tfvae.layers.Normal((3,), scale="learned"),
    )  # fmt: skip
    rate = keras.optimizers.schedules.CosineDecay(1e-2, 480)
    vae.compile(keras.optimizers.Adam(rate), jit_compile=False)
    vae.fit(data.train, epochs=12, batch_size=100, verbose=0)
    bound = tfvae.evaluate.log_marginal(vae, x, samples=20, condition=lengths)
    # Nine tenths of what steps tell of each other, and no more than all of it: of a difference
    # whose mean is negative, 4 standard errors above 0 is one time in 30,000.
    assert np.mean(bound) > np.mean(independent) + 0.9 * np.mean(exact - independent)
    difference = bound - exact
    assert np.mean(difference) < 4 * np.std(difference) / np.sqrt(len(x))
