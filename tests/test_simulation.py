"""Ranks of latents: even under the exact posterior, and uneven as each error makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from linear_gaussian import LinearGaussian
from test_hierarchical import Chain

import tfvae
from tfvae.evaluate import UndefinedError, calibration

TRUTH = LinearGaussian.random()


def changed(scale: float = 1.0) -> tfvae.VAE:
    """Return the model with posteriors whose standard deviations are off by a factor."""
    vae = TRUTH.vae()
    kernel, bias = vae.encoder.get_weights()
    floor = vae.posterior.min_scale
    stddev = np.log1p(np.exp(bias[2:])) + floor
    bias[2:] = np.log(np.expm1(scale * stddev - floor))
    vae.encoder.set_weights([kernel, bias])
    return vae


def test_under_the_exact_posterior_ranks_are_even() -> None:
    steps: list[tuple[int, int]] = []
    found = calibration(TRUTH.vae(), 1000, batch_size=600, progress=lambda *at: steps.append(at))
    # By Bonferroni a false alarm once in 10,000 seeds.
    assert found.p_value > 1e-4
    assert "nothing wrong with q(z|x) shows in 1,000" in found.finding
    (histogram,) = found.histograms
    assert histogram.counts.shape == (2, 20)
    assert (histogram.counts.sum(axis=1) == 1000).all()
    assert steps == [(600, 1000), (1000, 1000)]


@pytest.mark.parametrize(
    ("vae", "finding", "trend"),
    [
        pytest.param(TRUTH.vae(error=0.3), "shifted in 2 of 2", ("bias", -1), id="shifted"),
        pytest.param(
            changed(0.5), "too narrow in 2 of 2", ("spread", 1), id="narrow", marks=pytest.mark.slow
        ),
        pytest.param(
            changed(2.0), "too wide in 2 of 2", ("spread", -1), id="wide", marks=pytest.mark.slow
        ),
    ],
)
def test_each_error_is_seen_and_named(vae: Any, finding: str, trend: tuple[str, int]) -> None:
    found = calibration(vae, 1000, batch_size=1000)
    assert found.p_value < 1e-10
    assert finding in found.finding
    name, sign = trend
    # Draws that lie too high leave values below them.
    assert np.all(sign * getattr(found.histograms[0], name) > 5)


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["ladder", "bottom_up"])
def test_of_a_hierarchy_each_level_is_ranked(inference: str) -> None:
    found = calibration(Chain.random().vae(inference), 600, batch_size=600)
    assert found.p_value > 1e-4
    assert [each.counts.shape[0] for each in found.histograms] == [2, 2]
    wrong = calibration(Chain.random().vae(inference, error=1.0), 600, batch_size=600)
    assert wrong.p_value < 1e-6


@pytest.mark.slow
def test_conditions_take_turns() -> None:
    vae = tfvae.zoo.cvae((4,), 2, classes=3, hidden=(4,))
    by_default = calibration(vae, 30, draws=9)
    given = calibration(vae, 30, draws=9, condition=[0, 1, 2])
    np.testing.assert_array_equal(by_default.histograms[0].counts, given.histograms[0].counts)
    vector = tfvae.zoo.cvae((4,), 2, vector=2, hidden=(4,))
    with pytest.raises(ValueError, match="`condition`"):
        calibration(vector, 30)
    semi = tfvae.zoo.semi_supervised_vae((4,), 2, classes=3, hidden=(4,))
    assert calibration(semi, 30, draws=9, condition=[-1, 1]).datasets == 30


@pytest.mark.slow
def test_equal_draws_leave_even_ranks() -> None:
    # Binary latents of an encoder and a decoder that know nothing: q(z|x) is p(z) is p(z|x).
    vae = tfvae.zoo.bernoulli_vae((4,), 3, hidden=(4,))
    for network in (vae.encoder, vae.decoder):
        kernel, bias = network.layers[-1].get_weights()
        network.layers[-1].set_weights([0 * kernel, 0 * bias])
    found = calibration(vae, 1000, draws=19, batch_size=1000)
    assert found.p_value > 1e-4


def test_what_has_no_ranks_is_refused() -> None:
    small: dict[str, Any] = {"hidden": (4,)}
    for vae in (
        tfvae.zoo.vq_vae((6,), 2, codes=4, positions=2, **small),
        tfvae.zoo.rae((6,), 2, **small),
    ):
        with pytest.raises(UndefinedError, match="draws are in an order"):
            calibration(vae)
    for name in ("datasets", "draws", "batch_size"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            calibration(TRUTH.vae(), **{name: 0})
