"""Distribution layers: single numbers, supports, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, stats
from test_layers import EVENT, params_of

import tfvae
from tfvae import layers
from tfvae.layers import Bernoulli, ContinuousBernoulli, DistributionLayer, Normal, Support


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
    assert Support.BINARY <= Support.COUNTS
    assert not Support.SIMPLEX <= Support.UNIT
    # End points carry no mass, and a strict subset leaves out more than these.
    assert Support.POSITIVE <= Support.NONNEGATIVE <= Support.POSITIVE
    assert not Support.POSITIVE < Support.NONNEGATIVE
    assert Support.OPEN_UNIT < Support.POSITIVE < Support.REAL
    assert Support.above(2.0) < Support.above(1.0)
    # Every second of five levels is one of three, but no test of data needs to know.
    assert Support.levels(256) <= Support.levels(256)
    assert not Support.levels(3) <= Support.levels(5)
    assert not Support.levels(2) <= Support.UNIT
    # What the network may move is not known to hold anything, and misses a part of its bounds.
    assert Support.MOVING < Support.REAL
    assert not Support.UNIT <= Support.MOVING


@pytest.mark.parametrize(
    ("support", "values", "outside"),
    [
        (Support.REAL, [0.0, np.nan, np.inf], 2),
        (Support.POSITIVE, [0.0, 1.0, -1.0], 2),
        (Support.NONNEGATIVE, [0.0, 1.0, -1.0], 1),
        (Support.OPEN_UNIT, [0.0, 0.5, 1.0], 2),
        (Support.UNIT, [0.0, 0.5, 1.0], 0),
        (Support.COUNTS, [0.0, 7.0, 1.5, -1.0, np.nan], 3),
        (Support.integers(3), [0, 3, 4], 1),
        (Support.above(2.0), [1.9, 2.0], 1),
        (Support.levels(256), [0.0, 1 / 255, 0.5, 1.0, 256 / 255, np.nan], 3),
        (Support.levels(65536), np.arange(65536, dtype="float32") / np.float32(65535), 0),
        (Support.SIMPLEX, [[0.5, 0.5], [0.5, 0.6], [0.0, 1.0]], 4),
    ],
)
def test_what_lies_outside(support: Support, values: object, outside: int) -> None:
    assert support.outside(values) == outside


def test_values_outside_are_named() -> None:
    with pytest.raises(ValueError, match=r"`x` to lie in the counts.*1 of 2.*0\.5 to 3\. Round"):
        Support.COUNTS.check([0.5, 3.0], fix="Round it.")


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: layers.Pareto(2, lower=0.0), "lower"),
        (lambda: layers.Reciprocal(2, low=2.0, high=1.0), "low"),
        (lambda: layers.Erlang(2, shape=0), "shape"),
        (lambda: layers.Erlang(2, shape=1.5), "shape"),
        (lambda: layers.MultivariateStudentT(2, df=2), "df"),
        (lambda: layers.LowRankNormal(2, rank=0), "rank"),
        (lambda: layers.Categorical(2, classes=1), "classes"),
        (lambda: layers.DiscretizedLogistic(2, levels=1), "levels"),
        (lambda: layers.DiscretizedLogisticMixture(3, levels=2.0), "levels"),
        (lambda: layers.DiscretizedLogisticMixture(3, components=0), "components"),
        (lambda: layers.MixtureOfGaussians(2, components=0), "components"),
        (lambda: layers.MixtureOfGaussians(2, covariance="tied"), "covariance"),
        (lambda: layers.Dirichlet(1), "event_shape"),
    ],
)
def test_arguments_are_checked(make: Callable[[], DistributionLayer], argument: str) -> None:
    with pytest.raises(ValueError, match=f"`{argument}`.*Received: .*{argument}="):
        make()


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
