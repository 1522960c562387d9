"""Sequences as lines: what was not observed is not drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tfvae
from tfvae import pictures, plots


def ink(figure: Any, line: Any) -> int:
    """Count the pixels that a line has in the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    shown = []
    for visible in (True, False):
        line.set_visible(visible)
        canvas.draw()
        shown.append(np.asarray(canvas.buffer_rgba()).copy())
    line.set_visible(True)
    return int(np.any(shown[0] != shown[1], axis=-1).sum())


def test_lines_break_where_values_are_missing() -> None:
    gap = np.array([[10.0, 11.0, np.nan, np.nan, 12.0, 11.0]])
    axes = plots.series(gap, means=np.full((1, 6), 10.5)).axes[0]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), gap[0])
    # A zero for what is missing would be far below all others.
    assert axes.get_ylim()[0] > 9
    assert not np.isnan(axes.lines[0].get_ydata()).any()


def test_a_value_between_two_gaps_is_seen() -> None:
    for values in ([np.nan, 3.0, np.nan, 1.0, 2.0], [3.0, np.nan, np.nan], [5.0]):
        figure = plots.series(np.array([values, [1.0] * len(values)]))
        line = figure.axes[0].lines[0]
        alone = {1: [0], 3: [0], 5: [1]}[len(values)]
        assert line.get_markevery() == alone
        line.set_linestyle("")  # what is left is the points
        assert ink(figure, line) > 3
    assert plots.series(np.zeros((1, 4))).axes[0].lines[0].get_marker() == ""


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_note_is_folded_to_the_width_of_the_picture(count: int) -> None:
    words = "pale and wide: reconstructions; lines break where nothing was observed"
    figure = plots.series(np.zeros((count, 4)), note=words)
    figure.draw_without_rendering()
    (label,) = (text for text in figure.texts if "pale" in text.get_text())
    assert " ".join(label.get_text().split()) == f"step {words}"
    extent = label.get_window_extent()
    assert 0 <= extent.x0 < extent.x1 <= figure.bbox.x1


@pytest.mark.slow
def test_what_a_mask_leaves_out_is_no_zero() -> None:
    vae = tfvae.zoo.deep_markov_model((9, 7), 2, likelihood="Normal", hidden=(8,), units=8)
    x = 10 + np.random.default_rng(0).normal(size=(2, 9, 7)).astype("float32")
    mask = np.ones(x.shape, bool)
    mask[0, 3:5], mask[1, 7:] = False, False
    figure = pictures.draw("reconstructions", vae, (x, mask))
    for i, axes in enumerate(figure.axes[:2]):
        for k, line in enumerate(axes.lines[1::2]):
            wanted = np.where(mask, x, np.nan)[i, : (9, 7)[i], k]
            np.testing.assert_array_equal(line.get_ydata(), wanted)
    said = " ".join(figure.get_supxlabel().split())
    assert "lines break where nothing was observed" in said
    assert "3 of 7 values of a step" in said
    mask[0] = True  # a sequence that is shorter has no gap
    assert "break" not in pictures.draw("reconstructions", vae, (x, mask)).get_supxlabel()
    below = pictures.draw("samples", vae, n=2).get_supxlabel()
    assert "3 of 7 values of a step" in " ".join(below.split())
