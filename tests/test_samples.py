"""Samples against data: a model that is right, models that are wrong, and the feature spaces."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from linear_gaussian import LinearGaussian

import tfvae
from tfvae import metrics
from tfvae.evaluate import UndefinedError, feature_spaces, sample_quality
from tfvae.sources import permutation

TRUTH = LinearGaussian.random()
TRAIN, TEST = (TRUTH.sample(600, seed=seed).astype("float32") for seed in (1, 2))


def identity(x: Any) -> Any:
    return x


def test_the_numbers_are_those_of_the_metrics() -> None:
    vae, steps = TRUTH.vae(), []
    found = sample_quality(
        vae, TEST, features=identity, seed=3, progress=lambda *at: steps.append(at)
    )
    # As many samples as examples, the first by the first of the seeds.
    made = np.asarray(vae.generate(600, seed=3).sample, np.float64)
    assert found.frechet == pytest.approx(metrics.frechet_distance(TEST, made), rel=1e-6)
    near = metrics.precision_recall(TEST, made, 5)
    assert (found.precision, found.recall) == (near.precision, near.recall)
    assert (found.features, found.dimensions, found.samples) == ("identity", 5, 600)
    assert found.frechet_of_data is None
    assert steps == [(step, 4) for step in (1, 2, 3, 4)]


@pytest.mark.slow
def test_a_model_of_the_data_is_as_near_as_other_data_and_a_wrong_one_is_not() -> None:
    right = sample_quality(TRUTH.vae(), TEST, train=TRAIN, features=identity)
    assert right.frechet_of_data is not None
    assert right.frechet < 3 * right.frechet_of_data
    # 4.5 standard errors of 9 degrees of freedom: a false alarm once in 670 seeds.
    assert abs(right.kernel.mean) < 4.5 * right.kernel.error
    # The closed form: what is generated has its mean elsewhere, by 1 in each of 5 values.
    wrong = TRUTH.vae()
    kernel, bias = wrong.decoder.get_weights()
    wrong.decoder.set_weights([kernel, bias + 1.0])
    moved = sample_quality(wrong, TEST, train=TRAIN, features=identity)
    # Means of 600 examples are off by their variance, 4.5 at most, over 600: 0.1 a direction.
    assert moved.frechet == pytest.approx(5, abs=1)
    assert moved.kernel.mean > 4 * moved.kernel.error
    means = sample_quality(TRUTH.vae(), TEST, train=TRAIN, features=identity, of="mean")
    assert means.recall < right.recall  # without the noise of p(x|z)


def test_principal_components_keep_distances() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3, 2)) @ np.diag([3.0, 1.0])
    space = feature_spaces.principal_components(x, 50)
    assert space.name == "6 principal components"
    flat, found = x.reshape(200, 6), space(x)
    scale = np.sqrt(np.trace(np.cov(flat.T)) / 6)
    first = np.linalg.norm(flat[:1] - flat, axis=1) / scale
    np.testing.assert_allclose(np.linalg.norm(found[:1] - found, axis=1), first)


def test_the_classifier_tells_classes_apart_and_repeats() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(["left", "right"], 50)
    # Told apart by one column of values, in which they differ by two deviations.
    x = rng.normal(size=(100, 4, 5)) + 2 * (y == "left")[:, None, None] * (np.arange(5) == 0)
    space = feature_spaces.classifier(x, y)
    assert space.name == "64 features of a small classifier of 2 classes"
    found = space(x)
    np.testing.assert_array_equal(found, feature_spaces.classifier(x, y)(x))
    assert np.mean(found**2) == pytest.approx(1)
    left, right = found[y == "left"].mean(axis=0), found[y == "right"].mean(axis=0)
    closer = np.linalg.norm(found - left, axis=1) < np.linalg.norm(found - right, axis=1)
    assert np.mean(closer == (y == "left")) > 0.95


@pytest.mark.parametrize(
    ("y", "name"),
    [
        (None, "principal"),
        (np.arange(60) % 3, "classifier of 3"),
        (np.arange(60) / 7, "principal"),
        (np.arange(60), "principal"),
        (np.zeros(60), "principal"),
        (np.zeros((60, 2)), "principal"),
    ],
)
def test_by_default_the_space_is_found_by_classes_where_there_are_some(y: Any, name: str) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    assert name in feature_spaces.space(None, x, y).name


def test_spaces_of_users() -> None:
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="mine")
    space, x = feature_spaces.space(network, None), np.ones((5, 4), "float32")
    assert space.name == "mine"
    np.testing.assert_allclose(space(x), network(x))
    assert feature_spaces.space(space, None) is space
    with pytest.raises(TypeError, match="`features`"):
        feature_spaces.space("inception", x)
    for bad in (lambda x: x[:1], lambda x: x * np.nan, lambda x: np.float64(1)):
        with pytest.raises(ValueError, match="finite numbers, a row for each"):
            feature_spaces.space(bad, x)(x)
    with pytest.raises(UndefinedError, match="not whole"):
        feature_spaces.classifier(x, np.arange(5) + 0.5)


@pytest.mark.slow
def test_conditional_models_generate_under_the_conditions_of_the_data() -> None:
    vae = tfvae.zoo.cvae((4,), 2, classes=3, hidden=(4,), likelihood="Normal")
    x, y = np.random.default_rng(0).normal(size=(30, 4)).astype("float32"), np.arange(30) % 3
    found = sample_quality(vae, tfvae.data.Examples(x, y), features=identity)
    order = permutation(30, 0)
    made = np.asarray(vae.generate(30, seed=0, condition=y[order]).sample)
    assert found.frechet == pytest.approx(metrics.frechet_distance(x[order], made), rel=1e-5)
    semi = tfvae.zoo.semi_supervised_vae((4,), 2, classes=3, hidden=(4,), likelihood="Normal")
    assert sample_quality(semi, x, features=identity).samples == 30
    few = np.where(np.arange(30) < 24, y, -1)
    assert "of 3 classes" in sample_quality(semi, x, train=(x, few)).features


def test_what_cannot_be_compared_is_refused() -> None:
    vae = TRUTH.vae()
    with pytest.raises(ValueError, match="at least 10"):
        sample_quality(vae, TEST[:9])
    with pytest.raises(ValueError, match="`of`"):
        sample_quality(vae, TEST, of="median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`samples`"):
        sample_quality(vae, TEST, samples=1)
    sentences = tfvae.zoo.sentence_vae((8,), 2, units=8, embedding=4)
    with pytest.raises(UndefinedError, match="text"):
        sample_quality(sentences, np.ones((20, 8), "float32"))
