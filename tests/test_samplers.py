"""Draws by rejection and by inversion, over the whole range of their parameters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx
from oracles import UNIVARIATE
from scipy import integrate, special, stats
from test_layers import assert_frequencies, draw

import tfvae
from tfvae import layers, priors
from tfvae.export.onnx.converters import HANDLERS
from tfvae.layers import DistributionLayer, rejection
from tfvae.layers.counting import poisson_quantile
from tfvae.layers.discrete import LOG_RATE
from tfvae.layers.numerics import normal_quantile

# From the least total count of a negative binomial to the greatest concentration, and beyond.
CONCENTRATIONS = np.array([0.01, 0.3, 0.5, 1.0, 2.0, 10.0, 100.0, 1e3, 1e4])
ENDS = (2.0**-24, 1.0 - 2.0**-24)


def gamma_noise(n: int, seed: int = 0, count: int = len(CONCENTRATIONS)) -> tuple[Any, Any]:
    """Return n rows of uniforms and of normals for so many draws."""
    choices, total = 6 * count, 11 * count
    noise = tfvae.random.noise("normal", seed, 1, n, (total,), choices)[0]
    return noise[:, :choices], noise[:, choices:]


def raw_of(layer: DistributionLayer, *values: float) -> tf.Tensor:
    """Return raw outputs [1, blocks] at which the bounds of a layer of one value give these."""
    bounds = {
        "NegativeBinomial": (LOG_RATE, layers.NegativeBinomial._count),
        "Poisson": (LOG_RATE,),
    }.get(type(layer).__name__) or tuple(layer.bounds.values())
    raw = [bound.inverse(value) for bound, value in zip(bounds, values, strict=True)]
    return tf.constant(np.stack(raw)[np.newaxis], tf.float32)


# ---------------------------------------------------------------- rejection


def test_gamma_draws_have_their_law_over_the_whole_range() -> None:
    choices, normals = gamma_noise(50_000)
    draws = np.exp(rejection.log_gamma_draws(choices, normals, tf.constant(CONCENTRATIONS)))
    # Nine tests at 1e-6: a false alarm once in 100,000 choices of the seed.
    for column, concentration in zip(draws.T, CONCENTRATIONS, strict=True):
        assert stats.kstest(column, stats.gamma(concentration).cdf).pvalue > 1e-6


def test_proposals_are_accepted_as_often_as_they_should_be() -> None:
    # The integral over all proposals is that of the Gamma's density over its greatest ratio.
    accepted = []
    for alpha in CONCENTRATIONS + rejection.BOOSTS:
        d = alpha - 1 / 3
        x = np.linspace(-12, 12, 20_001)
        y = np.maximum(x / math.sqrt(9 * d), -0.9999999)
        ours = np.exp(3 * d * rejection._remainder(tf.constant(y)).numpy())
        mean = integrate.trapezoid(stats.norm.pdf(x) * ours, x)
        log_truth = (
            special.gammaln(alpha) + d - 0.5 * math.log(2 * math.pi) - ((alpha - 0.5) * math.log(d))
        )
        assert mean == pytest.approx(math.exp(log_truth), abs=1e-7)
        accepted.append(math.exp(log_truth))
    failed = (1 - np.array(accepted)) ** rejection.PROPOSALS
    # What the module states, from 0.01, 0.3 and 10 on.
    assert np.all(np.diff(failed) < 0)
    assert failed[0] < 2.5e-9
    assert failed[1] < 9e-10
    assert failed[5] < 1e-13


def test_the_first_accepted_normal_is_taken_and_the_last_untested() -> None:
    normals = tf.constant([[0.1], [0.2], [0.3], [0.4], [0.5]])
    alpha = tf.constant([1.0])
    rejected, accepted = ENDS[1], 0.5
    for first in range(rejection.PROPOSALS):
        # Of all normals, -3.9 alone is improbable enough for its test to fail at 1/2.
        proposals = tf.concat([tf.fill([first, 1], -3.9), normals[first:]], axis=0)
        tests = tf.fill([rejection.TESTS, 1], accepted)
        chosen = rejection._accepted(tests, proposals, alpha)
        assert float(chosen[0]) == pytest.approx(0.1 * (first + 1))
    none = rejection._accepted(tf.fill([4, 1], rejected), tf.fill([5, 1], -3.9), alpha)
    assert float(none[0]) == pytest.approx(-3.9)


@pytest.mark.parametrize("normal", [-6.7, 0.0, 6.7])
@pytest.mark.parametrize("test", ENDS)
@pytest.mark.parametrize("boost", ENDS)
def test_draws_at_the_ends_of_the_noise_are_finite(
    normal: float, test: float, boost: float
) -> None:
    alpha = tf.constant(CONCENTRATIONS[1:], tf.float32)  # as layers have them: from 0.3 on
    count = len(alpha)
    choices = tf.concat([tf.fill([4 * count], test), tf.fill([2 * count], boost)], axis=0)
    with tf.GradientTape() as tape:
        tape.watch(alpha)
        draws = tf.exp(rejection.log_gamma_draws(choices, tf.fill([5 * count], normal), alpha))
    assert np.all(np.isfinite(draws))
    assert np.all(draws > 0)
    assert np.all(np.isfinite(tape.gradient(draws, alpha)))


def test_implicit_gradients_are_those_of_the_distribution_function() -> None:
    alpha = tf.constant(CONCENTRATIONS[1:])
    choices, normals = gamma_noise(500, count=len(alpha))

    def draws_and_slopes() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            each = tf.tile(alpha[tf.newaxis], [500, 1])
            tape.watch(each)
            log_draws = rejection.log_gamma_draws(choices, normals, each)
        return log_draws, tape.gradient(log_draws, each)

    log_draws, slopes = (value.numpy() for value in draws_and_slopes())
    a, z = alpha.numpy(), np.exp(log_draws)
    # -(dF / da) / (z p), the derivative by differences of SciPy's, in the nearer tail.
    step = 1e-4 * np.sqrt(a) * np.minimum(1, np.sqrt(a))
    lower = special.gammainc(a + step, z) - special.gammainc(a - step, z)
    upper = special.gammaincc(a - step, z) - special.gammaincc(a + step, z)
    change = np.where(special.gammainc(a, z) < 0.5, lower, upper) / (2 * step)
    truth = -change / np.exp(stats.gamma(a).logpdf(z) + log_draws)
    # Differences lose some 1e-8 / 1e-4 of SciPy's 1e-12 in the tails, and their step costs 1e-8.
    np.testing.assert_allclose(slopes, truth, rtol=2e-4)
    assert np.median(np.abs(slopes / truth - 1)) < 1e-6
    for compiled in (
        tf.function(draws_and_slopes, jit_compile=True)(),
        tf.function(draws_and_slopes)(),
    ):
        np.testing.assert_allclose(compiled[0], log_draws, atol=1e-9)
        np.testing.assert_allclose(compiled[1], slopes, rtol=1e-5)


def test_a_graph_that_only_draws_holds_no_gradient() -> None:
    layer = layers.Gamma((3,))
    specs = [tf.TensorSpec([None, *shape]) for shape in (layer.noise_shape, layer.params_shape)]
    graph = tf.function(layer.transform, input_signature=specs).get_concrete_function().graph
    assert "RandomGammaGrad" not in {operation.type for operation in graph.get_operations()}


MADE_OF_GAMMAS: dict[str, tuple[tuple[float, ...], ...]] = {
    "Gamma": ((0.301, 1e-3), (0.301, 999.0), (999.0, 1.0)),
    "InverseGamma": ((1.101, 1.0), (999.0, 1e-3)),
    "Chi2": ((0.601,), (999.0,)),
    "F": ((1.001, 2.101), (999.0, 2.101), (1.001, 999.0), (999.0, 999.0)),
    "Beta": ((0.501, 0.501), (0.501, 999.0), (999.0, 999.0), (1.0, 0.501)),
}


@pytest.mark.parametrize("name", MADE_OF_GAMMAS)
def test_at_the_bounds_of_their_parameters(name: str, float64: None) -> None:
    layer = getattr(layers, name)((1,))
    for values in MADE_OF_GAMMAS[name]:
        params = tf.cast(raw_of(layer, *values), tf.float64)
        named = {key: value.numpy()[0] for key, value in layer.parameters(params).items()}
        np.testing.assert_allclose([float(value[0]) for value in named.values()], values, rtol=1e-5)
        draws = draw(layer, params, 20_000).numpy()[:, 0, 0]
        # 15 tests at 1e-6: a false alarm once in 66,000 choices of the seed.
        assert stats.kstest(draws, UNIVARIATE[name](**named).cdf).pvalue > 1e-6


# ---------------------------------------------------------------- counts


def test_the_normal_quantile_against_scipy() -> None:
    tails = (np.arange(4096) + 0.5) * 2.0**-23
    uniform = np.concatenate([tails, np.linspace(tails[-1], 0.49, 5000)])
    uniform = np.concatenate([uniform, 1 - uniform])
    got = normal_quantile(tf.constant(uniform)).numpy()
    np.testing.assert_allclose(got, special.ndtri(uniform), rtol=2e-7)


@pytest.mark.parametrize(
    ("rate", "error"),
    [
        *[(rate, 1e-12) for rate in (0.0, math.exp(-10), 0.01, 1.0, 5.0, 9.999)],
        *[(rate, 8e-6) for rate in (10.0, 11.3, 13.0)],
        *[(rate, 2e-6) for rate in (20.0, 30.0, 50.0)],
        *[(rate, 1e-7) for rate in (100.0, 1e3, 2e4, math.exp(10))],
    ],
)
def test_poisson_counts_change_where_the_distribution_function_says(
    rate: float, error: float
) -> None:
    # Every count that a uniform in steps of 2^-23 can tell: at F(k) - error it is k or less, at
    # F(k) + error it is more.
    law = stats.poisson(rate)
    counts = np.arange(law.ppf(2.0**-24), law.ppf(1 - 2.0**-24) + 1)
    edges = law.cdf(counts)
    for uniform, above in ((edges - error, False), (edges + error, True)):
        inside = (uniform >= ENDS[0]) & (uniform <= ENDS[1])
        drawn = poisson_quantile(tf.constant(uniform[inside]), tf.constant(rate, tf.float64))
        assert np.all((drawn.numpy() > counts[inside]) == above)
    ends = poisson_quantile(tf.constant(ENDS, tf.float64), tf.constant(rate, tf.float64)).numpy()
    assert ends[0] <= counts[0] + 1
    assert ends[1] >= counts[-1] - 1


RATES = (0.01, 1.0, 5.0, 30.0, 1000.0, 20_000.0)


@pytest.mark.parametrize("rate", RATES)
def test_counts_have_the_exact_probabilities(rate: float) -> None:
    # By chi-square, and by Kolmogorov-Smirnov of the distribution function with its steps filled
    # in: 6 rates, for each 2 (1 + 4) tests at 1e-6, a false alarm once in 16,000 seeds.
    poisson, binomial = layers.Poisson((1,)), layers.NegativeBinomial((1,))
    cases: list[tuple[DistributionLayer, tuple[float, ...]]] = [
        (poisson, (math.log(rate),)),
        *[(binomial, (math.log(rate), count)) for count in (0.0101, 0.5, 20.0, 9990.0)],
    ]
    within = np.random.default_rng(0).random(100_000)
    for layer, values in cases:
        raw = raw_of(layer, *values)
        drawn = draw(layer, raw, len(within)).numpy()[:, 0, 0].astype(int)
        named = {key: float(value[0, 0]) for key, value in layer.parameters(raw).items()}
        law = UNIVARIATE[type(layer).__name__](**named)
        filled = law.cdf(drawn - 1) + within * law.pmf(drawn)
        assert stats.kstest(filled, "uniform").pvalue > 1e-6
        if drawn.max() < 300_000:  # beyond, hardly any count is drawn twice
            assert_frequencies(np.bincount(drawn), law.pmf(np.arange(drawn.max() + 1)))


@pytest.mark.parametrize("logit", [-9.0, 0.0, 9.0])
def test_zeros_of_their_own_leave_the_other_counts_as_they_are(logit: float) -> None:
    layer = layers.ZeroInflatedNegativeBinomial((1,))
    raw = tf.concat(
        [raw_of(layers.NegativeBinomial((1,)), math.log(20.0), 5.0), [[logit]]], axis=-1
    )
    drawn = draw(layer, raw, 200_000).numpy()[:, 0, 0].astype(int)
    named = {key: value.numpy().astype(float) for key, value in layer.parameters(raw).items()}
    law = UNIVARIATE["ZeroInflatedNegativeBinomial"](**named)
    mass = np.ravel(law.pmf(np.arange(drawn.max() + 1)))
    assert_frequencies(np.bincount(drawn), mass)


# ---------------------------------------------------------------- as priors, and elsewhere

COUNTS = ("Poisson", "NegativeBinomial", "ZeroInflatedNegativeBinomial")


@pytest.mark.parametrize("name", [*MADE_OF_GAMMAS, *COUNTS])
@pytest.mark.parametrize("raw", [-3.0, 0.0, 3.0])
def test_without_temperature_draws_are_central(name: str, raw: float) -> None:
    prior = priors.Parametric(getattr(layers, name)((2,)), learn=False)
    prior.raw.assign(tf.fill(prior.raw.shape, raw))
    noise = tfvae.random.noise(prior.noise, 0, 1, 50, prior.noise_shape, prior.choices)[0]
    draws = prior.transform(prior.tempered(noise, tf.zeros([50, 1])), None).numpy()
    np.testing.assert_allclose(draws, np.broadcast_to(draws[0], draws.shape), rtol=1e-6)
    named = {key: value.numpy() for key, value in prior.layer.parameters(prior.raw).items()}
    law = UNIVARIATE[name](**named)
    # Not the median exactly, but nearer to it than to either end.
    assert np.all(law.cdf(draws[0]) > 0.25)
    assert np.all(law.cdf(draws[0] - (1 if prior.support.discrete else 0)) < 0.75)
    hot = prior.transform(prior.tempered(noise, tf.fill([50, 1], 3.0)), None)
    assert prior.support.outside(hot) == 0


def test_without_temperature_a_power_spherical_draw_is_its_mean_direction() -> None:
    prior = priors.Parametric(layers.PowerSpherical((3,)), values={"concentration": 5.0})
    noise = tfvae.random.noise(prior.noise, 0, 1, 50, prior.noise_shape, prior.choices)[0]
    draws = prior.transform(prior.tempered(noise, tf.zeros([50, 1])), None)
    direction = prior.layer.parameters(prior.raw)["mean_direction"]
    np.testing.assert_allclose(draws, np.broadcast_to(direction, [50, 3]), atol=1e-6)


@pytest.mark.parametrize(
    "names",
    [
        ("Beta", "ZeroInflatedNegativeBinomial"),
        pytest.param(("Gamma", "InverseGamma", "Chi2", "F"), marks=pytest.mark.slow),
        pytest.param(
            ("Dirichlet", "PowerSpherical", "Poisson", "NegativeBinomial"), marks=pytest.mark.slow
        ),
    ],
    ids="-".join,
)
def test_runtimes_draw_the_same(names: tuple[str, ...], tmp_path: Path) -> None:
    # 100,000 draws of each: continuous ones alike to 1e-5 and counts alike, but for one of them
    # that took another proposal or lay at a step.
    n = 25_000
    made = [getattr(layers, name)((4,)) for name in names]
    noise = [
        tfvae.random.noise(each.noise, 2, 1, n, each.noise_shape, each.choices)[0] for each in made
    ]
    rng = np.random.default_rng(0)
    raw = [rng.normal(0, 8, (n, *each.params_shape)).astype(np.float32) for each in made]

    def transforms(*tensors: tf.Tensor) -> list[tf.Tensor]:
        pairs = zip(made, tensors[: len(made)], tensors[len(made) :], strict=True)
        return [tf.identity(layer.transform(base, params)) for layer, base, params in pairs]

    tensors = [*noise, *raw]
    signature = [
        tf.TensorSpec([None, value.shape[1]], name=f"input_{index}")
        for index, value in enumerate(tensors)
    ]
    function = tf.function(transforms, input_signature=signature)
    path = tmp_path / "samplers.onnx"
    tf2onnx.convert.from_function(
        function,
        input_signature=signature,
        opset=18,
        custom_op_handlers=dict(HANDLERS),
        output_path=str(path),
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    received = session.run(None, {f"input_{i}": np.asarray(v) for i, v in enumerate(tensors)})
    for layer, ours, theirs in zip(made, function(*tensors), received, strict=True):
        # Relative to a value, or on the sphere to the length of a point.
        floor = 1e-5 if layer.support.kind == "sphere" else 0.0
        close = ours == theirs if layer.support.discrete else np.isclose(theirs, ours, 1e-5, floor)
        assert np.count_nonzero(~np.asarray(close)) <= 1
