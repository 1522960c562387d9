"""The same seed, the same sample: Keras against ONNX Runtime, for every family that draws.

Integers are compared bit for bit; floats within 1e-5, of their own size where tails are heavy;
draws that noise picks among values apart may differ in one value of 100,000, and rows of discrete
latents in one of 10,000 (by `stranger.allowed_flips`, with a false alarm once in a million). What
follows from latents is compared on the rows where these agree, which is to force them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx

import tfvae
from tfvae import layers, priors, random
from tfvae.export import onnx as onnx_format
from tfvae.export import stranger
from tfvae.export.endpoints import endpoints

LATENT = (4,)
ROWS = 20_000


def session(model: Any, level: str = "ORT_ENABLE_ALL", threads: int = 0) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def decoder(units: int, shape: tuple[int, ...] = LATENT) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers_ = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(16, "tanh")]
    return keras.Sequential([*layers_, keras.layers.Dense(units)])


def compare(generator: Any, rows: int = ROWS) -> None:
    """Draw rows in Keras and in ONNX Runtime and compare them."""
    (endpoint,) = endpoints(generator, "generate")
    seeds = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, rows)
    truth = generator.generate(seeds=seeds)._asdict()
    expected = {name: np.asarray(value) for name, value in truth.items()}
    run = session(onnx_format.convert(endpoint))
    inputs = {"seed": seeds, "temperature": np.ones(rows, np.float32)}
    if len(endpoint.inputs) > len(inputs):
        inputs |= {k: v for k, v in endpoint.examples(rows).items() if k == "condition"}
    names = [output.name for output in run.get_outputs()]
    actual = dict(zip(names, run.run(names, inputs), strict=True))
    close = {
        name: np.abs(actual[name].astype(np.float64) - values)
        <= 1e-5 * np.maximum(np.abs(values), max(1.0, float(np.quantile(np.abs(values), 0.9))))
        for name, values in expected.items()
    }
    agree = close["z"].reshape(rows, -1).all(axis=1)
    apart = generator.prior.support.discrete or generator.prior.choices
    assert np.count_nonzero(~agree) <= (stranger.allowed_flips(rows, 1e-4) if apart else 0)
    assert close["mean"][agree].all()
    likelihood = generator.likelihood
    flips = np.count_nonzero(~close["sample"][agree])
    picked = likelihood.support.discrete or likelihood.choices
    assert flips <= (stranger.allowed_flips(close["sample"].size) if picked else 0)
    # Not one row over and over.
    assert len(np.unique(np.round(expected["z"].reshape(rows, -1), 3), axis=0)) > 1


# ---------------------------------------------------------------------------- integers


def test_words_are_tensorflows_bit_for_bit(tmp_path: Path) -> None:
    """At every optimisation level and thread count, against TensorFlow's own kernel."""
    seeds = np.array([0, -1, 2**63 - 1, -(2**63), *range(1, 61)], np.int64)
    counts = [(37, random.LATENT), (130, random.POSTERIOR)]

    def words(seed: tf.Tensor) -> list[tf.Tensor]:
        return [tf.cast(each, tf.int64) for each in random.row_streams(seed, counts)]

    model, _ = tf2onnx.convert.from_function(
        tf.function(words),
        input_signature=[tf.TensorSpec([None], tf.int64)],
        opset=18,
        custom_op_handlers=dict(onnx_format.HANDLERS),
    )
    oracle = [
        np.stack(
            [
                tf.random.stateless_uniform([n], [s, stream], None, None, tf.uint32, "philox")
                for s in seeds
            ]
        )
        for n, stream in counts
    ]
    levels = ["DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL"]
    for level, threads in itertools.product(levels, (1, 2, 5)):
        run = session(model, f"ORT_{level}", threads)
        name = run.get_inputs()[0].name
        for batch in (1, 3, 64):
            for actual, expected in zip(run.run(None, {name: seeds[:batch]}), oracle, strict=True):
                np.testing.assert_array_equal(actual, expected[:batch])
    # As TF Serving runs them.
    module = tf.Module()
    signature = tf.function(
        lambda seed: dict(zip("ab", words(seed), strict=True)),
        input_signature=[tf.TensorSpec([None], tf.int64, "seed")],
    )
    tf.saved_model.save(module, str(tmp_path), signatures=signature)
    with tf.Graph().as_default(), tf.compat.v1.Session() as served:
        meta = tf.compat.v1.saved_model.load(served, ["serve"], str(tmp_path))
        default = meta.signature_def["serving_default"]
        fetches = [default.outputs[name].name for name in "ab"]
        results = served.run(fetches, {default.inputs["seed"].name: seeds})
    for actual, expected in zip(results, oracle, strict=True):
        np.testing.assert_array_equal(actual, expected)


# ---------------------------------------------------------------------------- every family

PRIORS: dict[str, Callable[[], priors.Prior]] = {
    "standard_normal": lambda: priors.StandardNormal(LATENT),
    "mixture": lambda: priors.MixtureOfGaussians(LATENT, components=5),
    "uniform": lambda: priors.Uniform(LATENT, low=-1.0, high=2.0),
    "sphere": lambda: priors.HypersphericalUniform(LATENT),
    "codebook": lambda: priors.Codebook(layers.VectorQuantizer((3, 4), codes=8)),
    "vamp": lambda: tfvae.zoo.vamp_vae((6,), 4, hidden=(8,), components=7).prior,
    "conditional": lambda: priors.Conditional(
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(8)]), layers.Normal(LATENT)
    ),
    **{
        name: lambda name=name: priors.Parametric(getattr(layers, name)(LATENT))  # type: ignore[misc]
        for name in (
            *("Normal", "Laplace", "Logistic", "StudentT", "Cauchy", "Gumbel", "Kumaraswamy"),
            *("Exponential", "Erlang", "Rayleigh", "Weibull", "Gompertz", "Pareto", "Reciprocal"),
            *("Uniform", "Triangular", "LogNormal", "Gamma", "InverseGamma", "Chi2", "F", "Beta"),
            *("Dirichlet", "MultivariateNormal", "LowRankNormal", "MultivariateStudentT"),
            *("VonMisesFisher", "PowerSpherical", "Bernoulli", "OneHotCategorical", "Concrete"),
            *("RelaxedBernoulli", "Planar", "Radial", "IAF", "MAF", "RealNVP", "NeuralSpline"),
        )
    },
}
LIKELIHOODS: dict[str, Callable[[], layers.DistributionLayer]] = {
    name: lambda name=name: getattr(layers, name)((6,))  # type: ignore[misc]
    for name in (
        *("Bernoulli", "ContinuousBernoulli", "Normal", "Laplace", "Logistic", "StudentT"),
        *("Categorical", "DiscretizedLogistic", "MixtureOfGaussians", "Poisson"),
        *("NegativeBinomial", "ZeroInflatedNegativeBinomial", "Gamma", "Beta", "Dirichlet", "Chi2"),
    )
} | {
    "DiscretizedLogisticMixture": lambda: layers.DiscretizedLogisticMixture((2, 2, 3)),
}
# One of each way to draw by default; all of them among the slow tests.
BY_DEFAULT = {"mixture", "codebook", "Gamma", "Poisson"}


def cases(table: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(make, id=name, marks=() if name in BY_DEFAULT else pytest.mark.slow)
        for name, make in table.items()
    ]


@pytest.mark.parametrize("make", cases(PRIORS))
def test_prior(make: Callable[[], priors.Prior]) -> None:
    prior = make()
    generator = tfvae.Generator(decoder(6, prior.event_shape), "Bernoulli", prior)
    if prior.conditional:
        generator = Conditioned(generator.decoder, generator.likelihood, prior)
    compare(generator)


@pytest.mark.parametrize("make", cases(LIKELIHOODS))
def test_likelihood(make: Callable[[], layers.DistributionLayer]) -> None:
    likelihood = make()
    units = int(np.prod(likelihood.params_shape))
    network = keras.Sequential([decoder(units), keras.layers.Reshape(likelihood.params_shape)])
    compare(tfvae.Generator(network, likelihood))


class Conditioned(tfvae.Generator):
    """A conditional generator that makes up its conditions, as the endpoint's examples do."""

    def generate(self, n: int | None = None, *, seeds: Any = None, **options: Any) -> Any:
        rows = n if seeds is None else len(seeds)
        condition = np.random.default_rng(1).standard_normal((rows, 2)).astype("float32")
        return super().generate(n, seeds=seeds, **(options | {"condition": condition}))
