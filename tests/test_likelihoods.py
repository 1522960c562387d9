"""Likelihoods of 8-bit images and counts, and mixtures: what the contract of layers leaves out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import DiscretizedLogistic as Oracle
from scipy import special, stats

import tfvae
from tfvae import layers, networks
from tfvae.layers.mixture import choose

GREYS = np.arange(256, dtype=np.float32) / np.float32(255)


def log_masses(layer: Any, raw: Any) -> Any:
    """Log-probabilities of all levels, [levels, n], at parameters [n, ...] of one value each."""
    levels = np.linspace(0, 1, layer.levels, dtype=layer.compute_dtype)
    return layer(raw).log_prob(levels[:, np.newaxis, np.newaxis]).numpy()


# ---------------------------------------------------------------- discretised logistic


def test_masses_of_a_discretised_logistic_in_float32() -> None:
    layer = layers.DiscretizedLogistic((1,))
    rng = np.random.default_rng(0)
    raw = np.stack([rng.uniform(-3, 3, 400), rng.uniform(-9, 4, 400)], -1).astype(np.float32)
    loc, scale = (value.numpy().astype(float) for value in layer.parameters(raw).values())
    got = log_masses(layer, raw)
    # In float64, by the logarithms of the two tails on the side where they are small.
    grid = np.arange(256)[:, np.newaxis] / 255
    below = np.where(grid == 0, -np.inf, (grid - 0.5 / 255 - loc[:, 0]) / scale[:, 0])
    above = np.where(grid == 1, np.inf, (grid + 0.5 / 255 - loc[:, 0]) / scale[:, 0])
    flipped = below > 0
    low, high = np.where(flipped, -above, below), np.where(flipped, -below, above)
    low, high = stats.logistic.logcdf(low), stats.logistic.logcdf(high)
    truth = high + np.log1p(-np.exp(low - high))
    # A float32 near 1 is known to 3e-8, which is 7e-5 of the smallest scale.
    np.testing.assert_allclose(got, truth, rtol=7e-5, atol=7e-5)
    assert np.quantile(np.abs(got - truth) / np.maximum(1, np.abs(truth)), 0.999) < 3e-5
    # The upper end of a level and the lower end of the next are off by different roundings.
    np.testing.assert_allclose(np.exp(got.astype(float)).sum(0), 1, atol=7e-5)


def test_masses_sum_to_one_at_every_number_of_levels(float64: None) -> None:
    raw = np.random.default_rng(1).uniform(-30, 30, (100, 2))
    for levels in (2, 3, 256, 1000):
        mass = np.exp(log_masses(layers.DiscretizedLogistic((1,), levels=levels), raw))
        np.testing.assert_allclose(mass.sum(0), 1, atol=1e-10)


def test_mean_of_a_discretised_logistic_against_enumeration(float64: None) -> None:
    layer, delta = layers.DiscretizedLogistic((1,)), 1 / 255
    loc, raw_scale = np.meshgrid(np.linspace(-3, 3, 41), np.linspace(-9, 4, 53))
    raw = np.stack([loc.ravel(), raw_scale.ravel()], -1)
    scale = layer.parameters(raw)["scale"].numpy()[:, 0]
    exact = np.linspace(0, 1, 256) @ np.exp(log_masses(layer, raw))
    error = np.abs(layer.mean(raw).numpy()[:, 0] - exact)
    assert error.max() <= 0.5 * delta + 1e-12
    # The rounded one's mean is the midpoint rule for the integral of the tail, whose error is
    # δ² / 24 times the density's change from 0 to 1, at most 1 / 4 s, and of higher orders in δ.
    wide = scale >= delta
    np.testing.assert_array_less(error[wide], delta**2 / (96 * scale[wide]) * 1.02 + 1e-9)


def test_outputs_of_zero_are_mid_grey() -> None:
    named = layers.DiscretizedLogistic((1,)).parameters(tf.zeros([1, 2]))
    assert float(named["loc"][0, 0]) == 0.5
    assert float(named["scale"][0, 0]) == pytest.approx(0.44, abs=0.005)


@pytest.mark.parametrize("uniform", [2.0**-126, 2.0**-24, 1 - 2.0**-24])
def test_draws_at_the_ends_of_the_noise(uniform: float) -> None:
    layer = layers.DiscretizedLogistic((1,))
    params = tf.constant([[0.0, 30.0], [5.0, -30.0], [-5.0, -30.0]])
    draws = layer.transform(tf.fill([3, 1], uniform), params).numpy()[:, 0]
    np.testing.assert_array_equal(draws, [float(uniform > 0.5), 1, 0])


# ---------------------------------------------------------------- its mixture


def test_one_channel_is_a_mixture_of_discretised_logistics(float64: None) -> None:
    layer = layers.DiscretizedLogisticMixture((1, 1), components=3)
    assert layer.params_shape == (1, 9)
    raw = np.random.default_rng(2).normal(0, 2, (1, 9))
    named = {key: value.numpy()[0] for key, value in layer.parameters(raw).items()}
    assert list(named) == ["logits", "loc", "scale"]
    grid = np.arange(256) / 255
    each = [Oracle(named["loc"][k, 0], named["scale"][k, 0]).pmf(grid) for k in range(3)]
    truth = np.log(special.softmax(named["logits"]) @ np.array(each))
    np.testing.assert_allclose(layer(raw).log_prob(grid[:, None, None]), truth, atol=1e-8)


def test_channels_of_a_component_share_one_choice() -> None:
    # Two narrow components, black and white: a pixel is one or the other in all channels.
    layer = layers.DiscretizedLogisticMixture((5, 3), components=2)
    sizes = np.cumsum(layer.block_sizes)[:-1]
    logits, loc, scale, coupling = np.split(np.zeros(layer.params_shape, "float32"), sizes, -1)
    loc[:, :3], loc[:, 3:], scale[:] = -3, 3, -30
    params = tf.constant(np.concatenate([logits, loc, scale, coupling], -1))[tf.newaxis]
    noise = tfvae.random.noise("uniform", 0, 1000, 1, layer.noise_shape, layer.choices)
    draws = layer.transform(noise, params).numpy()
    assert set(draws.sum(-1).ravel()) == {0.0, 3.0}
    # 5,000 choices at 5 standard errors: a false alarm once in 1.7 million seeds.
    assert abs(draws.mean() - 0.5) < 5 * 0.5 / np.sqrt(5000)
    np.testing.assert_array_equal(draws[..., 0], (noise.numpy()[..., :5] >= 0.5).astype("float32"))


@pytest.mark.parametrize("logits", [[0.0, -30.0], [30.0, 30.0, -30.0], [0.3, 0.1, -0.2, -17.0]])
def test_the_last_component_is_not_chosen_by_rounding(logits: list[float]) -> None:
    rare = special.softmax(logits)[-1]
    assert rare < 2.0**-24
    chosen = choose(tf.constant([1 - 2.0**-24, 2.0**-24]), tf.constant(logits))
    assert not np.any(chosen[:, -1])


def test_components_are_chosen_by_their_weights() -> None:
    logits = np.array([0.5, -1.0, 0.2, 1.1], np.float32)
    uniform = tfvae.random.noise("uniform", 5, 1, 1, (20_000,))[0, 0]
    counts = tf.reduce_sum(choose(uniform, tf.constant(logits)), 0).numpy()
    assert stats.chisquare(counts, special.softmax(logits.astype(float)) * 20_000).pvalue > 1e-6


# ---------------------------------------------------------------- counts


def test_large_counts_and_zeros_have_finite_gradients_under_xla() -> None:
    layer = layers.ZeroInflatedNegativeBinomial((1,))
    x = tf.constant([0.0, 1.0, 1e3, 1e6])[:, tf.newaxis, tf.newaxis]
    corners = np.stack(np.meshgrid(*[[-30.0, 0.0, 30.0]] * 3), -1).reshape(-1, 3)
    raw = tf.constant(corners, tf.float32)

    @tf.function(jit_compile=True)
    def compiled(raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(raw)
            value = layer(raw).log_prob(x)
        return value, tape.gradient(value, raw)

    for value in compiled(raw):
        assert np.all(np.isfinite(value))


def test_zeros_are_inflated_by_the_share_that_the_logit_says(float64: None) -> None:
    layer = layers.ZeroInflatedNegativeBinomial((1,))
    bare = layers.NegativeBinomial((1,))
    mass = float(bare(np.array([[0.3, -0.5]])).prob([0.0])[0])
    expected = 0.25 + 0.75 * mass
    raw = np.array([[0.3, -0.5, -np.log(3.0)]])  # the soft bound moves it by less than 2e-4
    assert float(layer(raw).prob([0.0])[0]) == pytest.approx(expected, rel=1e-4)


# ---------------------------------------------------------------- Gaussian mixtures


def test_one_component_is_its_gaussian(float64: None) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, 2))
    for covariance, twin in (("diagonal", layers.Normal), ("full", layers.MultivariateNormal)):
        layer = layers.MixtureOfGaussians((2,), components=1, covariance=covariance)
        gaussian = twin((2,))
        raw = rng.normal(size=(3, *gaussian.params_shape))
        mixed = tf.concat([tf.zeros([3, 1], tf.float64), raw], -1)
        np.testing.assert_allclose(layer(mixed).log_prob(x), gaussian(raw).log_prob(x), atol=1e-12)
        noise = rng.normal(size=(3, 2))
        both = tf.concat([tf.fill([3, 1], tf.constant(0.5, tf.float64)), noise], -1)
        np.testing.assert_allclose(layer.transform(both, mixed), gaussian.transform(noise, raw))


def test_gradients_of_a_mixture_flow_to_the_component_and_not_the_choice() -> None:
    layer = layers.MixtureOfGaussians((1,), components=2)
    params = tf.constant([[0.0, 0.0, -1.0, 1.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(params)
        draw = layer.transform(tf.constant([[0.9, 0.5]]), params)
    slope = 0.5 * special.expit(0.0)
    np.testing.assert_allclose(tape.gradient(draw, params), [[0, 0, 0, 1, 0, slope]], atol=1e-6)


# ---------------------------------------------------------------- in a model


def test_a_model_of_8_bit_images_learns_and_generates_them() -> None:
    shape = (6, 5, 3)
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(0.3, 0.02, (64, *shape)) + rng.choice([0, 0.4], (64, 1, 1, 1)), 0, 1)
    x = np.round(255 * x).astype(np.uint8).astype(np.float32) / np.float32(255)
    likelihood = layers.DiscretizedLogisticMixture(shape, components=3)
    model = tfvae.VAE(
        encoder=networks.conv_encoder(shape, (4,), filters=(4,), dense=8),
        decoder=networks.conv_decoder(
            (2,), likelihood.params_shape, data_shape=shape, filters=(4,), dense=8
        ),
        prior=tfvae.priors.StandardNormal((2,)),
        posterior=layers.Normal((2,)),
        likelihood=likelihood,
    )
    model.compile(keras.optimizers.Adam(0.02))
    history = model.fit(x, epochs=15, batch_size=16, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
    generated = model.generate(8, seed=3)
    assert likelihood.support.outside(generated.sample) == 0
    assert np.all((generated.mean >= 0) & (generated.mean <= 1))
    with pytest.raises(ValueError, match=r"256 levels.*np\.round\(255 \* x\) / 255.*Normal"):
        model.fit(np.clip(x + 0.001, 0, 1), verbose=0)
