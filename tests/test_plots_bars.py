"""Bars: numbers below them that can be read, estimates below 0, and very many."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfvae import plots


def test_numbers_below_bars_of_levels_do_not_meet() -> None:
    rng = np.random.default_rng(0)
    figure = plots.kl([rng.random(32), rng.random(16), rng.random(40)], names=["z_0", "z_1", "z_2"])
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
        assert len(boxes) in (16, 32, 40)
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_an_estimate_below_zero_is_seen() -> None:
    figure = plots.kl([[2.0, -0.5], [1.0]])
    assert all(axes.get_ylim()[0] < -0.5 for axes in figure.axes)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [2.0, -0.5]
    assert plots.kl([[2.0, 0.5]]).axes[0].get_ylim()[0] == 0


def test_thousands_of_codes_are_a_few_outlines() -> None:
    counts = np.random.default_rng(0).integers(0, 3, 2048)
    panel = plots.codebook(counts).axes[0]
    drawn = sum(patch.get_data().values for patch in panel.patches)
    np.testing.assert_allclose(drawn, np.sort(counts)[::-1] / counts.sum(), rtol=1e-12)
    assert len(panel.patches) == 2
    used = panel.patches[0].get_data().values
    assert np.count_nonzero(used) == np.count_nonzero(counts)
    assert panel.get_xlim() == pytest.approx((-0.7, 2047.7))
