"""One contract for every objective, and bounds against an exact log p(x)."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import LinearGaussian, compiled

from tfvae.objectives import ELBO, IWAE, Objective, WeightedSum

OBJECTIVES: dict[str, Objective] = {
    "elbo": ELBO(),
    "elbo_estimator_a": ELBO(samples=3, kl="monte_carlo"),
    "beta": ELBO(beta=4.0, samples=2),
    "iwae": IWAE(samples=5),
    "sum": ELBO(beta=0.5) + 0.1 * IWAE(samples=7),
}
every_objective = pytest.mark.parametrize("name", OBJECTIVES)


@every_objective
def test_one_loss_for_each_example(name: str) -> None:
    truth = LinearGaussian.random()
    objective = OBJECTIVES[name]
    loss = objective(truth.vae().trace(truth.sample(9), samples=objective.samples))
    assert loss.shape == (9,)
    assert np.all(np.isfinite(loss))


@every_objective
def test_configuration_round_trip(name: str) -> None:
    objective = OBJECTIVES[name]
    config = keras.saving.serialize_keras_object(objective)
    assert keras.saving.deserialize_keras_object(config) == objective


@every_objective
def test_training_lowers_the_loss(name: str) -> None:
    truth = LinearGaussian.random()
    vae = compiled(truth.vae(OBJECTIVES[name], error=1.0), 1e-2)
    history = vae.fit(truth.sample(512).astype("float32"), epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_bounds_equal_log_p_at_the_exact_posterior(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(20)
    expected = -truth.log_marginal(x)
    for k in (1, 2, 5, 50):
        for objective in (ELBO(samples=k, kl="monte_carlo"), IWAE(samples=k)):
            loss = objective(truth.vae().trace(x, samples=k))
            np.testing.assert_allclose(loss, expected, atol=1e-6)
    # With its closed-form KL the ELBO is exact in expectation only: E_q[log p(x|z)] - KL.
    trace = truth.vae().trace(x, samples=20_000)
    each = trace.log_likelihood
    error = np.std(each, axis=0) / np.sqrt(20_000)
    # Twenty examples at 5 standard errors: a false alarm once in 90,000 choices of the seed.
    np.testing.assert_array_less(np.abs(ELBO()(trace) - expected), 5 * error)


def test_the_bound_rises_with_k_to_log_p(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(200)
    shift = 0.25
    vae = truth.vae(error=shift)
    bounds = [
        -np.mean([IWAE(samples=k)(vae.trace(x, samples=k, seed=s)) for s in range(20)])
        for k in (1, 4, 16, 256)
    ]
    assert bounds == sorted(bounds)
    # A Gaussian posterior that is d standard deviations off has weights of variance
    # exp(d²) - 1, and the bound is half the variance over k below log p(x), to first order.
    d = shift * np.sqrt(np.sum(truth.w**2, axis=0) + truth.s**2) / truth.s
    gap = truth.log_marginal(x).mean() - bounds[-1]
    expected = np.expm1(np.sum(d**2)) / (2 * 256)
    assert 0.5 * expected < gap < 2 * expected


def test_iwae_at_k_1_is_the_monte_carlo_elbo(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.6).trace(truth.sample(20))
    np.testing.assert_allclose(IWAE(samples=1)(trace), ELBO(kl="monte_carlo")(trace), atol=1e-12)


def test_beta_weighs_the_kl(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.6).trace(truth.sample(20))
    difference = ELBO(beta=3.0)(trace) - ELBO()(trace)
    np.testing.assert_allclose(difference, 2 * trace.kl, atol=1e-12)


def test_objectives_add_and_scale(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.6).trace(truth.sample(20), samples=4)
    total = 2 * (ELBO() + 0.5 * IWAE(samples=4)) + ELBO(beta=2.0)
    assert isinstance(total, WeightedSum)
    assert total.terms == ((2, ELBO()), (1, IWAE(samples=4)), (1, ELBO(beta=2.0)))
    assert total.samples == 4
    assert total.requires == {"reparameterised", "has_density"}
    by_hand = 2 * ELBO()(trace) + IWAE(samples=4)(trace) + ELBO(beta=2.0)(trace)
    np.testing.assert_allclose(total(trace), by_hand, atol=1e-12)
    with pytest.raises(TypeError):
        ELBO() + 3


def test_elbo_gradient_equals_tfps_distributions_by_hand(float64: None) -> None:
    import tensorflow_probability as tfp

    tfd = tfp.distributions
    truth = LinearGaussian.random()
    vae = truth.vae(error=0.6)
    x = tf.constant(truth.sample(8))
    weights = [w.value for w in vae.trainable_weights]
    with tf.GradientTape() as tape:
        trace = vae.trace(x, seed=3)
        loss = tf.reduce_mean(ELBO()(trace))
    gradients = tape.gradient(loss, weights)
    noise = (trace.latents[0].z - trace.latents[0].posterior.mean()) / (
        trace.latents[0].posterior.stddev()
    )
    with tf.GradientTape() as tape:
        kernel, bias, out_kernel, out_bias = weights
        loc, raw = tf.split(x @ kernel + bias, 2, axis=-1)
        q = tfd.MultivariateNormalDiag(loc, tf.nn.softplus(raw) + 1e-4)
        z = loc + q.stddev() * tf.stop_gradient(noise[0])
        p = tfd.MultivariateNormalDiag(z @ out_kernel + out_bias, truth.s * tf.ones(5, tf.float64))
        prior = tfd.MultivariateNormalDiag(tf.zeros(2, tf.float64), tf.ones(2, tf.float64))
        by_hand = tf.reduce_mean(tfd.kl_divergence(q, prior) - p.log_prob(x))
    np.testing.assert_allclose(loss, by_hand, rtol=1e-12)
    for ours, theirs in zip(gradients, tape.gradient(by_hand, weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ELBO(beta=-1.0), "`beta`.*not negative"),
        (lambda: ELBO(beta=float("nan")), "`beta`"),
        (lambda: ELBO(kl="exact"), "`kl`.*closed_form"),
        (lambda: ELBO(samples=0), "`samples`.*at least 1"),
        (lambda: IWAE(samples=2.5), "`samples`.*whole number"),
        (lambda: WeightedSum(()), "`terms`"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
