"""The terms of a trace against closed forms and each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from linear_gaussian import LinearGaussian

from tfvae import Latent, Trace
from tfvae.layers.kl import has_closed_form

tfd = tfp.distributions


def test_shapes_and_sums(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae().trace(truth.sample(7), samples=3, seed=1)
    assert trace.samples == 3
    for term in (trace.log_likelihood, trace.log_prior, trace.log_posterior, trace.log_weight):
        assert term.shape == (3, 7)
    assert trace.kl.shape == (7,)
    assert trace.kl_per_latent.shape == (7, 1)
    np.testing.assert_allclose(tf.reduce_sum(trace.kl_per_latent, -1), trace.kl)


def test_log_weight_of_the_exact_posterior_is_log_p(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(20)
    trace = truth.vae().trace(x, samples=4)
    expected = np.broadcast_to(truth.log_marginal(x), (4, 20))
    np.testing.assert_allclose(trace.log_weight, expected, atol=1e-6)


def test_closed_form_and_monte_carlo_kl_agree(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.5).trace(truth.sample(10), samples=4000)
    each = trace.log_posterior - trace.log_prior
    error = np.std(each, axis=0) / np.sqrt(4000)
    # 4 standard errors, ten examples: a false alarm once in some 1,600 choices of the seed.
    np.testing.assert_array_less(np.abs(trace.kl_monte_carlo - trace.kl), 4 * error)


def test_detached_has_the_values_and_not_the_path() -> None:
    truth = LinearGaussian.random()
    vae = truth.vae()
    with tf.GradientTape(persistent=True) as tape:
        trace = vae.trace(tf.constant(truth.sample(5), tf.float32), samples=2)
        whole, detached = trace.log_likelihood, trace.detached.log_likelihood
    np.testing.assert_array_equal(whole, detached)
    weights = vae.encoder.trainable_weights[0].value
    assert np.any(tape.gradient(whole, weights))
    # p(x|z) depends on the encoder through z alone.
    assert tape.gradient(detached, weights) is None


def test_a_mask_leaves_out_what_was_not_observed(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(6)
    vae = truth.vae()
    mask = np.array([1, 0, 1, 1, 0.0])
    z = np.zeros((1, 6, 2))
    trace = replace(vae.trace(x, mask=tf.constant(mask)), latents=(_latent(z),))
    each = vae.decode(tf.constant(z)).distribution.log_prob(x)
    np.testing.assert_allclose(trace.log_likelihood, tf.reduce_sum(each * mask, -1))
    broken = np.where(mask, x, np.nan)
    masked = replace(trace, x=tf.constant(broken))
    assert np.all(np.isfinite(masked.log_likelihood))


def test_a_mask_needs_a_likelihood_that_is_independent() -> None:
    full = tfd.MultivariateNormalDiag(tf.zeros([1, 2, 3]))
    trace = Trace(
        x=tf.zeros([2, 3]),
        latents=(_latent(np.zeros((1, 2, 2))),),
        decode=lambda z: full,
        mask=tf.ones([3]),
    )
    with pytest.raises(TypeError, match=r"mask.*MultivariateNormalDiag"):
        _ = trace.log_likelihood


def test_a_hierarchy_of_latents_adds_up() -> None:
    normal = tfd.Independent(tfd.Normal(tf.zeros([4, 2]), 1.0), 1)
    deeper = tfd.Independent(tfd.Normal(tf.ones([3, 4, 2]), 1.0), 1)
    prior = tfd.Independent(tfd.Normal(tf.zeros([2]), 1.0), 1)
    trace = Trace(
        x=tf.zeros([4, 1]),
        latents=(
            Latent(tf.zeros([3, 4, 2]), prior, normal, "z_0"),
            Latent(tf.zeros([3, 4, 2]), prior, deeper, "z_1"),
        ),
        decode=lambda z: prior,
    )
    # KL(N(1, 1) || N(0, 1)) is 1/2 for each of two dimensions.
    np.testing.assert_allclose(trace.kl_per_latent, np.tile([[0.0, 1.0]], (4, 1)), atol=1e-6)
    np.testing.assert_allclose(trace.log_prior, np.full((3, 4), -2 * np.log(2 * np.pi)), rtol=1e-6)


def test_which_pairs_have_a_closed_form() -> None:
    normal = tfd.Independent(tfd.Normal([0.0], 1.0), 1)
    cauchy = tfd.Independent(tfd.Cauchy([0.0], 1.0), 1)
    assert has_closed_form(normal, normal)
    assert not has_closed_form(cauchy, normal)
    latent = Latent(
        tf.zeros([2, 3, 1]), normal, tfd.Independent(tfd.Cauchy(tf.zeros([3, 1]), 1.0), 1)
    )
    np.testing.assert_array_equal(latent.kl, latent.kl_monte_carlo)


def _latent(z: np.ndarray) -> Latent:
    normal = tfd.Independent(tfd.Normal(tf.zeros([2], z.dtype), tf.ones([], z.dtype)), 1)
    return Latent(tf.constant(z), normal, normal)
