"""Gradients of objectives in expectation, against quadrature and enumeration: no chance in it.

Every combination of an example's samples is one example of a batch, weighed by its probability:
the gradient of the weighted sum of losses is then the expected gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from linear_gaussian import LinearGaussian

from tfvae import Latent, Trace
from tfvae.objectives import (
    ELBO,
    IWAE,
    MIWAE,
    PIWAE,
    VIMCO,
    LinearWarmup,
    Objective,
    ScoreFunction,
)

tfd = tfp.distributions

# One latent z with q(z|x) = N(a x, exp(c)²), p(x|z) = N(sin(t z), 0.7²), and a prior
# N(a / 2, exp(r)²) that shares a with the encoder.
CONTINUOUS = {"a": 1.2, "c": 0.1, "t": 0.8, "r": -0.2}
X = 0.9


def pass_of(noise: Any, values: dict[str, tf.Tensor]) -> Trace:
    """Return the pass whose draws are made of noise [S, B]."""
    loc = values["a"] * X + tf.zeros([noise.shape[1], 1], tf.float64)
    scale = tf.exp(values["c"])
    normal = tfd.Normal(values["a"][None] / 2, tf.exp(values["r"]))
    return Trace(
        x=tf.fill([noise.shape[1], 1], tf.constant(X, tf.float64)),
        latents=(
            Latent(
                loc + scale * noise[..., None],
                tfd.Independent(normal, 1),
                tfd.Independent(tfd.Normal(loc, scale), 1),
            ),
        ),
        decode=lambda z: tfd.Independent(tfd.Normal(tf.sin(values["t"] * z[0]), 0.7), 1),
        step=5,
    )


def expected_gradient(objective: Objective, nodes: int = 60) -> Any:
    """Return the gradient for a, c, t, r in expectation over all samples, by quadrature."""
    at, weight = np.polynomial.hermite_e.hermegauss(nodes)
    noise = np.stack(list(itertools.product(at, repeat=objective.samples)), axis=1)
    probability = np.prod(list(itertools.product(weight, repeat=objective.samples)), axis=1)
    values = {name: tf.constant(value, tf.float64) for name, value in CONTINUOUS.items()}
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = objective(pass_of(noise, values))
        total = tf.reduce_sum(loss * probability / probability.sum())
    return np.array([g.numpy() for g in tape.gradient(total, values).values()])


@pytest.mark.parametrize(
    ("objective", "plain"),
    [
        (IWAE(samples=1, gradient="dreg"), IWAE(samples=1)),
        (IWAE(samples=2, gradient="dreg"), IWAE(samples=2)),
        (IWAE(samples=1, gradient="stl"), IWAE(samples=1)),
        (ELBO(gradient="stl"), ELBO()),
        (ELBO(samples=2, kl="monte_carlo", gradient="stl"), ELBO()),
        (ELBO(beta=3.0, gradient="stl"), ELBO(beta=3.0)),
        (ELBO(beta=LinearWarmup(10, end=4.0)), ELBO(beta=2.0)),
        (PIWAE(samples=2, groups=1), IWAE(samples=2)),
        (ScoreFunction(samples=1, baseline="none"), ELBO()),
        (ScoreFunction(samples=2), ELBO()),
        (VIMCO(samples=2), IWAE(samples=2)),
    ],
    ids=repr,
)
def test_unbiased_also_where_prior_and_encoder_share_weights(
    objective: Objective, plain: Objective
) -> None:
    expected = expected_gradient(plain)
    assert np.all(np.abs(expected) > 1e-2)
    np.testing.assert_allclose(expected_gradient(objective), expected, rtol=1e-5)


def test_the_expected_gradient_is_the_slope_of_the_expected_loss() -> None:
    at, weight = np.polynomial.hermite_e.hermegauss(60)
    noise = np.stack(list(itertools.product(at, repeat=2)), axis=1)
    probability = np.prod(list(itertools.product(weight / weight.sum(), repeat=2)), axis=1)

    def loss(a: float) -> float:
        values = {k: tf.constant(v, tf.float64) for k, v in {**CONTINUOUS, "a": a}.items()}
        return float(np.sum(IWAE(samples=2)(pass_of(noise, values)) * probability))

    slope = (loss(CONTINUOUS["a"] + 1e-5) - loss(CONTINUOUS["a"] - 1e-5)) / 2e-5
    np.testing.assert_allclose(expected_gradient(IWAE(samples=2, gradient="dreg"))[0], slope, 1e-5)


def test_sticking_the_landing_is_biased_beyond_one_sample() -> None:
    plain, stl = (expected_gradient(IWAE(2, gradient=kind)) for kind in ("plain", "stl"))
    np.testing.assert_allclose(stl[2:], plain[2:], rtol=1e-5)  # The generative weights t and r.
    assert np.all(np.abs(stl[:2] - plain[:2]) > 1e-2)


def test_less_noise_in_the_encoders_gradient() -> None:
    noise = np.random.default_rng(0).normal(size=(64, 2000))

    def spread(objective: Objective) -> float:
        values = {name: tf.constant(value, tf.float64) for name, value in CONTINUOUS.items()}
        each = tf.zeros([2000, 1], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(each)
            trace = pass_of(noise[: objective.samples], values)
            posterior = tfd.Independent(tfd.Normal(values["a"] * X + each, tf.exp(values["c"])), 1)
            z = trace.latents[0].z + each
            shifted = Latent(z, trace.latents[0].prior, posterior)
            loss = objective(Trace(x=trace.x, latents=(shifted,), decode=trace.decode))
        return float(np.std(tape.gradient(loss, each)))

    plain, dreg = (spread(IWAE(64, gradient=kind)) for kind in ("plain", "dreg"))
    assert dreg < 0.3 * plain
    # The signal falls as 1/k. The plain gradient's noise as k^-1/2, DReG's as k^-3/2.
    np.testing.assert_allclose(spread(IWAE(16)) / plain, 2.0, rtol=0.15)
    np.testing.assert_allclose(spread(IWAE(16, gradient="dreg")) / dreg, 8.0, rtol=0.25)
    assert spread(ScoreFunction(4)) < 0.8 * spread(ScoreFunction(4, baseline="none"))


def test_at_the_exact_posterior_these_gradients_vanish(float64: None) -> None:
    truth = LinearGaussian.random()
    vae = truth.vae()
    x = tf.constant(truth.sample(8))
    weights = [w.value for w in vae.encoder.trainable_weights]

    def gradient(objective: Objective) -> float:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(objective(vae.trace(x, samples=objective.samples)))
        return max(float(tf.reduce_max(tf.abs(g))) for g in tape.gradient(loss, weights))

    assert gradient(ELBO(gradient="stl")) < 1e-6
    assert gradient(IWAE(5, gradient="stl")) < 1e-6
    assert gradient(IWAE(5, gradient="dreg")) < 1e-6
    # All of an example's samples have the same weight there, and its baseline is exact.
    assert gradient(ScoreFunction(4)) < 1e-6
    assert gradient(ELBO()) > 1e-2
    assert gradient(IWAE(5)) > 1e-2


def test_piwae_has_the_iwaes_decoder_and_the_miwaes_encoder(float64: None) -> None:
    truth = LinearGaussian.random()
    vae = truth.vae(error=0.6)
    x = tf.constant(truth.sample(8))

    def gradient(objective: Objective, network: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(objective(vae.trace(x, samples=6)))
        return tape.gradient(loss, [w.value for w in network.trainable_weights])

    piwae = PIWAE(samples=6, groups=3)
    for network, same, other in (
        (vae.decoder, IWAE(samples=6), MIWAE(samples=6, groups=3)),
        (vae.encoder, MIWAE(samples=6, groups=3), IWAE(samples=6)),
    ):
        ours = gradient(piwae, network)
        for a, b, c in zip(ours, gradient(same, network), gradient(other, network), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
            assert not np.allclose(a, c, rtol=1e-3)


# Three bits z with q(z|x) = Bernoulli(x · phi), p(x|z) = N(z · w, 0.8²), a Bernoulli prior, and
# two examples.
BITS = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
DISCRETE = {"phi": (0.4, -0.8, 0.3), "w": (0.7, -0.5, 1.1), "prior": (0.2, 0.0, -0.6)}
XS = np.array([0.9, -0.6])


def discrete_pass(z: Any, x: Any, values: dict[str, tf.Tensor]) -> Trace:
    """Return the pass with draws z [S, B, 3] of examples x [B]."""
    posterior = tfd.Bernoulli(x[:, None] * values["phi"], dtype=tf.float64)
    return Trace(
        x=tf.constant(x),
        latents=(
            Latent(
                tf.constant(z),
                tfd.Independent(tfd.Bernoulli(values["prior"], dtype=tf.float64), 1),
                tfd.Independent(posterior, 1),
            ),
        ),
        decode=lambda draws: tfd.Normal(tf.linalg.matvec(draws[0], values["w"]), 0.8),
    )


def discrete_gradient(loss: Callable[[dict[str, tf.Tensor]], tf.Tensor]) -> Any:
    values = {name: tf.constant(value, tf.float64) for name, value in DISCRETE.items()}
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = loss(values)
    return np.concatenate([g.numpy() for g in tape.gradient(total, values).values()])


def probability(trace: Trace) -> tf.Tensor:
    return tf.exp(tf.reduce_sum(trace.log_posterior, axis=0))


@pytest.mark.parametrize(
    "objective",
    [
        ScoreFunction(samples=1, baseline="none"),
        ScoreFunction(samples=2),
        ScoreFunction(samples=3),
        VIMCO(samples=2),
        VIMCO(samples=3),
    ],
    ids=repr,
)
def test_unbiased_for_three_bits(objective: Objective) -> None:
    k = objective.samples
    draws = np.array(list(itertools.product(BITS, repeat=k))).swapaxes(0, 1)  # [k, 8^k, 3]
    z = np.concatenate([draws] * len(XS), axis=1)
    x = np.repeat(XS, draws.shape[1])

    def estimated(values: dict[str, tf.Tensor]) -> tf.Tensor:
        trace = discrete_pass(z, x, values)
        return tf.reduce_sum(tf.stop_gradient(probability(trace)) * objective(trace))

    def exact(values: dict[str, tf.Tensor]) -> tf.Tensor:
        # The expectation as a sum whose probabilities are differentiated too.
        trace = discrete_pass(z, x, values)
        weight = tf.exp(trace.log_weight)
        bound = (
            tf.math.log(tf.reduce_mean(weight, axis=0))
            if isinstance(objective, VIMCO)
            else tf.reduce_mean(trace.log_weight, axis=0)
        )
        return -tf.reduce_sum(probability(trace) * bound)

    expected = discrete_gradient(exact)
    assert np.all(np.abs(expected) > 1e-4)
    np.testing.assert_allclose(discrete_gradient(estimated), expected, rtol=1e-9, atol=1e-12)


def test_the_baseline_of_other_examples_is_unbiased() -> None:
    objective = ScoreFunction(samples=1, baseline="batch")

    def estimated(values: dict[str, tf.Tensor]) -> tf.Tensor:
        total = 0.0
        for pair in itertools.product(BITS, repeat=2):
            trace = discrete_pass(np.array([pair]), XS, values)
            both = tf.reduce_prod(tf.stop_gradient(probability(trace)))
            total += both * tf.reduce_sum(objective(trace))
        return total

    def exact(values: dict[str, tf.Tensor]) -> tf.Tensor:
        trace = discrete_pass(
            np.repeat(BITS[None], 2, 0).reshape(1, 16, 3), np.repeat(XS, 8), values
        )
        return -tf.reduce_sum(probability(trace) * trace.log_weight[0])

    np.testing.assert_allclose(discrete_gradient(estimated), discrete_gradient(exact), rtol=1e-9)


def test_discrete_bounds_lie_below_log_p() -> None:
    values = {name: tf.constant(value, tf.float64) for name, value in DISCRETE.items()}
    x = np.repeat(XS, 8)
    one = discrete_pass(np.concatenate([BITS, BITS])[None], x, values)
    joint = tf.exp(one.log_likelihood + one.log_prior)
    log_p = np.log(np.sum(np.reshape(joint, [2, 8]), axis=1))
    pairs = np.array(list(itertools.product(BITS, repeat=2))).swapaxes(0, 1)
    two = discrete_pass(np.concatenate([pairs] * 2, axis=1), np.repeat(XS, 64), values)

    def expectation(objective: Objective) -> Any:
        return np.sum(np.reshape(-objective(two) * probability(two), [2, 64]), axis=1)

    elbo, vimco = expectation(ScoreFunction(samples=2)), expectation(VIMCO(samples=2))
    assert np.all(elbo < vimco - 1e-3)
    assert np.all(vimco < log_p - 1e-3)
