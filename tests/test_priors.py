"""Priors: one contract for all, and learned or fixed parameters against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import tfvae
from tfvae import layers
from tfvae.priors import HypersphericalUniform, Parametric, Prior, StandardNormal

tfd = tfp.distributions

PRIORS: dict[str, Callable[[], Prior]] = {
    "standard_normal": lambda: StandardNormal((3,)),
    "normal": lambda: Parametric(layers.Normal((3,)), values={"loc": [-1, 0, 2], "scale": 0.5}),
    "laplace_fixed": lambda: Parametric(layers.Laplace((3,)), learn=False, values={"scale": 2.0}),
    "full_covariance": lambda: Parametric(layers.MultivariateNormal((3,))),
    "gamma": lambda: Parametric(
        layers.Gamma((3,)), values={"concentration": 2.0, "rate": [1.0, 2.0, 4.0]}
    ),
    "dirichlet": lambda: Parametric(layers.Dirichlet((3,))),
    "hyperspherical_uniform": lambda: HypersphericalUniform((3,)),
    "von_mises_fisher": lambda: Parametric(
        layers.VonMisesFisher((3,)), values={"concentration": 5.0}
    ),
}
every_prior = pytest.mark.parametrize("name", PRIORS)


@every_prior
def test_contract(name: str) -> None:
    prior = PRIORS[name]()
    distribution = prior(None)
    assert (distribution.batch_shape, distribution.event_shape) == ((), (3,))
    draws = distribution.sample(7, seed=[0, 1])
    assert prior.support.outside(draws) == 0
    assert np.all(np.isfinite(distribution.log_prob(draws)))
    assert prior.params_shape == ()


@every_prior
def test_transform_draws_from_the_prior(name: str) -> None:
    prior = PRIORS[name]()
    assert prior.noise is not None
    noise = tfvae.random.noise(prior.noise, 1, 1, 20_000, prior.noise_shape, prior.choices)[0]
    draws = prior.transform(noise, None).numpy()
    distribution = prior(None)
    # Three means for each of eight priors at 5 sigma: a false alarm once in 73,000 seeds.
    error = draws.std(0) / np.sqrt(20_000)
    np.testing.assert_array_less(np.abs(draws.mean(0) - distribution.mean()), 5 * error)


@every_prior
def test_configuration_round_trip(name: str) -> None:
    prior = PRIORS[name]()
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    assert twin.get_config() == prior.get_config()
    np.testing.assert_array_equal(twin(None).mean(), prior(None).mean())
    assert len(twin.trainable_weights) == len(prior.trainable_weights)


def test_values_are_the_parameters() -> None:
    prior = PRIORS["gamma"]()
    expected = stats.gamma(2.0, scale=1 / np.array([1.0, 2.0, 4.0])).logpdf(0.7).sum()
    assert float(prior(None).log_prob(tf.fill([3], 0.7))) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(PRIORS["normal"]()(None).mean(), [-1, 0, 2], atol=1e-5)
    np.testing.assert_allclose(PRIORS["normal"]()(None).stddev(), 0.5, rtol=1e-5)
    sphere = PRIORS["von_mises_fisher"]()(None)
    assert float(sphere.concentration) == pytest.approx(5.0, rel=1e-5)


def test_a_learned_prior_finds_the_aggregate_posterior(tmp_path: Path) -> None:
    # With the encoder and the likelihood out of the way, the prior that maximises the ELBO is
    # the mixture's moment match: here, mean 1.5 and variance 0.3^2 + 0.4^2.
    rng = np.random.default_rng(0)
    centres = rng.normal(1.5, 0.4, (512, 2)).astype("float32")
    encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    raw = np.log(np.expm1(0.3 - 1e-4))
    encoder.set_weights([np.eye(2, 4), np.array([0, 0, raw, raw])])
    encoder.trainable = False
    vae = tfvae.zoo.vae(
        (2,), 2, encoder=encoder, hidden=(), likelihood="Normal",
        prior=Parametric(layers.Normal((2,)), values={"scale": 1.0}),
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(2e-2), jit_compile=False)
    vae.fit(centres, epochs=150, verbose=0)
    # Adam at this rate wanders by about its step: 0.05 is 2.5 steps.
    np.testing.assert_allclose(vae.prior(None).mean(), centres.mean(0), atol=0.05)
    expected = np.sqrt(centres.var(0) + 0.09)
    np.testing.assert_allclose(vae.prior(None).stddev(), expected, atol=0.05)
    vae.save(tmp_path / "m.keras")
    loaded = tfvae.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.prior(None).mean(), vae.prior(None).mean())
    np.testing.assert_array_equal(loaded.generate(3).z, vae.generate(3).z)


@pytest.mark.parametrize("family", ["Gamma", "Dirichlet", "Beta", "LogNormal", "Kumaraswamy"])
def test_posteriors_of_any_support_train_against_their_own_family(
    family: str, binary_images: Any
) -> None:
    posterior = getattr(layers, family)((3,))
    vae = tfvae.zoo.vae(
        (6, 5), 3, hidden=(16,), posterior=posterior,
        prior=Parametric(getattr(layers, family)((3,)), learn=False),
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    history = vae.fit(binary_images, epochs=8, batch_size=16, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    if family != "Kumaraswamy":  # no closed form between two of them, so its estimate may be < 0
        assert history["kl"][-1] >= 0


def test_temperature_draws_nearer_to_the_median() -> None:
    vae = tfvae.zoo.vae(
        (4,), 3, hidden=(), prior=Parametric(layers.Laplace((3,)), values={"loc": 1.0})
    )
    whole = vae.generate(5000, seed=0).z.numpy()
    cool = vae.generate(5000, seed=0, temperature=0.5).z.numpy()
    still = vae.generate(3, temperature=0.0).z.numpy()
    np.testing.assert_allclose(still, 1.0, atol=1e-5)
    assert np.all((cool - 1) * (whole - 1) >= -1e-5)  # on the same side of the median
    assert np.all(np.abs(cool - 1) <= np.abs(whole - 1) + 1e-5)
    assert np.all(np.isfinite(vae.generate(5000, temperature=3.0).z))


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="`layer` to be a distribution layer"):
        Parametric(StandardNormal((3,)))
    with pytest.raises(ValueError, match=r"concentration, rate.*Received: 'shape'"):
        Parametric(layers.Gamma((3,)), values={"shape": 2.0})
    with pytest.raises(ValueError, match=r"within the bounds of Gamma.*-1\.0"):
        Parametric(layers.Gamma((3,)), values={"rate": -1.0})
    with pytest.raises(ValueError, match="covers the posterior's support"):
        tfvae.zoo.vae((4,), 3, prior=Parametric(layers.Gamma((3,))))
