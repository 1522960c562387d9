"""Relaxed and straight-through latents: laws, limits and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

import tfvae
from tfvae import layers, priors
from tfvae.objectives import VIMCO, ScoreFunction

LOGITS = np.array([[0.5, -1.0, 0.2, 1.1]])


def draws_of(layer: Any, n: int) -> Any:
    noise = tfvae.random.noise("uniform", 3, 1, n, layer.noise_shape)[0]
    return layer.transform(noise, tf.constant(LOGITS, layer.compute_dtype)).numpy()


def test_ratios_of_a_concrete_draw_are_logistic(float64: None) -> None:
    # T log(z_i / z_j) = η_i - η_j + G_i - G_j, and a difference of Gumbels is logistic.
    draws = draws_of(layers.Concrete((4,), temperature=0.7), 20_000)
    bounded = layers.Concrete((4,)).parameters(tf.constant(LOGITS))["logits"].numpy()[0]
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 0)):
        ratio = 0.7 * np.log(draws[:, i] / draws[:, j]) - (bounded[i] - bounded[j])
        # Four tests at 1e-6: a false alarm once in 250,000 seeds.
        assert stats.kstest(ratio, "logistic").pvalue > 1e-6


def test_the_density_of_a_concrete_integrates_to_one(float64: None) -> None:
    layer = layers.Concrete((4,), temperature=0.7)
    rng = np.random.default_rng(0)
    x = rng.dirichlet([0.5] * 4, 40_000)
    proposal = stats.dirichlet([0.5] * 4).logpdf(np.clip(x, 1e-300, None).T)
    weight = np.exp(layer(tf.constant(LOGITS)).log_prob(x).numpy() - proposal)
    # Five standard errors: a false alarm once in 1.7 million seeds.
    assert abs(weight.mean() - 1) < 5 * weight.std() / np.sqrt(len(weight))
    assert weight.std() / np.sqrt(len(weight)) < 0.02


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_rounding_gives_the_discrete_law_at_every_temperature(
    temperature: float, float64: None
) -> None:
    concrete = draws_of(layers.Concrete((4,), temperature=temperature), 20_000)
    counts = np.bincount(concrete.argmax(1), minlength=4)
    bounded = layers.Concrete((4,)).parameters(tf.constant(LOGITS))["logits"].numpy()[0]
    assert stats.chisquare(counts, special.softmax(bounded) * 20_000).pvalue > 1e-6
    binary = draws_of(layers.RelaxedBernoulli((4,), temperature=temperature), 20_000)
    rate, mean = (binary > 0.5).mean(0), special.expit(bounded)
    # Four means at five standard errors.
    np.testing.assert_array_less(np.abs(rate - mean), 5 * np.sqrt(mean * (1 - mean) / 20_000))


@pytest.mark.parametrize("kind", ["Bernoulli", "OneHotCategorical"])
def test_straight_through_is_the_draw_with_the_gradient_of_the_mean(kind: str) -> None:
    hard = getattr(layers, kind)((4,))
    soft = getattr(layers, kind)((4,), straight_through=True)
    assert (hard.reparameterised, soft.reparameterised) == (False, True)
    np.testing.assert_array_equal(draws_of(hard, 50), draws_of(soft, 50))
    assert soft.support.outside(draws_of(soft, 50)) == 0
    params, weights = tf.constant(LOGITS, tf.float32), tf.constant([[1.0, -2.0, 0.5, 3.0]])
    noise = tfvae.random.noise("uniform", 3, 1, 1, (4,))[0]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(params)
        drawn = tf.reduce_sum(weights * soft.transform(noise, params))
        mean = tf.reduce_sum(weights * soft.mean(params))
        alone = tf.reduce_sum(weights * hard.transform(noise, params))
    np.testing.assert_allclose(tape.gradient(drawn, params), tape.gradient(mean, params))
    assert tape.gradient(alone, params) is None


@pytest.mark.parametrize(
    ("posterior", "objective"),
    [
        (layers.Bernoulli((6,)), VIMCO(samples=4)),
        (layers.OneHotCategorical((2, 3)), ScoreFunction(samples=4)),
        (layers.Bernoulli((6,), straight_through=True), None),
        (layers.OneHotCategorical((2, 3), straight_through=True), None),
        (layers.RelaxedBernoulli((6,)), None),
        (layers.Concrete((2, 3)), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_discrete_latents_train(posterior: Any, objective: Any, binary_images: Any) -> None:
    nets = tfvae.networks
    twin = type(posterior).from_config(posterior.get_config())
    vae = tfvae.VAE(
        nets.mlp_encoder((6, 5), posterior.params_shape, hidden=(32,)),
        nets.mlp_decoder(posterior.event_shape, (6, 5), hidden=(32,)),
        prior=priors.Parametric(twin, learn=False),
        posterior=posterior,
        likelihood=layers.Bernoulli((6, 5)),
        objective=objective,
    )
    vae.compile("adam", jit_compile=False)
    history = vae.fit(binary_images, epochs=10, batch_size=16, verbose=0).history
    assert history["loss"][-1] < 0.95 * history["loss"][0]
    drawn = vae.generate(3).z
    assert posterior.support.outside(drawn) == 0


def test_a_deterministic_posterior_reports_no_bound(binary_images: Any) -> None:
    vae = tfvae.zoo.vae(
        (6, 5), 3, hidden=(32,), posterior="Deterministic",
        objective=tfvae.objectives.Reconstruction(),
    )  # fmt: skip
    vae.compile("adam", jit_compile=False)
    history = vae.fit(binary_images, epochs=5, batch_size=16, verbose=0).history
    assert set(history) == {"loss", "log_likelihood"}
    assert history["loss"][-1] < history["loss"][0]
    assert set(vae.evaluate(binary_images, return_dict=True, verbose=0)) == set(history)
    with pytest.raises(ValueError, match=r"posterior has a density.*Deterministic"):
        tfvae.evaluate.evaluate(vae, binary_images, samples=3)
    with pytest.raises(ValueError, match=r"with a density.*ELBO.*Deterministic.*Reconstruction"):
        tfvae.zoo.vae((6, 5), 3, hidden=(32,), posterior="Deterministic")


@pytest.mark.parametrize("temperature", [0.0, 0.01, float("nan"), 20.0])
def test_temperatures_are_checked(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"`temperature`.*0\.1 to 10"):
        layers.Concrete((3,), temperature=temperature)


def test_one_class_is_refused() -> None:
    for make in (layers.Concrete, layers.OneHotCategorical):
        with pytest.raises(ValueError, match="at least 2 classes"):
            make((4, 1))
