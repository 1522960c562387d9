"""Codes and the classifier on them: the encoder's means, whatever the posterior and the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from linear_gaussian import LinearGaussian

import tfvae
from tfvae import features

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def vae() -> tfvae.VAE:
    return tfvae.zoo.vae((4, 3), (2, 2), hidden=(5,), likelihood="Normal")


@pytest.fixture(scope="module")
def x() -> Any:
    return np.random.default_rng(0).normal(size=(37, 4, 3)).astype("float32")


def test_codes_are_the_posterior_s_means_in_closed_form() -> None:
    model = LinearGaussian.random()
    x = model.sample(50)
    exact = (x - model.b) @ model.w / (np.sum(model.w**2, axis=0) + model.s**2)
    # A product of 5 float32 values of about 3: a few roundings of 2^-23 of it.
    np.testing.assert_allclose(features.codes(model.vae(), x), exact, atol=5e-6)


@pytest.mark.parametrize("batch", [1, 10, 1000])
def test_codes_do_not_depend_on_the_batch(vae: tfvae.VAE, x: Any, batch: int) -> None:
    found = features.codes(vae, x, batch_size=batch)
    assert found.shape == (37, 4)
    mean = vae.encode(x).mean().numpy().reshape(37, 4)
    np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-6)  # products in another order


def test_a_conditional_encoder_is_given_its_condition(x: Any) -> None:
    cvae = tfvae.zoo.cvae((4, 3), 2, classes=3, hidden=(5,), likelihood="Normal")
    y = np.arange(37) % 3
    there = features.codes(cvae, x, y)
    np.testing.assert_array_equal(there, features.codes(cvae, tfvae.data.Examples(x, y)))
    assert np.abs(there - features.codes(cvae, x, (y + 1) % 3)).max() > 1e-3
    with pytest.raises(ValueError, match="Expected conditions for the encoder"):
        features.codes(cvae, x)
    model = features.classifier(cvae, 3)
    assert [tuple(each.shape) for each in model.inputs] == [(None, 4, 3), (None,)]
    between = keras.Model(model.inputs, model.get_layer("posterior_mean").output)
    np.testing.assert_array_equal(between.predict_on_batch([x, y]), there)


@pytest.mark.parametrize("posterior", ["Normal", "VonMisesFisher", "Gamma", "Deterministic"])
def test_a_classifier_begins_with_the_codes(posterior: str, x: Any) -> None:
    options: dict[str, Any] = {"posterior": posterior}
    if posterior == "VonMisesFisher":
        options["prior"] = tfvae.priors.HypersphericalUniform((3,))
    if posterior == "Gamma":
        options["prior"] = tfvae.priors.Parametric(tfvae.layers.Gamma((3,)), learn=False)
    if posterior == "Deterministic":
        options["objective"] = tfvae.objectives.Reconstruction()
    vae = tfvae.zoo.vae((4, 3), 3, hidden=(5,), likelihood="Normal", **options)
    model = features.classifier(vae, 4, hidden=(6,))
    between = keras.Model(model.inputs, model.get_layer("posterior_mean").output)
    # The same operations; only those on the sphere may be compiled to others, of one rounding.
    rounding = 2e-7 if posterior == "VonMisesFisher" else 0
    found = between.predict_on_batch(x)
    np.testing.assert_allclose(found, features.codes(vae, x), rtol=0, atol=rounding)
    assert model.output_shape == (None, 4)


@pytest.mark.parametrize("freeze", [False, True])
def test_training_the_classifier_leaves_the_model_alone(
    vae: tfvae.VAE, x: Any, freeze: bool, tmp_path: Path
) -> None:
    before = vae.get_weights()
    model = features.classifier(vae, 2, freeze=freeze)
    model.compile(keras.optimizers.SGD(0.5), LOSS)
    y = (x.sum((1, 2)) > 0).astype("int32")
    losses = model.fit(x, y, batch_size=37, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for ours, theirs in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    moved = [
        np.any(ours != theirs)
        for ours, theirs in zip(
            vae.encoder.get_weights(), model.get_layer("encoder").get_weights(), strict=True
        )
    ]
    assert any(moved) is not freeze
    model.save(tmp_path / "classifier.keras")
    loaded = keras.models.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(x), model.predict_on_batch(x))


def test_a_seed_decides_the_new_weights(vae: tfvae.VAE) -> None:
    one, same, other = (features.classifier(vae, 3, (4,), seed=seed) for seed in (1, 1, 2))
    for a, b in zip(one.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(one.get_weights()[-2] != other.get_weights()[-2])


def test_what_does_not_fit_is_refused(vae: tfvae.VAE, x: Any) -> None:
    with pytest.raises(ValueError, match="at least two `classes`"):
        features.classifier(vae, 1)
    with pytest.raises(ValueError, match="`hidden` to be a whole number"):
        features.classifier(vae, 2, hidden=(0,))
    with pytest.raises(ValueError, match="shape"):
        features.codes(vae, x[:, :2])
    broken = tfvae.zoo.vae((4, 3), 2, hidden=(5,), likelihood="Normal")
    broken.encoder.set_weights([w * np.nan for w in broken.encoder.get_weights()])
    with pytest.raises(ValueError, match="Expected finite codes"):
        features.codes(broken, x)


def test_a_bayesian_encoder_is_trained_on_from_its_means(x: Any) -> None:
    vae = tfvae.zoo.bayesian_vae((4, 3), 2, hidden=(5,), bayesian="both", likelihood="Normal")
    model = features.classifier(vae, 3)
    between = keras.Model(model.inputs, model.get_layer("posterior_mean").output)
    np.testing.assert_allclose(between.predict_on_batch(x), features.codes(vae, x), rtol=1e-5)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert np.isfinite(model.train_on_batch(x, np.arange(37) % 3))
