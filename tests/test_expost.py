"""Priors fitted after training: to closed forms, beside the old model, through save and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfvae
from tfvae import layers, priors
from tfvae.objectives import Reconstruction

CENTRES = np.array([[-3.0, 0.0], [3.0, 1.0], [0.0, 4.0]], "float32")


@pytest.fixture(scope="module")
def trained() -> tuple[tfvae.VAE, Any]:
    """A model whose aggregate posterior is known: z = x + 0.1 ε, and x is in three clusters."""
    rng = np.random.default_rng(0)
    x = CENTRES[rng.integers(0, 3, 600)] + rng.normal(0, 0.4, (600, 2)).astype("float32")
    encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    raw = np.log(np.expm1(0.1 - 1e-4))
    encoder.set_weights([np.eye(2, 4), np.array([0, 0, raw, raw])])
    vae = tfvae.zoo.vae((2,), 2, encoder=encoder, hidden=(), likelihood="Normal")
    vae.compile("adam", jit_compile=False)
    return vae, x


def truth(z: Any, x: Any) -> Any:
    """Return the log-density of the aggregate posterior itself, the best that a prior can do."""
    square = np.sum((z[:, None] - x[None]) ** 2, axis=-1) / 0.1**2
    top = (-0.5 * square).max(1)
    mean = np.mean(np.exp(-0.5 * square - top[:, None]), axis=1)
    return top + np.log(mean) - np.log(2 * np.pi * 0.1**2)


def test_expectation_maximisation_finds_the_clusters(trained: Any) -> None:
    vae, x = trained
    before = [w.copy() for w in vae.get_weights()]
    given = priors.MixtureOfGaussians((2,), components=3, covariance="full")
    start = given.raw.numpy()
    new = vae.fit_prior(x, given)
    parts = new.prior(None)
    order = np.argsort(parts.components_distribution.mean().numpy()[:, 0])
    centres = parts.components_distribution.mean().numpy()[order]
    # 200 points a cluster: standard errors of 0.03.
    np.testing.assert_allclose(centres, CENTRES[np.argsort(CENTRES[:, 0])], atol=0.15)
    variances = parts.components_distribution.variance().numpy()
    np.testing.assert_allclose(variances, 0.4**2 + 0.1**2, rtol=0.25)
    # The old model and the prior that was given stay as they are.
    assert isinstance(vae.prior, priors.StandardNormal)
    for old, now in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    np.testing.assert_array_equal(given.raw, start)
    assert new.encoder is not vae.encoder
    np.testing.assert_array_equal(new.encode(x).mean(), vae.encode(x).mean())


@pytest.mark.slow
def test_each_family_comes_nearer_to_the_aggregate_posterior(trained: Any) -> None:
    vae, x = trained
    rng = np.random.default_rng(1)
    z = (x[:500] + rng.normal(0, 0.1, (500, 2))).astype("float32")
    best = truth(z, x).mean()
    gap = {"standard": best - np.mean(vae.prior(None).log_prob(z))}
    for family in ("normal", "mixture", "flow"):
        new = vae.fit_prior(x, family, epochs=6, learning_rate=5e-3)
        gap[family] = best - np.mean(new.prior(None).log_prob(z))
        draws = new.generate(2000, seed=1).z.numpy()
        assert np.abs(draws.mean(0) - x.mean(0)).max() < 0.3
    # The maximum likelihood normal is known; no smooth density reaches the mean of 600 spikes.
    closed = best - np.mean(
        tfp.distributions.MultivariateNormalTriL(
            x.mean(0), np.linalg.cholesky(np.cov(x.T) + 0.01 * np.eye(2)).astype("f4")
        ).log_prob(z)
    )  # fmt: skip
    assert gap["normal"] == pytest.approx(closed, abs=0.03)
    assert gap["mixture"] < gap["flow"] + 0.2 < gap["normal"] - 0.2 < gap["standard"]


@pytest.mark.slow
def test_the_new_model_is_evaluated_saved_trained_and_exported(
    trained: Any, tmp_path: Path
) -> None:
    vae, x = trained
    new = vae.fit_prior(x, "mixture")
    old_bound = tfvae.evaluate.log_marginal(vae, x[:100], samples=200).mean()
    assert tfvae.evaluate.log_marginal(new, x[:100], samples=200).mean() > old_bound + 0.5
    new.fit(x, epochs=1, verbose=0)
    new.save(tmp_path / "m.keras")
    twin = tfvae.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(twin.generate(5).sample, new.generate(5).sample)
    published = twin.export(tmp_path / "models")
    rows = tfvae.export.load(published).generate(seeds=range(5))
    np.testing.assert_allclose(rows["z"], new.generate(5).z, atol=1e-5)


@pytest.mark.slow
def test_a_second_stage_draws_and_reports_no_bound(trained: Any, tmp_path: Path) -> None:
    vae, x = trained
    new = vae.fit_prior(x, "vae", epochs=12, learning_rate=3e-3)
    assert new.objective == Reconstruction()
    draws = new.generate(3000, seed=5).z.numpy()
    distance = np.linalg.norm(draws[:, None] - CENTRES, axis=-1)
    # Three clusters of radius 0.6: a standard normal puts a fifth of its draws near them.
    assert np.mean(distance.min(1) < 1.5) > 0.7
    assert np.all(np.bincount(distance.argmin(1), minlength=3) > 300)
    assert set(new.evaluate(x, return_dict=True, verbose=0)) == {"loss", "log_likelihood"}
    with pytest.raises(ValueError, match=r"prior has a density.*SecondStage"):
        tfvae.evaluate.log_marginal(new, x[:10], samples=2)
    new.fit(x, epochs=1, verbose=0)  # no gradient reaches the second stage, and none is missed
    new.save(tmp_path / "m.keras")
    twin = tfvae.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(twin.generate(5).z, new.generate(5).z, atol=1e-5)
    twin.fit(x, epochs=1, verbose=0)
    assert new.prior(None).sample(4, seed=[0, 1]).shape == (4, 2)


def test_a_point_posterior_gets_a_prior(binary_images: Any) -> None:
    vae = tfvae.zoo.vae(
        (6, 5), 3, hidden=(16,), posterior="Deterministic", objective=Reconstruction()
    )
    vae.compile("adam", jit_compile=False)
    vae.fit(binary_images, epochs=2, verbose=0)
    prior = priors.MixtureOfGaussians((3,), components=2)
    new = vae.fit_prior(binary_images, prior)
    codes = vae.encode(binary_images).mean().numpy()
    np.testing.assert_allclose(new.prior(None).mean(), codes.mean(0), atol=0.05)
    assert new.generate(4).sample.shape == (4, 6, 5)


def test_a_codebook_learns_how_frequent_its_codes_are(binary_images: Any) -> None:
    vae = tfvae.zoo.vq_vae((6, 5), 4, codes=8, positions=2, hidden=(16,))
    vae.compile("adam", jit_compile=False)
    vae.fit(binary_images, epochs=2, verbose=0)
    new = vae.fit_prior(binary_images, priors.Codebook(vae.posterior), learning_rate=0.05)
    assert new.prior.quantizer is new.posterior
    codes = new.encode(binary_images).codes.numpy()
    share = np.stack([np.bincount(column, minlength=8) for column in codes.T]) / len(codes)
    fitted = tf.nn.softmax(new.prior.logits).numpy()
    # Adam wanders by its step; the entropies are those of the frequencies to a hundredth of a nat.
    np.testing.assert_allclose(fitted, share, atol=0.03)


def test_bad_arguments(trained: Any) -> None:
    vae, x = trained
    for prior, error, message in (
        ("mixtures", ValueError, r'Did you mean "mixture"'),
        (3, TypeError, "`prior`"),
        (priors.StandardNormal((2,)), ValueError, "something to learn"),
        (priors.MixtureOfGaussians((3,)), ValueError, "same event_shape"),
        (priors.Parametric(layers.Gamma((2,))), ValueError, "covers the posterior's support"),
    ):
        with pytest.raises(error, match=message):
            vae.fit_prior(x, prior)
    with pytest.raises(ValueError, match="at least 10 examples"):
        vae.fit_prior(x[:5])
    with pytest.raises(ValueError, match="`learning_rate`"):
        vae.fit_prior(x, "flow", learning_rate=float("nan"))
    with pytest.raises(TypeError, match="`x` to be examples in memory"):
        vae.fit_prior(iter([x]), "flow")
    beta = tfvae.zoo.vae((2,), 3, hidden=(), posterior="Beta", prior=priors.Uniform((3,)))
    beta.fit_prior(np.clip(x, 0, 1) > 0.5, priors.Parametric(layers.Beta((3,))), epochs=1)
    simplex = tfvae.zoo.dirichlet_vae((2,), 3, hidden=())
    with pytest.raises(ValueError, match=r"given as a prior.*layers\.Dirichlet"):
        simplex.fit_prior(np.clip(x, 0, 1) > 0.5, "mixture")
    with pytest.raises(ValueError, match="`epochs`"):
        vae.fit_prior(x, "flow", epochs=0)
    with pytest.raises(ValueError, match="finite"):
        vae.fit_prior(np.full((4, 2), np.nan, "float32"))
    mixture = layers.MixtureOfGaussians((2,), components=2)
    second = priors.SecondStage(vae.prior, vae.decoder, vae.likelihood)
    with pytest.raises(ValueError, match=r"prior with a density.*SecondStage.*another prior"):
        tfvae.zoo.vae((2,), 2, hidden=(), prior=second)
    with pytest.raises(ValueError, match="no mixture"):
        priors.SecondStage(vae.prior, vae.decoder, mixture)
