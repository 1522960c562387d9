"""Errors of reconstructions against those of arrays that are written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tfvae
from tfvae import metrics
from tfvae.evaluate import errors, reconstruction
from tfvae.evaluate.batches import UndefinedError


def images(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 2, shape).astype("float32")


def test_of_pictures_all_is_known() -> None:
    vae, x = tfvae.zoo.vae((8, 8), 2, hidden=(4,)), images(7, 8, 8)
    made = np.asarray(vae.reconstruct(x))
    found = reconstruction(vae, x, batch_size=3)
    for name in ("mse", "psnr", "ssim"):
        each = getattr(metrics, name)(x, made)
        estimate = getattr(found, name)
        assert estimate.mean == pytest.approx(each.mean(), rel=1e-5)
        assert estimate.error == pytest.approx(each.std(ddof=1) / np.sqrt(7), rel=1e-4)
    assert found.data_range == 1
    assert found.why_not.keys() == {"accuracy"}


def test_the_range_is_that_of_the_support_or_of_the_data() -> None:
    x = images(6, 5) * 3.0 - 1.0
    real = tfvae.zoo.vae((5,), 2, hidden=(4,), likelihood="Normal")
    found = reconstruction(real, x)
    assert found.data_range == 3
    assert found.ssim is None
    assert "no pictures" in found.why_not["ssim"]
    twice = reconstruction(real, x, data_range=6.0)
    assert found.psnr is not None
    assert twice.psnr is not None
    assert twice.psnr.mean - found.psnr.mean == pytest.approx(20 * np.log10(2))
    with pytest.raises(ValueError, match="`data_range`"):
        reconstruction(real, x, data_range=-1.0)
    assert reconstruction(real, 0 * x).psnr is None  # all values alike


def test_of_counts_there_is_the_squared_error_alone() -> None:
    vae = tfvae.zoo.count_vae((8, 8), 2, hidden=(4,))
    found = reconstruction(vae, 5 * images(6, 8, 8))
    assert found.mse is not None
    assert (found.psnr, found.ssim) == (None, None)
    assert found.why_not["ssim"] == found.why_not["psnr"] == "counts have no peak"


@pytest.mark.slow
def test_of_sentences_tokens_are_right_or_wrong() -> None:
    vae = tfvae.zoo.sentence_vae((8,), 2, units=8, embedding=4)
    x = np.asarray(vae.generate(6, seed=0).tokens, np.float32)
    written, found = np.asarray(vae.reconstruct(x)), reconstruction(vae, x, batch_size=4)
    there = x != 0
    right = [np.mean(written[i][there[i]] == x[i][there[i]]) for i in range(6)]
    assert found.accuracy is not None
    assert found.accuracy.mean == pytest.approx(np.mean(right))
    assert found.mse is None
    assert "tokens" in found.why_not["mse"]


@pytest.mark.slow
def test_of_sequences_what_was_observed_counts() -> None:
    vae = tfvae.zoo.deep_markov_model((6, 2), 2, units=4, hidden=(4,), likelihood="Normal")
    x = np.random.default_rng(0).normal(size=(5, 6, 2)).astype("float32")
    lengths = np.array([6, 5, 4, 3, 2])
    x[np.arange(6) >= lengths[:, None]] = 0
    found = reconstruction(vae, x, condition=lengths)
    made = np.asarray(vae.reconstruct(x, observed=lengths))
    each = [np.mean((made[i, :n] - x[i, :n]) ** 2) for i, n in enumerate(lengths)]
    assert found.mse is not None
    assert found.mse.mean == pytest.approx(np.mean(each), rel=1e-5)
    assert "missing" in found.why_not["ssim"]


def test_of_what_was_not_observed_there_is_no_error() -> None:
    values, made = np.ones((3, 2, 2)), np.array([1.0, 2.0, 3.0])[:, None, None] * np.ones((3, 2, 2))
    mask = np.array([[[1], [1]], [[0], [0]], [[1], [0]]], bool)
    # Of the second nothing was observed: an error of 0 would be one that nobody made.
    assert errors._of_observed(values, made, mask).tolist() == [0, 4]
    with pytest.raises(UndefinedError, match="nothing was observed"):
        errors._of_observed(values, made, mask & False)
    vae = tfvae.zoo.deep_markov_model((2, 2), 2, units=2, hidden=(2,), likelihood="Normal")
    with pytest.raises(ValueError, match="leave something of each sequence"):
        reconstruction(vae, values, condition=mask[..., 0])


def test_of_conditional_models_conditions_are_given() -> None:
    vae = tfvae.zoo.cvae((8, 8), 2, classes=3, hidden=(4,))
    x, y = images(6, 8, 8), np.arange(6) % 3
    made = np.asarray(vae.reconstruct(x, condition=y))
    found = reconstruction(vae, tfvae.data.Examples(x, y))
    assert found.mse is not None
    assert found.mse.mean == pytest.approx(metrics.mse(x, made).mean(), rel=1e-5)
