"""One contract for every distribution layer: a new layer adds a row to LAYERS."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, stats

import tfvae
from tfvae.layers import Bernoulli, ContinuousBernoulli, DistributionLayer, Normal, Support
from tfvae.priors import StandardNormal

EVENT = (2, 3)
LAYERS: dict[str, Callable[[], DistributionLayer]] = {
    "bernoulli": lambda: Bernoulli(EVENT),
    "continuous_bernoulli": lambda: ContinuousBernoulli(EVENT),
    "normal": lambda: Normal(EVENT),
    "normal_learned": lambda: Normal(EVENT, scale="learned"),
    "normal_fixed": lambda: Normal(EVENT, scale=0.3),
    "standard_normal": lambda: StandardNormal(EVENT),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def params_of(layer: DistributionLayer, *batch: int, spread: float = 2.0) -> tf.Tensor | None:
    if isinstance(layer, StandardNormal):
        return None
    rng = np.random.default_rng(5)
    shape = (*batch, *layer.params_shape)
    return tf.constant(rng.normal(0, spread, shape), layer.compute_dtype)


@every_layer
def test_shapes(name: str) -> None:
    layer = LAYERS[name]()
    distribution = layer(params_of(layer, 4))
    batch = [] if isinstance(layer, StandardNormal) else [4]
    assert distribution.event_shape == EVENT
    assert distribution.batch_shape == batch
    draws = distribution.sample(5, seed=[0, 1])
    assert distribution.log_prob(draws).shape == [5, *batch]
    assert layer.support.outside(draws) == 0


@every_layer
def test_log_prob_integrates_to_one(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    distribution = layer(params_of(layer)).distribution

    def density(value: float) -> float:
        x = tf.fill(EVENT, tf.cast(value, layer.compute_dtype))
        return float(tf.exp(distribution.log_prob(x))[1, 2])

    if layer.support is Support.BINARY:
        total = density(0.0) + density(1.0)
    else:
        low, high = layer.support.bounds
        total = integrate.quad(density, max(low, -30), min(high, 30), limit=200)[0]
    assert total == pytest.approx(1, abs=1e-7)


@every_layer
def test_transform_draws_from_the_distribution(name: str) -> None:
    layer = LAYERS[name]()
    n = 20_000
    assert layer.noise is not None
    params = params_of(layer)
    draws = layer.transform(tfvae.random.noise(layer.noise, 7, 1, n, EVENT)[0], params).numpy()
    distribution = layer(params).distribution
    mean = np.broadcast_to(distribution.mean(), EVENT)
    stddev = np.broadcast_to(distribution.stddev(), EVENT)
    # Six means and six tests of the whole distribution at 5 sigma and 1e-5 for each of six
    # layers: a false alarm once in some 2,500 choices of the seed.
    np.testing.assert_array_less(np.abs(draws.mean(0) - mean), 5 * stddev / math.sqrt(n))
    if layer.support is not Support.BINARY:
        uniform = distribution.cdf(draws).numpy().reshape(n, -1)
        for column in uniform.T:
            assert stats.kstest(column, "uniform").pvalue > 1e-5


@every_layer
def test_named_parameters_and_mean(name: str) -> None:
    layer = LAYERS[name]()
    if isinstance(layer, StandardNormal):
        pytest.skip("a prior has no parameters from a network")
    params = params_of(layer, 4)
    named = layer.parameters(params)
    assert all(value.shape == (4, *EVENT) for value in named.values())
    distribution = layer(params)
    for key, value in named.items():
        np.testing.assert_array_equal(distribution.distribution.parameters[key], value)
    # TFP computes the continuous Bernoulli's mean with cancellation in float32.
    np.testing.assert_allclose(layer.mean(params), distribution.mean(), atol=2e-5)


@every_layer
@pytest.mark.parametrize("raw", [-30.0, 0.0, 30.0])
def test_gradients_are_finite_at_extreme_outputs(name: str, raw: float) -> None:
    layer = LAYERS[name]()
    if isinstance(layer, StandardNormal):
        pytest.skip("a prior has no parameters from a network")
    params = tf.fill((3, *layer.params_shape), raw)
    noise = tfvae.random.noise(layer.noise, 1, 1, 3, EVENT)[0]
    with tf.GradientTape() as tape:
        tape.watch(params)
        draw = layer.transform(noise, params)
        value = tf.reduce_sum(layer(params).log_prob(tf.stop_gradient(draw)))
        if layer.reparameterised:
            value += tf.reduce_sum(draw)
    assert np.isfinite(float(value))
    assert np.all(np.isfinite(tape.gradient(value, params)))


@every_layer
def test_pathwise_gradient_against_finite_differences(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    if isinstance(layer, StandardNormal) or not layer.reparameterised:
        pytest.skip("no gradient flows through a draw")
    params = params_of(layer, 3)
    noise = tf.cast(tfvae.random.noise(layer.noise, 1, 1, 3, EVENT)[0], tf.float64)
    theory, numeric = tf.test.compute_gradient(lambda p: layer.transform(noise, p), [params])
    np.testing.assert_allclose(theory[0], numeric[0], atol=1e-6)


@every_layer
def test_never_below_float32(name: str, mixed_policy: str) -> None:
    layer = LAYERS[name]()
    params = params_of(layer, 2)
    half = None if params is None else tf.cast(params, keras.config.dtype_policy().compute_dtype)
    assert layer(half).dtype == tf.float32
    assert layer.transform(tf.fill(EVENT, 0.3), half).dtype == tf.float32


@every_layer
def test_float64_under_its_policy(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    assert layer(params_of(layer, 2)).dtype == tf.float64


@every_layer
def test_compiled_by_xla(name: str) -> None:
    layer = LAYERS[name]()
    params = params_of(layer, 4)
    noise = tfvae.random.noise(layer.noise, 1, 1, 4, EVENT)[0]

    def log_prob(params: tf.Tensor | None) -> tf.Tensor:
        return layer(params).log_prob(layer.transform(noise, params))

    compiled = tf.function(log_prob, jit_compile=True)(params)
    np.testing.assert_allclose(log_prob(params), compiled, rtol=1e-4, atol=1e-4)


@every_layer
def test_configuration_round_trip(name: str) -> None:
    layer = LAYERS[name]()
    config = keras.saving.serialize_keras_object(layer)
    twin = keras.saving.deserialize_keras_object(config)
    assert type(twin) is type(layer)
    assert twin.get_config() == layer.get_config()
    params = params_of(layer, 2)
    np.testing.assert_array_equal(layer(params).mean(), twin(params).mean())


@every_layer
def test_symbolic_tensors_are_refused_with_advice(name: str) -> None:
    layer = LAYERS[name]()
    with pytest.raises(TypeError, match=r"symbolic Keras tensor.*tfvae\.VAE"):
        layer(keras.Input(layer.params_shape or (1,)))


# ---------------------------------------------------------------- numbers


def test_zero_logits_on_784_binary_pixels(float64: None) -> None:
    x = tf.cast(tf.random.stateless_uniform([1, 784], [0, 1]) < 0.5, tf.float64)
    log_prob = Bernoulli((784,))(tf.zeros([1, 784], tf.float64)).log_prob(x)
    assert float(log_prob[0]) == pytest.approx(-543.4274, abs=1e-4)


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.1, 1.01033856), (0.3, 0.75058775), (0.49, 0.69328054), (0.5, 0.69314718)],
)
def test_continuous_bernoulli_log_normaliser(
    probability: float, expected: float, float64: None
) -> None:
    logits = tf.constant([[math.log(probability / (1 - probability))]], tf.float64)
    log_prob = ContinuousBernoulli((1,))(logits).log_prob(tf.zeros([1, 1], tf.float64))
    assert float(log_prob[0]) - math.log(1 - probability) == pytest.approx(expected, abs=1e-8)


def test_continuous_bernoulli_mean_and_gradient_around_one_half(float64: None) -> None:
    layer = ContinuousBernoulli((1,))
    logits = tf.reshape(tf.linspace(tf.constant(-2.0, tf.float64), 2.0, 2001), [-1, 1])
    x = tf.fill([1, 1], tf.constant(0.3, tf.float64))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = layer(logits).log_prob(x)
    # d log p / d logit = x - mean: the gradient checks TFP's normaliser against our mean, and
    # quadrature checks the mean. TFP's Taylor expansion is worth 1e-7 where it takes over.
    gradient = tape.gradient(log_prob, logits).numpy()[:, 0]
    mean = layer.mean(logits).numpy()[:, 0]
    np.testing.assert_allclose(gradient, 0.3 - mean, atol=1e-6)
    for index in (0, 500, 751, 999, 1000, 1001, 1249, 2000):
        eta = float(logits[index, 0])
        norm = integrate.quad(lambda t, eta=eta: math.exp(eta * t), 0, 1)[0]
        first = integrate.quad(lambda t, eta=eta: t * math.exp(eta * t), 0, 1)[0]
        assert mean[index] == pytest.approx(first / norm, abs=1e-9)


def test_normal_against_scipy(float64: None) -> None:
    layer = Normal((3,))
    params = tf.constant([[0.5, -1.0, 2.0, -2.0, 0.0, 3.0]], tf.float64)
    scale = np.log1p(np.exp([-2.0, 0.0, 3.0])) + layer.min_scale
    x = np.array([[0.1, 0.2, 0.3]])
    expected = stats.norm([0.5, -1.0, 2.0], scale).logpdf(x).sum()
    assert float(layer(params).log_prob(x)[0]) == pytest.approx(expected, abs=1e-12)


def test_learned_scale_is_one_weight_and_is_trained() -> None:
    layer = Normal((3,), scale="learned")
    assert [w.shape for w in layer.trainable_weights] == [()]
    np.testing.assert_allclose(layer.parameters(tf.zeros([1, 3]))["scale"], 1.0001, atol=1e-6)
    with tf.GradientTape() as tape:
        loss = -tf.reduce_sum(layer(tf.zeros([1, 3])).log_prob(tf.ones([1, 3])))
    assert tape.gradient(loss, layer.trainable_weights)[0] is not None


def test_tfp_agrees_on_the_whole() -> None:
    tfd = tfp.distributions
    params = params_of(Normal(EVENT), 4)
    loc, raw = tf.split(params, 2, axis=-1)
    twin = tfd.Independent(tfd.Normal(loc, tf.nn.softplus(raw) + 1e-4), 2)
    x = tf.zeros(EVENT)
    np.testing.assert_allclose(Normal(EVENT)(params).log_prob(x), twin.log_prob(x), rtol=1e-6)


# ---------------------------------------------------------------- bad input


def test_supports_are_ordered() -> None:
    assert Support.UNIT <= Support.REAL
    assert not Support.REAL <= Support.UNIT
    assert not Support.BINARY <= Support.REAL


@pytest.mark.parametrize("shape", [(), 0, (3, -1), (2.0,)])
def test_event_shape_must_be_positive_integers(shape: object) -> None:
    with pytest.raises(ValueError, match=r"`event_shape`.*positive integers"):
        Normal(shape)


def test_params_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"`params` of shape \[\.\.\., 4\].*Received.*\(3, 5\)"):
        Normal((2,))(tf.zeros([3, 5]))


@pytest.mark.parametrize("scale", ["big", 0.0, -1.0, float("nan")])
def test_scale_is_checked(scale: object) -> None:
    with pytest.raises(ValueError, match="`scale`"):
        Normal((2,), scale=scale)


def test_get_suggests_the_nearest_name() -> None:
    layer = tfvae.layers.get("continuousbernoulli", (3,), "likelihood")
    assert isinstance(layer, ContinuousBernoulli)
    with pytest.raises(ValueError, match="Did you mean 'Bernoulli'"):
        tfvae.layers.get("Bernouli", (3,), "likelihood")
    with pytest.raises(ValueError, match=r"event_shape=\(3,\).*Received.*\(4,\)"):
        tfvae.layers.get(Normal((4,)), (3,), "likelihood")
    with pytest.raises(TypeError, match="`likelihood`"):
        tfvae.layers.get(3, (3,), "likelihood")
