"""One contract for every distribution layer: a new layer adds a row to LAYERS."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf2onnx
from oracles import MULTIVARIATE, UNIVARIATE
from scipy import integrate, special, stats

import tfvae
from tfvae import layers
from tfvae.layers import Bernoulli, ContinuousBernoulli, DistributionLayer, Normal, Support
from tfvae.priors import StandardNormal

EVENT = (2, 3)
LAYERS: dict[str, Callable[[], DistributionLayer]] = {
    "bernoulli": lambda: Bernoulli(EVENT),
    "beta": lambda: layers.Beta(EVENT),
    "categorical": lambda: layers.Categorical(EVENT, classes=4),
    "cauchy": lambda: layers.Cauchy(EVENT),
    "chi2": lambda: layers.Chi2(EVENT),
    "continuous_bernoulli": lambda: ContinuousBernoulli(EVENT),
    "dirichlet": lambda: layers.Dirichlet(EVENT),
    "erlang": lambda: layers.Erlang(EVENT, shape=3),
    "exponential": lambda: layers.Exponential(EVENT),
    "f": lambda: layers.F(EVENT),
    "gamma": lambda: layers.Gamma(EVENT),
    "gompertz": lambda: layers.Gompertz(EVENT),
    "gumbel": lambda: layers.Gumbel(EVENT),
    "inverse_gamma": lambda: layers.InverseGamma(EVENT),
    "kumaraswamy": lambda: layers.Kumaraswamy(EVENT),
    "laplace": lambda: layers.Laplace(EVENT),
    "log_normal": lambda: layers.LogNormal(EVENT),
    "logistic": lambda: layers.Logistic(EVENT),
    "low_rank_normal": lambda: layers.LowRankNormal(EVENT, rank=2),
    "multivariate_normal": lambda: layers.MultivariateNormal(EVENT),
    "multivariate_student_t": lambda: layers.MultivariateStudentT(EVENT, df=5),
    "negative_binomial": lambda: layers.NegativeBinomial(EVENT),
    "normal": lambda: Normal(EVENT),
    "normal_learned": lambda: Normal(EVENT, scale="learned"),
    "normal_fixed": lambda: Normal(EVENT, scale=0.3),
    "pareto": lambda: layers.Pareto(EVENT, lower=0.5),
    "poisson": lambda: layers.Poisson(EVENT),
    "rayleigh": lambda: layers.Rayleigh(EVENT),
    "reciprocal": lambda: layers.Reciprocal(EVENT),
    "standard_normal": lambda: StandardNormal(EVENT),
    "student_t": lambda: layers.StudentT(EVENT),
    "triangular": lambda: layers.Triangular(EVENT),
    "uniform": lambda: layers.Uniform(EVENT),
    "weibull": lambda: layers.Weibull(EVENT),
}
every_layer = pytest.mark.parametrize("name", LAYERS)
every_posterior = pytest.mark.parametrize(
    "name", [name for name in LAYERS if LAYERS[name]().reparameterised and "standard" not in name]
)


def params_of(layer: DistributionLayer, *batch: int, spread: float = 1.5) -> tf.Tensor | None:
    if isinstance(layer, StandardNormal):
        return None
    rng = np.random.default_rng(5)
    shape = (*batch, *layer.params_shape)
    return tf.constant(rng.normal(0, spread, shape), layer.compute_dtype)


def draw(layer: DistributionLayer, params: tf.Tensor | None, n: int, seed: int = 7) -> tf.Tensor:
    """Draw as a model does: [n, *batch, *event], the batch being that of the parameters."""
    if layer.noise is None:
        return layer(params).sample(n, seed=[seed, 0])
    batch = [] if params is None else params.shape[: params.shape.rank - len(layer.params_shape)]
    shape = (*batch, *layer.noise_shape)
    noise = tfvae.random.noise(layer.noise, seed, 1, n, shape)[0]
    return layer.transform(noise, params)


def named_of(layer: DistributionLayer) -> dict[str, Any]:
    if isinstance(layer, StandardNormal):
        return {}
    return {key: value.numpy() for key, value in layer.parameters(params_of(layer)).items()}


def test_every_class_has_a_row() -> None:
    tested = {type(make()).__name__ for make in LAYERS.values()}
    values = [getattr(layers, name) for name in dir(layers)]
    classes = {value.__name__ for value in values if isinstance(value, type)}
    assert classes - {"DistributionLayer", "Support"} <= tested


@every_layer
def test_shapes(name: str) -> None:
    layer = LAYERS[name]()
    distribution = layer(params_of(layer, 4))
    batch = [] if isinstance(layer, StandardNormal) else [4]
    assert distribution.event_shape == EVENT
    assert distribution.batch_shape == batch
    draws = distribution.sample(5, seed=[0, 1])
    assert draws.shape == [5, *batch, *EVENT]
    assert distribution.log_prob(draws).shape == [5, *batch]
    assert layer.support.outside(draws) == 0
    portable = draw(layer, params_of(layer, 4), 5)
    assert portable.shape == [5, *batch, *EVENT]
    assert layer.support.outside(portable) == 0


@every_layer
def test_log_prob_against_scipy(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    distribution, kind = layer(params_of(layer)), type(layer).__name__
    draws = draw(layer, params_of(layer), 200)
    value, named = distribution.log_prob(draws).numpy(), named_of(layer)
    if kind == "Categorical":
        log_probability = special.log_softmax(named["logits"], axis=-1)[np.newaxis]
        index = draws.numpy().astype(int)[..., np.newaxis]
        truth = np.take_along_axis(log_probability, index, -1)[..., 0].sum((1, 2))
    elif kind in MULTIVARIATE:
        truth = np.zeros(200)
        for axis in range(EVENT[0]):
            joint, _ = MULTIVARIATE[kind]({key: v[axis] for key, v in named.items()})
            x = draws.numpy()[:, axis]
            truth += joint.logpdf(x.T if kind == "Dirichlet" else x)
    else:
        oracle = UNIVARIATE[kind](**named)
        log = getattr(oracle, "logpmf" if layer.support.discrete else "logpdf")
        truth = log(draws.numpy()).sum((1, 2))
    # SciPy computes the negative binomial's probabilities to 1e-8 only.
    np.testing.assert_allclose(value, truth, rtol=1e-7, atol=1e-7)


@every_layer
def test_log_prob_integrates_to_one(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    distribution, kind = layer(params_of(layer)), type(layer).__name__
    if kind in MULTIVARIATE:
        # Importance sampling from SciPy's heavier-tailed twin, within 5 standard errors: a false
        # alarm once in 1.7 million seeds for each layer.
        n, rng = 20_000, np.random.default_rng(0)
        draws = draw(layer, params_of(layer), n).numpy()
        if kind == "Dirichlet":
            x = rng.dirichlet([0.6] * 3, (n, 2))
            proposal = sum(stats.dirichlet([0.6] * 3).logpdf(x[:, axis].T) for axis in (0, 1))
        else:
            twins = [
                stats.multivariate_t(draws[:, i].mean(0), np.cov(draws[:, i].T), 3) for i in (0, 1)
            ]
            x = np.stack([twin.rvs(n, random_state=rng) for twin in twins], axis=1)
            proposal = sum(twin.logpdf(x[:, axis]) for axis, twin in enumerate(twins))
        weight = np.exp(distribution.log_prob(x) - proposal)
        assert abs(weight.mean() - 1) < 5 * weight.std() / math.sqrt(n)
        return
    if layer.support.discrete:
        x = np.arange(0.0, min(layer.support.bounds[1], 5000.0) + 1)
        measure = np.ones_like(x)
    else:
        twin = UNIVARIATE[kind](**named_of(layer))
        low, high = (float(np.broadcast_to(end, EVENT)[1, 2]) for end in twin.support())
        median = 0.0 if math.isfinite(low) else float(twin.median()[1, 2])
        t = np.linspace(-36.0, 36.0, 50_001)
        if math.isfinite(high):
            x = low + (high - low) * special.expit(t)
            measure = (high - low) * special.expit(t) * special.expit(-t)
        elif math.isfinite(low):
            x, measure = low + np.exp(t), np.exp(t)
        else:  # around the median, where a Laplace has its kink
            lower, median, upper = (float(twin.ppf(share)[1, 2]) for share in (0.25, 0.5, 0.75))
            x, measure = median + (upper - lower) * np.sinh(t), (upper - lower) * np.cosh(t)
        measure = measure * (t[1] - t[0])
    each = tf.exp(distribution.distribution.log_prob(x[:, np.newaxis, np.newaxis]))[:, 1, 2]
    # The trapezoid rule, at a kink 1e-7; beyond the grid lies less than 1e-6.
    assert float(tf.reduce_sum(each * measure)) == pytest.approx(1, abs=2e-6)


@every_layer
def test_draws_have_the_distribution(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    n, kind, named = 10_000, type(layer).__name__, named_of(layer)
    draws = draw(layer, params_of(layer), n).numpy()
    # Some 200 tests at 1e-6: a false alarm once in 5,000 choices of the seed.
    if kind in MULTIVARIATE:
        weights = np.vstack([np.eye(3), [[1, 1, 0]] if kind == "Dirichlet" else [[1, -2, 0.5]]])
        for axis in range(EVENT[0]):
            _, law = MULTIVARIATE[kind]({key: v[axis] for key, v in named.items()})
            for w in weights:
                assert stats.kstest(draws[:, axis] @ w, law(w).cdf).pvalue > 1e-6
    elif layer.support.discrete:
        for index in np.ndindex(EVENT):
            column = draws[(slice(None), *index)]
            highest = int(column.max())
            if kind == "Categorical":
                mass = special.softmax(named["logits"][index])[: highest + 1]
            else:
                oracle = UNIVARIATE[kind](**{key: v[index] for key, v in named.items()})
                mass = oracle.pmf(np.arange(highest + 1))
            count = np.bincount(column.astype(int), minlength=highest + 1)
            common = mass * n >= 5
            observed, expected = count[common], mass[common] * n
            rest = 1 - mass[common].sum()
            if rest * n >= 5:
                observed, expected = (
                    np.append(observed, n - observed.sum()),
                    np.append(expected, rest * n),
                )
            expected *= observed.sum() / expected.sum()
            assert len(observed) == 1 or stats.chisquare(observed, expected).pvalue > 1e-6
    else:
        uniform = UNIVARIATE[kind](**named).cdf(draws)
        for index in np.ndindex(EVENT):
            assert stats.kstest(uniform[(slice(None), *index)], "uniform").pvalue > 1e-6


@every_layer
def test_named_parameters_and_mean(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    if isinstance(layer, StandardNormal):
        pytest.skip("a prior has no parameters from a network")
    params, kind = params_of(layer), type(layer).__name__
    named, distribution = layer.parameters(params), layer(params)
    inner = getattr(distribution, "distribution", distribution)
    for key, value in named.items():
        assert value.shape[:1] == EVENT[:1]
        if key in inner.parameters and kind != "Rayleigh":  # a Weibull's scale is another
            np.testing.assert_array_equal(inner.parameters[key], value)
    mean = layer.mean(params)
    assert mean.shape == EVENT
    if kind == "Cauchy":
        truth = UNIVARIATE[kind](**named_of(layer)).median()
    elif kind == "Categorical":
        truth = special.softmax(named["logits"], axis=-1) @ np.arange(4)
    elif kind in MULTIVARIATE:
        truth = distribution.mean()
    else:
        truth = UNIVARIATE[kind](**named_of(layer)).mean()
    # The exponential integral of the Gompertz is good to 3e-7.
    np.testing.assert_allclose(mean, truth, rtol=5e-7, atol=1e-9)


@every_layer
@pytest.mark.parametrize("raw", [[-30.0], [30.0], [-30.0, -3.0, 0.0, 3.0, 30.0]], ids=len)
def test_everything_is_finite_at_extreme_outputs(name: str, raw: list[float]) -> None:
    layer = LAYERS[name]()
    if isinstance(layer, StandardNormal):
        pytest.skip("a prior has no parameters from a network")
    chosen = np.random.default_rng(1).choice(raw, (500, *layer.params_shape))
    params = tf.constant(chosen, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(params)
        draws = draw(layer, params, 10)
        log_prob = layer(params).log_prob(tf.stop_gradient(draws))
        mean = layer.mean(params)
        value = tf.reduce_sum(log_prob) + tf.reduce_sum(mean)
        if layer.reparameterised:
            value += tf.reduce_sum(draws)
    assert layer.support.outside(draws) == 0
    for tensor in (log_prob, mean, tape.gradient(value, params)):
        assert np.all(np.isfinite(tensor))


@every_posterior
def test_pathwise_gradient_against_finite_differences(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    params = params_of(layer, 1)
    if layer.noise is not None:
        theory, numeric = tf.test.compute_gradient(lambda p: draw(layer, p, 1)[0], [params])
        np.testing.assert_allclose(theory[0], numeric[0], rtol=2e-5, atol=2e-5)
        return
    # Implicit gradients of E[log x], against differences of its closed form: some 50 means at 5
    # standard errors, a false alarm once in 35,000 seeds.
    n = 20_000
    params = tf.tile(params, [n, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch(params)
        value = tf.reduce_sum(tf.math.log(draw(layer, params, 1)[0]))
    gradient = tape.gradient(value, params).numpy()
    truth = numeric_gradient(lambda p: float(tf.reduce_sum(mean_log(layer, p))), params[0].numpy())
    error = np.abs(gradient.mean(0) - truth)
    np.testing.assert_array_less(error, 5 * gradient.std(0) / math.sqrt(n) + 1e-7)


def mean_log(layer: DistributionLayer, params: Any) -> Any:
    """E[log x], in digammas: all of these are made of Gammas."""
    named = {key: value.numpy() for key, value in layer.parameters(tf.constant(params)).items()}
    psi = special.digamma
    match type(layer).__name__, list(named.values()):
        case "Gamma", [a, b]:
            return psi(a) - np.log(b)
        case "InverseGamma", [a, b]:
            return np.log(b) - psi(a)
        case "Chi2", [df]:
            return psi(df / 2) + math.log(2)
        case "F", [one, two]:
            return psi(one / 2) - psi(two / 2) + np.log(two / one)
        case "Beta", [a, b]:
            return psi(a) - psi(a + b)
        case "Dirichlet", [alpha]:
            return psi(alpha) - psi(alpha.sum(-1, keepdims=True))
    raise AssertionError(layer)


def numeric_gradient(function: Callable[[Any], float], at: Any, step: float = 1e-5) -> Any:
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[index] = step
        gradient[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return gradient


@every_layer
def test_never_below_float32(name: str, mixed_policy: str) -> None:
    layer = LAYERS[name]()
    params = params_of(layer, 2)
    half = None if params is None else tf.cast(params, keras.config.dtype_policy().compute_dtype)
    assert layer(half).dtype == tf.float32
    assert draw(layer, half, 1).dtype == tf.float32


@every_layer
def test_float64_under_its_policy(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    assert layer(params_of(layer, 2)).dtype == tf.float64
    assert draw(layer, params_of(layer, 2), 1).dtype == tf.float64


@every_layer
def test_compiled_by_xla(name: str) -> None:
    layer = LAYERS[name]()
    params = params_of(layer, 4)
    draws = draw(layer, params, 3)

    @tf.function(jit_compile=True)
    def compiled(params: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        # A sampler that nothing is trained through, such as TFP's for counts, need not compile.
        drawn = layer.noise is not None or layer.reparameterised
        return layer(params).log_prob(draws), draw(layer, params, 3) if drawn else draws

    log_prob, again = compiled(params)
    np.testing.assert_allclose(layer(params).log_prob(draws), log_prob, rtol=1e-4, atol=1e-4)
    if layer.noise is None:  # TFP's samplers give other draws when compiled
        assert layer.support.outside(again) == 0
    else:
        np.testing.assert_allclose(again, draws, rtol=1e-4, atol=1e-4)


def test_everything_that_an_export_needs_runs_in_onnx(tmp_path: Path) -> None:
    # In one graph, for conversion takes longer than all that it converts. A failure names the
    # operation, and with it the layer.
    made = {name: make() for name, make in LAYERS.items() if name != "standard_normal"}
    size = 64
    params = {name: params_of(layer, size) for name, layer in made.items()}
    noise = {
        name: tfvae.random.noise(layer.noise, 1, 1, size, layer.noise_shape)[0]
        for name, layer in made.items()
        if layer.noise is not None
    }

    def portable(*tensors: tf.Tensor) -> list[tf.Tensor]:
        raw, base = tensors[: len(params)], tensors[len(params) :]
        values = dict(zip(params, raw, strict=True))
        outputs = [made[name].mean(value) for name, value in values.items()]
        outputs += [v for name, p in values.items() for v in made[name].parameters(p).values()]
        outputs += [
            made[name].transform(n, values[name]) for name, n in zip(noise, base, strict=True)
        ]
        return [tf.identity(output) for output in outputs]

    tensors = [*params.values(), *noise.values()]
    signature = [
        tf.TensorSpec([None, *tensor.shape[1:]], tf.float32, name=f"input_{index}")
        for index, tensor in enumerate(tensors)
    ]
    path = tmp_path / "layers.onnx"
    tf2onnx.convert.from_function(
        tf.function(portable, input_signature=signature),
        input_signature=signature,
        opset=18,
        output_path=str(path),
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {f"input_{index}": tensor.numpy() for index, tensor in enumerate(tensors)}
    for expected, received in zip(portable(*tensors), session.run(None, feed), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


@every_layer
def test_configuration_round_trip(name: str) -> None:
    layer = LAYERS[name]()
    config = keras.saving.serialize_keras_object(layer)
    twin = keras.saving.deserialize_keras_object(config)
    assert type(twin) is type(layer)
    assert twin.get_config() == layer.get_config()
    assert twin.support == layer.support
    params = params_of(layer, 2)
    draws = draw(layer, params, 1)
    np.testing.assert_array_equal(layer(params).log_prob(draws), twin(params).log_prob(draws))


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
    assert Support.BINARY <= Support.COUNTS
    assert not Support.SIMPLEX <= Support.UNIT
    # End points carry no mass, and a strict subset leaves out more than these.
    assert Support.POSITIVE <= Support.NONNEGATIVE <= Support.POSITIVE
    assert not Support.POSITIVE < Support.NONNEGATIVE
    assert Support.OPEN_UNIT < Support.POSITIVE < Support.REAL
    assert Support.above(2.0) < Support.above(1.0)
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
