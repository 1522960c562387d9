"""Sequences that go on: what was seen, what came, and what a model expects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfvae.drawing import INK, MUTED, panelled, quiet, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOUR = "#0b5cad"
BANDS = ((0.05, 0.95, 0.18), (0.25, 0.75, 0.32))
"""Quantiles of the draws between which a band lies, and how dense it is."""


def forecast(
    seen: npt.ArrayLike,
    draws: npt.ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    truth: npt.ArrayLike | None = None,
    names: Sequence[str] = (),
    note: str | None = None,
) -> Figure:
    """Sequences and their continuation: the median of draws, with bands of a half and nine tenths.

    Args:
        seen: What the forecast goes on from, [N, T] or, a column of panels for each value of a
            step, [N, T, k]; NaN where nothing was observed. A forecast goes on from the last step
            of its sequence that was.
        draws: [S, N, H] or [S, N, H, k].
        path: Where to save the picture.
        truth: What came, [N, H] or [N, H, k], NaN where that is not known; or None.
        names: Of the k values.
        note: A line below the panels.

    Returns:
        The figure, a row of panels for each sequence.

    Raises:
        ValueError: The shapes do not fit each other.
        OSError: The picture cannot be written.

    Example:
        >>> figure = forecast(np.zeros((2, 5)), np.zeros((10, 2, 3)))
        >>> len(figure.axes)
        2
    """
    before, ahead = np.asarray(seen, float), np.asarray(draws, float)
    came = None if truth is None else np.asarray(truth, float)
    if before.ndim == 2:
        before, ahead = before[..., None], ahead[..., None]
        came = None if came is None else came[..., None]
    fits = before.ndim == 3 and ahead.ndim == 4 and ahead.shape[1:] == (
        len(before), ahead.shape[2], before.shape[2],
    )  # fmt: skip
    if not (fits and ahead.size) or (came is not None and came.shape != ahead.shape[1:]):
        raise ValueError(
            "Expected sequences [N, T, k], draws [S, N, H, k] and, if known, the truth [N, H, k]. "
            f"Received: {before.shape}, {ahead.shape}, {None if came is None else came.shape}."
        )
    count, steps, values = before.shape
    horizon = ahead.shape[2]
    figure, panels = panelled(count, values, (max(3.2, 6.4 / values), 1.9), sharey=False)
    for place, panel in enumerate(panels):
        i, k = divmod(place, values)
        line = before[i, :, k]
        seen_steps = np.flatnonzero(np.isfinite(before[i]).any(axis=1))
        last = seen_steps[-1] + 1 if len(seen_steps) else 0
        first = line[last - 1] if last else np.nan
        later = np.arange(last, last + horizon + 1)
        for low, high, alpha in BANDS:
            ends = np.quantile(ahead[:, i, :, k], (low, high), axis=0)
            panel.fill_between(
                later[1:], *ends, color=_COLOUR, alpha=alpha, linewidth=0,
                label=f"{100 * (high - low):.0f}% of draws",
            )  # fmt: skip
        panel.plot(np.arange(1, steps + 1), line, color=INK, linewidth=1.4, label="what was seen")
        median = np.median(ahead[:, i, :, k], axis=0)
        panel.plot(later[1:], median, color=_COLOUR, linewidth=1.6, label="median")
        if came is not None:
            # From the last value that was seen on, so that the line does not break there.
            shown = np.concatenate([[first], came[i, :, k]])
            panel.plot(
                later, shown, color=INK, linewidth=1.3, linestyle=(0, (2, 1.5)), label="what came"
            )
        panel.axvline(last, color=MUTED, linewidth=0.8, linestyle=":")
        quiet(panel, 8)
        if names and i == 0:
            panel.set_title(names[k], fontsize=10, color=INK, loc="left", parse_math=False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, frameon=False, fontsize=9, labelcolor=INK, ncols=len(labels),
        loc="outside upper center",
    )  # fmt: skip
    below = "step" if not note else f"step\n{note}"
    figure.supxlabel(below, fontsize=9.5, color=MUTED, parse_math=False)
    return save(figure, path)
