"""Bounds on log p(x) from both sides against its exact value, of a linear-Gaussian model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from linear_gaussian import LinearGaussian

import tfvae
from tfvae.evaluate import UndefinedError, sandwich

TRUTH = LinearGaussian.random()


def is_one(ratio: Any) -> bool:
    """Whether the mean is 1, within 4.5 of its standard errors: else once in 140,000 seeds."""
    error = ratio.std(ddof=1) / np.sqrt(len(ratio))
    assert error < 0.1  # an estimate that is all noise would pass any such test
    return bool(abs(ratio.mean() - 1) < 4.5 * error)


@pytest.mark.slow
def test_the_exact_value_is_between_the_bounds() -> None:
    done: list[Any] = []
    found = sandwich(
        TRUTH.vae(error=0.4), 90, chains=8, temperatures=24, leapfrog=4, batch_size=60,
        progress=lambda *at: done.append(at),
    )  # fmt: skip
    assert done == [(60, 90), (90, 90)]
    exact = TRUTH.log_marginal(found.x)
    # The data are the model's own: E log p(x) is the negative entropy of a Gaussian.
    covariance = TRUTH.w @ TRUTH.w.T + TRUTH.s**2 * np.eye(5)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    assert abs(exact.mean() + entropy) < 4.5 * exact.std(ddof=1) / np.sqrt(90)
    # Weights of either direction are unbiased: of p(x), and of 1 / p(x).
    assert is_one(np.exp(found.lower - exact))
    assert is_one(np.exp(exact - found.upper))
    # By Jensen each is off to its own side: by half the variance of its log weights, were they
    # normal; twice that is allowed, and 4.5 standard errors.
    for below in (found.lower - exact, exact - found.upper):
        error = 4.5 * below.std(ddof=1) / np.sqrt(90)
        assert -below.var(ddof=1) - error < below.mean() < error
    assert found.gap.mean == pytest.approx(np.mean(found.upper - found.lower))


def test_what_has_no_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="`datasets`"):
        sandwich(TRUTH.vae(), 0)
    with pytest.raises(ValueError, match="`chains`"):
        sandwich(TRUTH.vae(), chains=0)
    with pytest.raises(UndefinedError, match="over which chains can move"):
        sandwich(tfvae.zoo.bernoulli_vae((6,), 2, hidden=(4,)), 3)
