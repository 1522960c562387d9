"""Anomaly detection: thresholds from held-out data, by a stated rate of false alarms."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from endpoint_calls import image_model
from linear_gaussian import LinearGaussian
from scipy import stats

import tfvae
from tfvae.export import ExportError, Processing
from tfvae.export.calibration import calibrate
from tfvae.export.manifest import Threshold
from tfvae.export.preparation import prepared


def test_false_alarms_are_as_rare_as_stated() -> None:
    truth = LinearGaussian.random()
    vae = truth.vae()
    rates = (0.01, 0.05, 0.2)
    _, calibration = prepared(vae, Processing(), 3, truth.sample(999, seed=2), rates)
    assert calibration is not None
    assert (calibration.examples, calibration.samples) == (999, 3)
    scores = np.asarray(vae.score(truth.sample(4000, seed=3), samples=3, seed=1000).log_marginal)
    for threshold in calibration.thresholds:
        rate, below = threshold.false_alarm_rate, int(np.sum(scores < threshold.log_marginal))
        # The share of the distribution below the k-th of n is Beta(k, n + 1 - k).
        k = round(rate * 1000)
        tails = stats.betabinom(4000, k, 1000 - k)
        assert min(tails.cdf(below), tails.sf(below - 1)) > 1e-5  # six tails: once in 17,000


def test_what_is_not_enough_to_calibrate() -> None:
    images = image_model()
    x = np.random.default_rng(0).uniform(size=(98, 4, 3, 1))
    with pytest.raises(ExportError, match=r"at least 99 examples .*rate of 0\.01.*Received: 98"):
        prepared(images, Processing(), 2, x, [0.01])
    enough = calibrate(images, tfvae.data.Examples(np.concatenate([x, x[:1]])), 2, [0.01])
    lowest = float(np.min(images.score(np.concatenate([x, x[:1]]), samples=2).log_marginal))
    assert enough.thresholds == (Threshold(0.01, lowest),)
    for rates in ([1.5], [], ["a"], 0.05):
        with pytest.raises(ExportError, match="`false_alarm_rates` to be a list of numbers betw"):
            prepared(images, Processing(), 2, x, rates)
    with pytest.raises(ExportError, match="Expected no `false_alarm_rates` without held-out data"):
        prepared(images, Processing(), 2, None, [0.05])
    with pytest.raises(ExportError, match=r"`calibration` to be x, .*Received: a tuple of 3"):
        prepared(images, Processing(), 2, (x, x, x), [0.05])
    with pytest.raises(ExportError, match=r"Expected finite values in x\. Received: 1 of 1176 NaN"):
        prepared(
            images,
            Processing(),
            2,
            np.where(np.arange(1176) == 7, np.nan, 0.5).reshape(98, 4, 3, 1),
            [0.05],
        )
    with pytest.raises(ExportError, match=r"`calibration` of shape|`calibration`.*shape"):
        prepared(images, Processing(), 2, np.zeros((200, 7)), [0.01])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
    with pytest.raises(ExportError, match="Expected no `calibration`"):
        prepared(tfvae.Generator(decoder, "Bernoulli"), Processing(), 2, x, [0.01])
