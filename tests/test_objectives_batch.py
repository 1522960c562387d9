"""Schedules, free bits, capacity, and penalties on the aggregate posterior."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from linear_gaussian import LinearGaussian
from scipy import special, stats

import tfvae
from tfvae import Latent, Trace
from tfvae.objectives import (
    DIP,
    ELBO,
    MMD,
    Capacity,
    Cyclical,
    LinearWarmup,
    Reconstruction,
    TotalCorrelation,
)

tfd = tfp.distributions


def pass_of(loc: Any, scale: Any, seed: int = 0, samples: int = 1, **kwargs: Any) -> Trace:
    """Return a pass with normal posteriors of means and scales [B, D], and a standard prior."""
    loc, scale = np.broadcast_arrays(loc, scale)
    noise = np.random.default_rng(seed).normal(size=(samples, *loc.shape))
    prior = tfd.Normal(tf.zeros(loc.shape[1:], tf.float64), tf.ones([], tf.float64))
    posterior = tfd.Independent(tfd.Normal(tf.constant(loc), tf.constant(scale)), 1)
    return Trace(
        x=tf.zeros([len(loc), 1], tf.float64),
        latents=(Latent(tf.constant(loc + scale * noise), tfd.Independent(prior, 1), posterior),),
        decode=lambda z: tfd.Normal(tf.zeros(z[0].shape[:2], tf.float64), 1.0),
        **kwargs,
    )


def test_a_warm_up_is_a_line_and_then_a_constant() -> None:
    warmup = LinearWarmup(steps=200, start=1.0, end=4.0)
    steps = np.array([0, 1, 50, 199, 200, 201, 10**12])
    expected = np.interp(steps, [0, 200], [1.0, 4.0])
    np.testing.assert_allclose([warmup(tf.constant(s)) for s in steps], expected, rtol=1e-12)
    falling = LinearWarmup(steps=4, start=1.0, end=0.0)
    np.testing.assert_allclose([falling(s) for s in range(6)], [1, 0.75, 0.5, 0.25, 0, 0])


def test_cycles_start_over() -> None:
    cyclical = Cyclical(period=4, ratio=0.5)
    np.testing.assert_allclose([cyclical(s) for s in range(9)], [0, 0.5, 1, 1, 0, 0.5, 1, 1, 0])
    ended = Cyclical(period=4, ratio=0.5, cycles=1, start=1.0, end=3.0)
    np.testing.assert_allclose([ended(s) for s in range(9)], [1, 2, 3, 3, 3, 3, 3, 3, 3])


def test_a_schedule_goes_on_where_a_saved_model_stood(tmp_path: Path) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(64).astype("float32")

    def model() -> tfvae.VAE:
        vae = truth.vae(ELBO(beta=LinearWarmup(6, end=5.0)), error=1.0)
        vae.compile(keras.optimizers.SGD(1e-2), jit_compile=False)
        return vae

    whole, first = model(), model()
    whole.fit(x, batch_size=32, epochs=3, shuffle=False, verbose=0)
    first.fit(x, batch_size=32, epochs=1, shuffle=False, verbose=0)
    first.save(tmp_path / "first.keras")
    resumed = tfvae.load_model(tmp_path / "first.keras")
    assert resumed.objective == whole.objective
    resumed.fit(x, batch_size=32, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_free_bits_hold_for_the_batchs_mean_of_each_group(float64: None) -> None:
    # The KL of N(m, 1) to N(0, 1) is m²/2.
    low, high = np.array([[0.0], [1.0]]), np.array([[2.0], [0.0]])
    first, second = pass_of(low, 1.0), pass_of(high, 1.0)
    trace = replace(first, latents=(*first.latents, *second.latents))
    np.testing.assert_allclose(trace.kl_per_latent, [[0.0, 2.0], [0.5, 0.0]])
    reconstruction = Reconstruction()(trace)
    # The groups' means are 0.25, below the half nat that is free, and 1.
    kl = ELBO(beta=2.0, free_bits=0.5)(trace) - reconstruction
    np.testing.assert_allclose(kl, [2 * (0.5 + 1.0)] * 2)
    np.testing.assert_allclose(ELBO(free_bits=0.2)(trace) - reconstruction, [1.25] * 2)
    np.testing.assert_array_equal(ELBO(free_bits=0.0)(trace), ELBO()(trace))
    weighted = replace(trace, weight=tf.constant([0.0, 3.0], tf.float64))
    np.testing.assert_allclose(ELBO(free_bits=0.1)(weighted) - reconstruction, [0.6] * 2)


def test_free_bits_for_each_dimension(float64: None) -> None:
    loc = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 1.0]])
    trace = pass_of(loc, 1.0, samples=2)
    np.testing.assert_allclose(trace.latents[0].kl_per_dimension, loc**2 / 2)
    reconstruction = Reconstruction()(trace)
    # The dimensions' means over the batch are 0.25, 1 and 0.5.
    each = ELBO(free_bits=0.4, free_bits_per="dimension")
    np.testing.assert_allclose(each(trace) - reconstruction, [0.4 + 1.0 + 0.5] * 2)
    group = ELBO(free_bits=0.4)(trace) - reconstruction
    np.testing.assert_allclose(group, [1.75] * 2)
    # Without a closed form, by Monte Carlo: a Cauchy from a normal.
    cauchy = tfd.Independent(tfd.Cauchy(tf.constant(loc), tf.ones([], tf.float64)), 1)
    latent = replace(trace.latents[0], posterior=cauchy)
    np.testing.assert_allclose(tf.reduce_sum(latent.kl_per_dimension, axis=1), latent.kl)
    full = tfd.MultivariateNormalTriL(tf.constant(loc), tf.eye(3, dtype=tf.float64))
    joint = replace(trace, latents=(replace(latent, posterior=full),))
    with pytest.raises(TypeError, match=r"posterior that is independent.*MultivariateNormalTriL"):
        each(joint)


@pytest.mark.parametrize("gradient", ["plain", "stl"])
def test_a_group_below_its_free_bits_has_no_gradient(gradient: Any) -> None:
    with tf.GradientTape(persistent=True) as tape:
        loc = tf.constant([[0.1], [0.3]], tf.float64)
        tape.watch(loc)
        z = loc + np.array([[[0.5], [-0.4]]])
        unit = tfd.Independent(tfd.Normal(loc, tf.ones([], tf.float64)), 1)
        prior = tfd.Independent(tfd.Normal(tf.zeros([1], tf.float64), tf.ones([], tf.float64)), 1)
        trace = replace(pass_of(np.zeros((2, 1)), 1.0), latents=(Latent(z, prior, unit),))
        below, above = (
            ELBO(free_bits=nats, gradient=gradient)(trace) for nats in (0.03, 0.02)
        )  # The mean KL is 0.025.
    assert not np.any(tape.gradient(below, loc))
    assert np.all(np.abs(tape.gradient(above, loc)) > 0.01)


def test_capacity_is_a_distance_from_the_batchs_mean() -> None:
    trace = pass_of(np.array([[0.0], [2.0], [4.0]]), 1.0)  # KL 0, 2 and 8.
    np.testing.assert_allclose(Capacity(3.0)(trace), 1 / 3)
    np.testing.assert_allclose(Capacity(10.0)(trace), 10 - 10 / 3)
    scheduled = Capacity(LinearWarmup(10, end=20.0))
    np.testing.assert_allclose(scheduled(replace(trace, step=5)), 10 - 10 / 3)


def test_total_correlation_of_a_gaussian_aggregate() -> None:
    # Means N(0, Σ - σ² I) and posteriors N(μ, σ² I) make the aggregate N(0, Σ).
    covariance = np.array([[1.5, 0.9, 0.0], [0.9, 1.2, 0.3], [0.0, 0.3, 1.0]])
    noise, count = 0.25, 2000
    means = np.random.default_rng(11).multivariate_normal(
        np.zeros(3), covariance - noise * np.eye(3), count
    )
    scale = np.sqrt(np.diag(covariance))
    expected = -0.5 * np.linalg.slogdet(covariance / np.outer(scale, scale))[1]
    trace = pass_of(means, np.sqrt(noise), dataset_size=count)
    # All examples in one batch: both are the exact aggregate of the data. What is left is the
    # error of 2,000 draws and means, some 0.02.
    for sampling in ("weighted", "stratified"):
        estimate = float(TotalCorrelation(sampling)(trace))
        np.testing.assert_allclose(estimate, expected, atol=0.06)
    alone = pass_of(means[:, :1], np.sqrt(noise), dataset_size=count)
    np.testing.assert_allclose(TotalCorrelation("stratified")(alone), 0.0, atol=1e-12)


def test_total_correlation_is_chens_estimator_by_hand() -> None:
    rng = np.random.default_rng(1)
    means, scales, size = rng.normal(size=(5, 2)), rng.uniform(0.3, 1.0, (5, 2)), 40
    trace = pass_of(means, scales, samples=3, dataset_size=size)
    z = trace.latents[0].z.numpy()
    for sampling, constant in (("weighted", (2 - 1) * np.log(size)), ("stratified", 0.0)):
        total = 0.0
        for s, i in itertools.product(range(3), range(5)):
            each = stats.norm(means, scales).logpdf(z[s, i])  # [5, 2]
            if sampling == "weighted":
                log_weight = np.full(5, -np.log(size * 5))
            else:
                log_weight = np.full(5, np.log((size - 1) / size / 4))
                log_weight[i] = -np.log(size)
            joint = special.logsumexp(each.sum(1) + log_weight)
            total += joint - special.logsumexp(each + log_weight[:, None], axis=0).sum()
        ours = float(TotalCorrelation(sampling)(trace))
        np.testing.assert_allclose(ours, total / 15 - constant, rtol=1e-12)
    given = TotalCorrelation("stratified", dataset_size=size)
    np.testing.assert_array_equal(given(replace(trace, dataset_size=7)), ours)


def test_stratified_sampling_learns_the_size_of_the_data_from_fit() -> None:
    truth = LinearGaussian.random()
    vae = truth.vae(ELBO() + TotalCorrelation("stratified"))
    vae.compile(jit_compile=False)
    x = truth.sample(40).astype("float32")
    history = vae.fit(x, batch_size=13, epochs=1, verbose=0).history  # The last batch holds one.
    assert np.isfinite(history["loss"][0])
    with pytest.raises(ValueError, match=r"dataset_size=\.\.\."):
        vae.fit(tf.data.Dataset.from_tensor_slices(x).batch(10), epochs=1, verbose=0)


def test_stratified_weights_make_the_density_unbiased() -> None:
    rng = np.random.default_rng(2)
    means, z = rng.normal(size=7), 0.3
    density = stats.norm(means, 0.5).pdf(z)
    trace = pass_of(np.zeros((3, 1)), 1.0, dataset_size=7)
    weights = np.exp(TotalCorrelation("stratified")._log_weights(trace))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    # z came from example 0; the mean is over all batches of that example and two others.
    batches = [(0, *pair) for pair in itertools.combinations(range(1, 7), 2)]
    estimates = [density[list(batch)] @ weights[0] for batch in batches]
    np.testing.assert_allclose(np.mean(estimates), density.mean(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["i", "ii"])
def test_dip_is_numpys_covariance(kind: Any) -> None:
    rng = np.random.default_rng(3)
    means, scales = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)), rng.uniform(size=(50, 4))
    covariance = np.cov(means, rowvar=False, bias=True)
    if kind == "ii":
        covariance += np.diag(np.mean(scales**2, axis=0))
    off = covariance - np.diag(np.diag(covariance))
    expected = 3.0 * np.sum(off**2) + 0.7 * np.sum((np.diag(covariance) - 1) ** 2)
    dip = DIP(lambda_od=3.0, lambda_d=0.7, kind=kind)
    np.testing.assert_allclose(dip(pass_of(means, scales)), expected, rtol=1e-12)


def test_dip_of_other_posteriors() -> None:
    covariance = np.array([[1.0, 0.4], [0.4, 0.5]])
    full = tfd.MultivariateNormalTriL(
        np.zeros((6, 2)), np.linalg.cholesky(covariance) + np.zeros((6, 1, 1))
    )
    trace = pass_of(np.zeros((6, 2)), 1.0)
    trace = replace(trace, latents=(replace(trace.latents[0], posterior=full),))
    expected = 2 * 0.4**2 + 0.5**2
    np.testing.assert_allclose(DIP(1.0, 1.0, "ii")(trace), expected, rtol=1e-12)
    image = tfd.Independent(tfd.Normal(np.zeros((6, 1, 2)), np.full((6, 1, 2), 0.5)), 2)
    trace = replace(trace, latents=(replace(trace.latents[0], posterior=image),))
    np.testing.assert_allclose(DIP(1.0, 1.0, "ii")(trace), 2 * 0.75**2, rtol=1e-12)
    flow = tfd.TransformedDistribution(image, tfp.bijectors.Tanh())
    trace = replace(trace, latents=(replace(trace.latents[0], posterior=flow),))
    with pytest.raises(TypeError, match="mean and covariance in closed form"):
        DIP()(trace)


def kernel(objective: MMD, a: Any, b: Any) -> float:
    square, value = np.sum((a - b) ** 2), 0.0
    for scale in objective.scales:
        width = 2 * len(a) * scale**2
        value += np.exp(-square / width) if objective.kernel == "rbf" else width / (width + square)
    return value


@pytest.mark.parametrize("name", ["rbf", "imq"])
def test_mmd_is_a_double_loop(name: Any) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6, 3)) + 0.5
    mmd = MMD(name, scales=(0.5, 2.0))
    expected = []
    for x, y in zip(a, b, strict=True):
        within = sum(
            kernel(mmd, x[i], x[j]) + kernel(mmd, y[i], y[j])
            for i, j in itertools.permutations(range(6), 2)
        )
        between = sum(kernel(mmd, u, v) for u, v in itertools.product(x, y))
        expected.append(within / 30 - 2 * between / 36)
    distance = mmd.distance(tf.constant(a), tf.constant(b))
    np.testing.assert_allclose(distance, np.mean(expected), rtol=1e-12)


@pytest.mark.parametrize("name", ["rbf", "imq"])
def test_mmd_of_gaussians(name: Any) -> None:
    shift, dims, scale = np.array([0.8, -0.3, 0.0]), 3, 0.7
    width = 2 * dims * scale**2

    def expected_kernel(mean: Any) -> float:
        # The difference of two draws is N(mean, 2 I), its square twice a noncentral chi-squared.
        square = np.sum(mean**2)
        if name == "rbf":
            return (1 + 4 / width) ** (-dims / 2) * np.exp(-square / (width + 4))
        law = stats.ncx2(dims, square / 2) if square else stats.chi2(dims)
        return law.expect(lambda r: width / (width + 2 * r))

    expected = 2 * expected_kernel(np.zeros(dims)) - 2 * expected_kernel(shift)
    mmd, runs = MMD(name, scales=(scale,)), 50
    estimates = [
        mmd(pass_of(np.tile(shift, (128, 1)), 1.0, seed=run, step=run)) for run in range(runs)
    ]
    error = np.std(estimates) / np.sqrt(runs)
    # Five standard errors of 50 estimates: a false alarm once in 130,000 choices of the seed.
    assert abs(np.mean(estimates) - expected) < 5 * error
    assert expected > 10 * error
    null = [mmd(pass_of(np.zeros((128, dims)), 1.0, seed=run, step=run)) for run in range(runs)]
    assert abs(np.mean(null)) < 5 * np.std(null) / np.sqrt(runs)


def test_mmds_prior_draws_are_a_function_of_seed_and_step() -> None:
    trace = pass_of(np.zeros((8, 2)), 1.0)
    assert MMD()(trace) == MMD()(trace)
    assert MMD()(trace) != MMD()(replace(trace, step=1))
    assert MMD()(trace) != MMD(seed=1)(trace)


def test_mmd_with_a_prior_for_each_example() -> None:
    trace = pass_of(np.zeros((8, 2)), 1.0, samples=2)
    prior = tfd.Independent(tfd.Normal(tf.zeros([8, 2], tf.float64), 1.0), 1)
    conditional = replace(trace, latents=(replace(trace.latents[0], prior=prior),))
    assert np.isfinite(MMD()(conditional))
