"""The composition matrix: every posterior, a prior that fits it, three objectives.

Each trains 20 steps without NaN, lowers its loss, and survives a `.keras` file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfvae
from tfvae import layers, priors
from tfvae.objectives import (
    ELBO,
    IWAE,
    MMD,
    VIMCO,
    CodeNorm,
    Commitment,
    Objective,
    Reconstruction,
    Renyi,
    ScoreFunction,
)

D = (4,)
Pair = tuple[layers.DistributionLayer, priors.Prior]


def standard(name: str, **options: Any) -> Callable[[], Pair]:
    """A posterior on the line, against the standard normal."""
    return lambda: (getattr(layers, name)(D, **options), priors.StandardNormal(D))


def own(name: str, shape: tuple[int, ...] = D, **options: Any) -> Callable[[], Pair]:
    """A posterior against a fixed prior of its own family."""
    make = getattr(layers, name)
    prior = lambda: priors.Parametric(make(shape, **options), learn=False)  # noqa: E731
    return lambda: (make(shape, **options), prior())


def against(name: str, prior: Callable[[], priors.Prior], **options: Any) -> Callable[[], Pair]:
    return lambda: (getattr(layers, name)(D, **options), prior())


def quantized() -> Pair:
    posterior = layers.VectorQuantizer((3, 4), codes=8)
    return posterior, priors.Codebook(posterior)


def vamp() -> Pair:
    posterior = layers.Normal(D)
    encoder = tfvae.networks.mlp_encoder((6, 5), posterior.params_shape, hidden=(16,))
    return posterior, priors.VampPrior(encoder, posterior, (6, 5), components=5, low=0, high=1)


COMPOSITIONS: dict[str, Callable[[], Pair]] = {
    **{
        name: standard(name)
        for name in (
            "Normal", "Laplace", "Logistic", "StudentT", "Cauchy", "Gumbel", "MultivariateNormal",
            "MultivariateStudentT", "LowRankNormal", "Planar", "Radial", "IAF", "MAF", "RealNVP",
            "NeuralSpline", "Uniform", "Triangular",
        )
    },
    **{
        name: own(name)
        for name in (
            "Exponential", "Rayleigh", "Pareto", "Weibull", "Gompertz", "Erlang",
            "Kumaraswamy", "LogNormal", "Gamma", "InverseGamma", "Dirichlet", "Beta", "Chi2", "F",
            "RelaxedBernoulli", "ContinuousBernoulli",
        )
    },
    "VonMisesFisher": against("VonMisesFisher", lambda: priors.HypersphericalUniform(D)),
    "PowerSpherical": against("PowerSpherical", lambda: priors.HypersphericalUniform(D)),
    "Concrete": own("Concrete", (2, 3)),
    "straight-through Bernoulli": own("Bernoulli", straight_through=True),
    "straight-through OneHotCategorical": own("OneHotCategorical", (2, 3), straight_through=True),
    "Reciprocal": against("Reciprocal", lambda: priors.Uniform(D, low=0.01, high=100.0)),
    "Beta, Uniform": against("Beta", lambda: priors.Uniform(D)),
    "Normal, learned": against("Normal", lambda: priors.Parametric(layers.Normal(D))),
    "Normal, mixture": against("Normal", lambda: priors.MixtureOfGaussians(D, components=3)),
    "Normal, Vamp": vamp,
    "Normal, RealNVP": against("Normal", lambda: priors.Parametric(layers.RealNVP(D))),
    "Normal, MAF": against("Normal", lambda: priors.Parametric(layers.MAF(D))),
    "Laplace, Laplace": own("Laplace"),
    "Logistic, Logistic": own("Logistic"),
    "IAF, mixture": against("IAF", lambda: priors.MixtureOfGaussians(D, components=3)),
    "VectorQuantizer": quantized,
    "Deterministic": standard("Deterministic"),
    "Bernoulli": own("Bernoulli"),
    "OneHotCategorical": own("OneHotCategorical", (2, 3)),
    "Categorical": own("Categorical", classes=3),
    "Poisson": own("Poisson"),
    "NegativeBinomial": own("NegativeBinomial"),
    "ZeroInflatedNegativeBinomial": own("ZeroInflatedNegativeBinomial"),
    "MixtureOfGaussians": against("MixtureOfGaussians", lambda: priors.StandardNormal(D)),
}  # fmt: skip

# One of each way to draw, beside what the other tests train.
DIAGONAL = {
    "MultivariateStudentT": 2, "IAF": 2, "Concrete": 1,
    "straight-through OneHotCategorical": 0, "Normal, Vamp": 1, "VectorQuantizer": 0,
    "Deterministic": 2, "Categorical": 1,
}  # fmt: skip


def objectives_for(posterior: Any) -> tuple[Objective, ...]:
    if isinstance(posterior, layers.VectorQuantizer):
        return ELBO() + 0.25 * Commitment(), IWAE(2) + Commitment(), Reconstruction() + Commitment()
    if not posterior.has_density:
        return Reconstruction(), Reconstruction() + 0.1 * CodeNorm(), Reconstruction() + MMD("imq")
    if not posterior.reparameterised:
        return ScoreFunction(3), VIMCO(3), ScoreFunction(1, baseline="batch")
    return ELBO(), IWAE(3, gradient="dreg"), Renyi(0.5, 3)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        pytest.param(
            name, index, marks=[] if DIAGONAL.get(name) == index else [pytest.mark.slow]
        )
        for name in COMPOSITIONS
        for index in range(3)
    ],
)  # fmt: skip
def test_twenty_steps(name: str, index: int, binary_images: Any, tmp_path: Path) -> None:
    posterior, prior = COMPOSITIONS[name]()
    nets = tfvae.networks
    encoder = getattr(prior, "encoder", None) or nets.mlp_encoder(
        (6, 5), posterior.params_shape, hidden=(16,)
    )
    # No prior is known to lie in an interval that moves with the data, and a warning says so.
    moving = posterior.support.moving
    warned = pytest.warns(UserWarning, match="moves") if moving else contextlib.nullcontext()
    with warned:
        vae = tfvae.VAE(
            encoder,
            nets.mlp_decoder(posterior.event_shape, (6, 5), hidden=(16,)),
            prior=prior,
            posterior=posterior,
            likelihood=layers.Bernoulli((6, 5)),
            objective=objectives_for(posterior)[index],
        )
    vae.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    before = [w.numpy() for w in vae.encoder.trainable_variables]
    start = vae.evaluate(binary_images, verbose=0, return_dict=True)["loss"]
    # A loss or gradient that is not finite stops `fit` with an error.
    history = vae.fit(binary_images, epochs=5, batch_size=16, verbose=0).history
    assert int(vae.step) == 20
    assert np.all(np.isfinite([v for values in history.values() for v in values]))
    after = [w.numpy() for w in vae.encoder.trainable_variables]
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))
    assert posterior.support.outside(vae.trace(binary_images[:8]).latents[0].z) == 0
    # `evaluate` draws the same noise before and after.
    assert vae.evaluate(binary_images, verbose=0, return_dict=True)["loss"] < start
    drawn = vae.generate(4)
    assert np.all(np.isfinite(drawn.mean))
    vae.save(tmp_path / "m.keras")
    with warned if not moving else pytest.warns(UserWarning, match="moves"):
        twin = tfvae.load_model(tmp_path / "m.keras")
    for ours, theirs in zip(drawn, twin.generate(4), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_matrix_holds_every_layer_that_can_be_a_posterior() -> None:
    names = {key.split(",")[0].removeprefix("straight-through ") for key in COMPOSITIONS}
    made = [
        cls
        for name in dir(layers)
        if isinstance(cls := getattr(layers, name), type)
        and issubclass(cls, layers.DistributionLayer)
        and cls not in (layers.DistributionLayer, layers.FlowLayer)
    ]
    others = {"DiscretizedLogistic", "DiscretizedLogisticMixture"}  # of 8-bit images
    assert {cls.__name__ for cls in made} - names == others
