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
import tf2onnx
from oracles import ENUMERABLE, MULTIVARIATE, UNIVARIATE
from scipy import special, stats

import tfvae
from tfvae import layers
from tfvae.export.onnx.converters import HANDLERS
from tfvae.layers import Bernoulli, ContinuousBernoulli, DistributionLayer, Normal, Support
from tfvae.priors import StandardNormal

EVENT = (2, 3)
LAYERS: dict[str, Callable[[], DistributionLayer]] = {
    "bernoulli": lambda: Bernoulli(EVENT),
    "beta": lambda: layers.Beta(EVENT),
    "categorical": lambda: layers.Categorical(EVENT, classes=4),
    "cauchy": lambda: layers.Cauchy(EVENT),
    "chi2": lambda: layers.Chi2(EVENT),
    "concrete": lambda: layers.Concrete(EVENT),
    "continuous_bernoulli": lambda: ContinuousBernoulli(EVENT),
    "dirichlet": lambda: layers.Dirichlet(EVENT),
    "discretized_logistic": lambda: layers.DiscretizedLogistic(EVENT),
    "discretized_logistic_mixture": lambda: layers.DiscretizedLogisticMixture(
        EVENT, components=2, levels=4
    ),
    "erlang": lambda: layers.Erlang(EVENT, shape=3),
    "exponential": lambda: layers.Exponential(EVENT),
    "f": lambda: layers.F(EVENT),
    "gamma": lambda: layers.Gamma(EVENT),
    "gompertz": lambda: layers.Gompertz(EVENT),
    "gumbel": lambda: layers.Gumbel(EVENT),
    "iaf": lambda: layers.IAF(EVENT, steps=1, hidden=(8,), context=4),
    "inverse_gamma": lambda: layers.InverseGamma(EVENT),
    "kumaraswamy": lambda: layers.Kumaraswamy(EVENT),
    "laplace": lambda: layers.Laplace(EVENT),
    "log_normal": lambda: layers.LogNormal(EVENT),
    "logistic": lambda: layers.Logistic(EVENT),
    "low_rank_normal": lambda: layers.LowRankNormal(EVENT, rank=2),
    "maf": lambda: layers.MAF(EVENT, steps=1, hidden=(8,)),
    "mixture_of_gaussians": lambda: layers.MixtureOfGaussians(EVENT, components=3),
    "mixture_of_gaussians_full": lambda: layers.MixtureOfGaussians(
        EVENT, components=2, covariance="full"
    ),
    "multivariate_normal": lambda: layers.MultivariateNormal(EVENT),
    "multivariate_student_t": lambda: layers.MultivariateStudentT(EVENT, df=5),
    "negative_binomial": lambda: layers.NegativeBinomial(EVENT),
    "neural_spline": lambda: layers.NeuralSpline(EVENT, steps=1, bins=4, hidden=(8,), context=2),
    "normal": lambda: Normal(EVENT),
    "normal_learned": lambda: Normal(EVENT, scale="learned"),
    "normal_fixed": lambda: Normal(EVENT, scale=0.3),
    "one_hot_categorical": lambda: layers.OneHotCategorical(EVENT),
    "pareto": lambda: layers.Pareto(EVENT, lower=0.5),
    "planar": lambda: layers.Planar(EVENT, steps=1),
    "poisson": lambda: layers.Poisson(EVENT),
    "radial": lambda: layers.Radial(EVENT, steps=1),
    "power_spherical": lambda: layers.PowerSpherical(EVENT),
    "rayleigh": lambda: layers.Rayleigh(EVENT),
    "real_nvp": lambda: layers.RealNVP(EVENT, steps=2, hidden=(8,), context=2),
    "relaxed_bernoulli": lambda: layers.RelaxedBernoulli(EVENT),
    "reciprocal": lambda: layers.Reciprocal(EVENT),
    "standard_normal": lambda: StandardNormal(EVENT),
    "student_t": lambda: layers.StudentT(EVENT),
    "triangular": lambda: layers.Triangular(EVENT),
    "uniform": lambda: layers.Uniform(EVENT),
    "von_mises_fisher": lambda: layers.VonMisesFisher(EVENT),
    "weibull": lambda: layers.Weibull(EVENT),
    "zero_inflated_negative_binomial": lambda: layers.ZeroInflatedNegativeBinomial(EVENT),
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
    assert layer.noise is not None
    batch = [] if params is None else params.shape[: params.shape.rank - len(layer.params_shape)]
    shape, choices = layer.noise_shape, layer.choices
    noise = tfvae.random.noise(layer.noise, seed, n, math.prod(batch), shape, choices)
    return layer.transform(tf.reshape(noise, [n, *batch, *shape]), params)


def named_of(layer: DistributionLayer) -> dict[str, Any]:
    if isinstance(layer, StandardNormal):
        return {}
    return {key: value.numpy() for key, value in layer.parameters(params_of(layer)).items()}


def skip_without_twin(layer: DistributionLayer) -> None:
    if isinstance(layer, layers.FlowLayer):
        pytest.skip("SciPy has no flows: see tests/test_flows.py")
    if isinstance(layer, layers.Concrete):
        pytest.skip("SciPy has no Concrete: see tests/test_relaxed.py")


def test_every_class_has_a_row() -> None:
    tested = {type(make()).__name__ for make in LAYERS.values()}
    values = [getattr(layers, name) for name in dir(layers)]
    classes = {value.__name__ for value in values if isinstance(value, type)}
    # Points have no density on the line: test_quantized.py and test_relaxed.py have their contract.
    elsewhere = {"DistributionLayer", "FlowLayer", "FlowStep", "Support"}
    assert classes - elsewhere - {"VectorQuantizer", "Deterministic"} <= tested


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
    skip_without_twin(layer)
    distribution, kind = layer(params_of(layer)), type(layer).__name__
    draws = draw(layer, params_of(layer), 200)
    value, named = distribution.log_prob(draws).numpy(), named_of(layer)
    if kind == "Categorical":
        log_probability = special.log_softmax(named["logits"], axis=-1)[np.newaxis]
        index = draws.numpy().astype(int)[..., np.newaxis]
        truth = np.take_along_axis(log_probability, index, -1)[..., 0].sum((1, 2))
    elif kind in ENUMERABLE:
        truth = np.zeros(200)
        for axis, each in enumerate(by_axis(named)):
            points, mass, _ = ENUMERABLE[kind](each)
            truth += np.log(mass[nearest(points, draws.numpy()[:, axis])])
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


def by_axis(named: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the named parameters of each last axis."""
    return [{key: value[axis] for key, value in named.items()} for axis in range(EVENT[0])]


def nearest(points: Any, draws: Any) -> Any:
    """Return which of the points [m, d] each draw [n, d] is."""
    return np.abs(draws[:, np.newaxis] - points).sum(-1).argmin(1)


def step(support: Support) -> float:
    """Return how far apart the values of a discrete support lie."""
    return 1 / (support.points - 1) if support.points else 1.0


@every_layer
def test_log_prob_integrates_to_one(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    skip_without_twin(layer)
    distribution, kind = layer(params_of(layer)), type(layer).__name__
    if kind in MULTIVARIATE:
        # Importance sampling from SciPy's heavier-tailed twin, within 5 standard errors: a false
        # alarm once in 1.7 million seeds for each layer.
        n, rng = 20_000, np.random.default_rng(0)
        draws = draw(layer, params_of(layer), n).numpy()
        if kind == "Dirichlet":
            x = rng.dirichlet([0.6] * 3, (n, 2))
            proposal = sum(stats.dirichlet([0.6] * 3).logpdf(x[:, axis].T) for axis in (0, 1))
        elif layer.support.kind == "sphere":
            x = stats.uniform_direction(3, seed=rng).rvs((n, 2))
            proposal = -2 * math.log(4 * math.pi)
        else:
            twins = [
                stats.multivariate_t(draws[:, i].mean(0), np.cov(draws[:, i].T), 3) for i in (0, 1)
            ]
            x = np.stack([twin.rvs(n, random_state=rng) for twin in twins], axis=1)
            proposal = sum(twin.logpdf(x[:, axis]) for axis, twin in enumerate(twins))
        weight = np.exp(distribution.log_prob(x) - proposal)
        assert abs(weight.mean() - 1) < 5 * weight.std() / math.sqrt(n)
        return
    if kind in ENUMERABLE:
        for axis, named in enumerate(by_axis(named_of(layer))):
            points, _, _ = ENUMERABLE[kind](named)
            each = tf.exp(distribution.distribution.log_prob(points[:, np.newaxis]))
            assert float(tf.reduce_sum(each[:, axis])) == pytest.approx(1, abs=1e-9)
        return
    if layer.support.discrete:
        last = min(layer.support.bounds[1] / step(layer.support), 5000.0)
        x = step(layer.support) * np.arange(0.0, round(last) + 1)
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
    skip_without_twin(layer)
    n, kind, named = 10_000, type(layer).__name__, named_of(layer)
    draws = draw(layer, params_of(layer), n).numpy()
    # Some 200 tests at 1e-6: a false alarm once in 5,000 choices of the seed.
    if kind in MULTIVARIATE:
        weights = np.vstack([np.eye(3), [[1, 1, 0]] if kind == "Dirichlet" else [[1, -2, 0.5]]])
        for axis in range(EVENT[0]):
            _, law = MULTIVARIATE[kind]({key: v[axis] for key, v in named.items()})
            for w in weights:
                assert stats.kstest(draws[:, axis] @ w, law(w).cdf).pvalue > 1e-6
    elif kind in ENUMERABLE:
        for axis, each in enumerate(by_axis(named)):
            points, mass, _ = ENUMERABLE[kind](each)
            count = np.bincount(nearest(points, draws[:, axis]), minlength=len(mass))
            assert_frequencies(count, mass)
    elif layer.support.discrete:
        spacing = step(layer.support)
        for index in np.ndindex(EVENT):
            column = np.rint(draws[(slice(None), *index)] / spacing).astype(int)
            highest = column.max()
            if kind == "Categorical":
                mass = special.softmax(named["logits"][index])[: highest + 1]
            else:
                oracle = UNIVARIATE[kind](**{key: v[index] for key, v in named.items()})
                mass = oracle.pmf(spacing * np.arange(highest + 1))
            assert_frequencies(np.bincount(column, minlength=highest + 1), mass)
    else:
        uniform = UNIVARIATE[kind](**named).cdf(draws)
        for index in np.ndindex(EVENT):
            assert stats.kstest(uniform[(slice(None), *index)], "uniform").pvalue > 1e-6


def assert_frequencies(count: Any, mass: Any) -> None:
    """Test counts against probabilities by chi-square; values below five expected are pooled."""
    n = count.sum()
    common = mass * n >= 5
    observed, expected = count[common], mass[common] * n
    rest = 1 - mass[common].sum()
    if rest * n >= 5:
        observed = np.append(observed, n - observed.sum())
        expected = np.append(expected, rest * n)
    expected *= observed.sum() / expected.sum()
    assert len(observed) == 1 or stats.chisquare(observed, expected).pvalue > 1e-6


@every_layer
def test_named_parameters_and_mean(name: str, float64: None) -> None:
    layer = LAYERS[name]()
    skip_without_twin(layer)
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
    elif kind == "Concrete":  # what stands for the mean: how probable each class is as largest
        truth = special.softmax(named["logits"], axis=-1)
    elif kind in ENUMERABLE:
        truth = [ENUMERABLE[kind](each)[2] for each in by_axis(named_of(layer))]
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
    if type(layer).__name__ not in MEAN_STATISTIC:
        theory, numeric = tf.test.compute_gradient(lambda p: draw(layer, p, 1)[0], [params])
        np.testing.assert_allclose(theory[0], numeric[0], rtol=2e-5, atol=2e-5)
        return
    # Implicit gradients of E[log x], or of E[x] on the sphere, against differences of its closed
    # form: some 60 means at 5 standard errors, a false alarm once in 30,000 seeds.
    n, statistic = 20_000, tf.identity if layer.support.kind == "sphere" else tf.math.log
    params = tf.tile(params, [n, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch(params)
        value = tf.reduce_sum(statistic(draw(layer, params, 1)[0]))
    gradient = tape.gradient(value, params).numpy()
    truth = numeric_gradient(
        lambda p: float(tf.reduce_sum(mean_statistic(layer, p))), params[0].numpy()
    )
    error = np.abs(gradient.mean(0) - truth)
    np.testing.assert_array_less(error, 5 * gradient.std(0) / math.sqrt(n) + 1e-7)


PSI = special.digamma
# E[log x], in digammas, for nearly all are made of Gammas; on the sphere E[x].
MEAN_STATISTIC: dict[str, Callable[..., Any]] = {
    "Beta": lambda a, b: PSI(a) - PSI(a + b),
    "Chi2": lambda df: PSI(df / 2) + math.log(2),
    "Dirichlet": lambda alpha: PSI(alpha) - PSI(alpha.sum(-1, keepdims=True)),
    "F": lambda one, two: PSI(one / 2) - PSI(two / 2) + np.log(two / one),
    "Gamma": lambda a, b: PSI(a) - np.log(b),
    "InverseGamma": lambda a, b: np.log(b) - PSI(a),
    "PowerSpherical": lambda mu, kappa: mu * (kappa / (kappa + 2))[..., np.newaxis],
}


def mean_statistic(layer: DistributionLayer, params: Any) -> Any:
    named = {key: value.numpy() for key, value in layer.parameters(tf.constant(params)).items()}
    return MEAN_STATISTIC[type(layer).__name__](*named.values())


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


# Compiling takes seconds: one of each way to draw, and the others among the slow tests.
COMPILED = {
    "bernoulli", "categorical", "concrete", "discretized_logistic_mixture", "gamma", "iaf",
    "logistic", "mixture_of_gaussians_full", "multivariate_student_t", "normal", "student_t",
    "von_mises_fisher", "weibull", "zero_inflated_negative_binomial",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [name if name in COMPILED else pytest.param(name, marks=pytest.mark.slow) for name in LAYERS],
)
def test_compiled_by_xla(name: str) -> None:
    layer = LAYERS[name]()
    params = params_of(layer, 4)
    draws = draw(layer, params, 3)

    @tf.function(jit_compile=True)
    def compiled(params: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return layer(params).log_prob(draws), draw(layer, params, 3)

    log_prob, again = compiled(params)
    np.testing.assert_allclose(layer(params).log_prob(draws), log_prob, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again, draws, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_everything_that_an_export_needs_runs_in_onnx(part: int, tmp_path: Path) -> None:
    # Several layers in one graph, for each takes its time, and so does a large graph. A failure
    # names the operation, and with it the layer.
    names = [name for name in LAYERS if name != "standard_normal"][part::8]
    made, size = {name: LAYERS[name]() for name in names}, 64
    params = {name: params_of(layer, size) for name, layer in made.items()}
    noise = {
        name: tfvae.random.noise(layer.noise, 1, 1, size, layer.noise_shape, layer.choices)[0]
        for name, layer in made.items()
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
        custom_op_handlers=dict(HANDLERS),
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
