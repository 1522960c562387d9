"""Active units against linear-Gaussian models, in which E[z|x] is known."""

from __future__ import annotations

import numpy as np
import pytest
from linear_gaussian import LinearGaussian
from test_hierarchical import Chain

from tfvae import zoo
from tfvae.evaluate import active_units


def test_of_a_flat_model_the_variances_are_those_of_the_means(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(150)
    means = (x - truth.b) @ truth.w / (np.sum(truth.w**2, axis=0) + truth.s**2)
    found = active_units(truth.vae(), x, batch_size=64)
    np.testing.assert_allclose(found.variances[0], means.var(axis=0, ddof=1), rtol=1e-10)
    assert found.counts == (2,)
    between = float(np.mean(found.variances[0]))
    assert active_units(truth.vae(), x, threshold=between).counts == (1,)


def test_of_a_level_the_noise_of_the_draws_above_is_no_activity(float64: None) -> None:
    truth = Chain.random()
    vae, n = truth.vae("ladder"), 1500
    # An encoder that is blind: what is left of level 0's mean is what the draws of level 1 are.
    for layer in ("params", "level_1"):
        weights = vae.encoder.get_layer(layer).get_weights()
        vae.encoder.get_layer(layer).set_weights([np.zeros_like(weights[0]), weights[1]])
    found = active_units(vae, truth.sample(n), threshold=0.1, samples=2)
    # A mean moves with the draw above by less than a = 1.5 of its unit variance: products of
    # independent halves have mean 0 and a standard error below 1.5² / sqrt(n) = 0.06. Of one mean
    # of both draws the variance would be some 0.1.
    spread = [np.sqrt(n) * np.abs(variance).max() for variance in found.variances]
    assert spread[0] < 4 * 1.5**2
    assert spread[1] < 1e-20  # rounding
    assert found.counts[1] == 0


def test_of_a_level_given_another_the_variance_is_that_of_the_exact_mean(float64: None) -> None:
    truth, n = Chain.random(), 1000
    x = truth.sample(n)
    found = active_units(truth.vae("ladder"), x, samples=64)
    scale = np.diag(truth.a**2 + truth.t**2) @ truth.w.T @ np.linalg.inv(truth.joint.cov)
    exact = ((x - truth.joint.mean) @ scale.T).var(axis=0, ddof=1)
    # Two halves of 32 draws, each mean of which is off by less than 1.5 / sqrt(32) = 0.27 and
    # independently: products are off by 0.27 sqrt(2 v + 0.27²) a row, over sqrt(n) rows.
    error = 0.27 * np.sqrt(2 * exact + 0.27**2) / np.sqrt(n)
    # 4 standard errors of two values: a false alarm once in 8,000 seeds.
    np.testing.assert_array_less(np.abs(found.variances[0] - exact), 4 * error)
    assert found.counts == (2, 2)


def test_what_cannot_be_judged_is_refused() -> None:
    vae = zoo.vae((4,), 2, hidden=(4,), likelihood="Normal")
    x = np.zeros((3, 4), "float32")
    with pytest.raises(ValueError, match="two examples"):
        active_units(vae, x[:1])
    with pytest.raises(ValueError, match="samples"):
        active_units(vae, x, samples=1)
    with pytest.raises(ValueError, match="threshold"):
        active_units(vae, x, threshold=-1.0)
