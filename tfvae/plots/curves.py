"""Pictures of lines: the course of training, and sequences."""

from __future__ import annotations

import itertools
import os
import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfvae.drawing import INK, MUTED, new_figure, number, positive, quiet, save

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

# Distinguishable to colour-blind readers, and dark enough to stay legible in grey.
_TERMS = {
    "elbo": ("ELBO", "#0b5cad"),
    "log_likelihood": ("log-likelihood  log p(x|z)", "#9a4a00"),
    "kl": ("KL  q(z|x) ‖ p(z)", "#1a6e4a"),
}

_CHARACTER = 0.085  # inches, in small text


def series(
    values: npt.ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    columns: int = 4,
    means: npt.ArrayLike | None = None,
    note: str | None = None,
) -> Figure:
    """Sequences as lines against their steps, a panel for each, on common axes.

    Args:
        values: [N, T] or, a line for each value of a step, [N, T, k]; NaN where nothing was
            observed, which breaks the line.
        path: Where to save the picture.
        lengths: Steps of each sequence [N]; all T by default.
        columns: Panels in a row, at most.
        means: Of the same shape, what a model makes of each: wide and pale, behind them.
        note: A line below the panels.

    Returns:
        The figure.

    Raises:
        ValueError: They are no such sequences, are infinite or NaN throughout, or `columns` is
            below 1.
        OSError: The picture cannot be written.
    """
    lines = np.asarray(values)
    lines = lines[..., None] if lines.ndim == 2 else lines
    if lines.ndim != 3 or not lines.size or lines.dtype.kind not in "biuf":
        raise ValueError(
            "Expected values to be sequences, [N, T] or [N, T, k]. Received: values of shape "
            f"{np.shape(values)}."
        )
    if np.isinf(lines).any() or np.isnan(lines).all():
        raise ValueError(
            "Expected finite values, and NaN where there are none. Received: "
            f"{'infinity among them' if np.isinf(lines).any() else 'NaN only'}."
        )
    if means is not None and np.shape(means) != np.shape(values):
        raise ValueError(
            f"Expected means of the shape of values, {np.shape(values)}. Received: "
            f"{np.shape(means)}."
        )
    behind = None if means is None else np.asarray(means, float).reshape(lines.shape)
    columns = min(positive("columns", columns), len(lines))
    ends = np.full(len(lines), lines.shape[1]) if lengths is None else np.asarray(lengths)
    rows = -(-len(lines) // columns)
    figure = new_figure((2.1 * columns + 0.5, 1.4 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for place, axes in enumerate(panels):
        if place >= len(lines):
            axes.set_visible(False)
            continue
        for k, (color, dashes) in zip(range(lines.shape[2]), dashed(), strict=False):
            y = lines[place, : ends[place], k]
            if behind is not None:
                mean = behind[place, : ends[place], k]
                _line(axes, mean, color=color, linewidth=4, alpha=0.35)
            _line(axes, y, color=color, linestyle=dashes, linewidth=1.2)
        quiet(axes, 8)
    folded = textwrap.fill(note or "", int((2.1 * columns + 0.5) / _CHARACTER))
    below = f"step\n{folded}".strip()
    figure.supxlabel(below, fontsize=9.5, color=MUTED, parse_math=False)
    figure.supylabel("value", fontsize=9.5, color=MUTED)
    return save(figure, path)


def _line(axes: Any, values: Any, *, linewidth: float, **style: Any) -> None:
    """Draw a line that breaks at NaN, with a point where a value has no neighbour to lead to."""
    known = np.pad(np.isfinite(values), 1)
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
    steps, marker = np.arange(1, len(values) + 1), "." if len(alone) else ""
    axes.plot(
        steps, values, linewidth=linewidth, marker=marker,
        markevery=alone.tolist(), markersize=4 + 2 * linewidth, markeredgewidth=0, **style,
    )  # fmt: skip


def dashed() -> Iterator[tuple[str, str]]:
    """Yield colours and dashes of lines, which differ in grey too."""
    colors = [color for _, color in _TERMS.values()]
    for place in itertools.count():
        yield colors[place % 3], ("-", "--", ":", "-.")[place % 4]


def training(
    history: Mapping[str, Sequence[float]], path: str | os.PathLike[str] | None = None
) -> Figure:
    """The terms of the ELBO by epoch: training solid, validation dashed.

    Args:
        history: Values per epoch, as in `fit(...).history`: `elbo`, `log_likelihood` and `kl`,
            whichever are there, and the same with `val_` before, in nats per example; of a
            hierarchy also `kl_0`, `kl_1`, ... of its levels, which the panel of the KL shows.
        path: Where to save the picture.

    Returns:
        The figure, one panel per term.

    Raises:
        ValueError: None of the terms is there, or all are empty.
        OSError: The picture cannot be written.

    Example:
        >>> figure = training({"elbo": [-200.0, -120.0], "val_elbo": [-150.0, -118.0]})
        >>> [line.get_linestyle() for line in figure.axes[0].lines]
        ['-', '--']
    """
    terms = [t for t in _TERMS if len(history.get(t, ())) or len(history.get(f"val_{t}", ()))]
    if not terms:
        raise ValueError(
            f"Expected history to hold values of {', '.join(_TERMS)}. Received keys: "
            f"{', '.join(history) or 'none'}; pass fit(...).history."
        )
    figure = new_figure((4.1 * len(terms) + 0.4, 3.7), layout="constrained")
    from matplotlib.ticker import MaxNLocator

    figure.get_layout_engine().set(wspace=0.06, w_pad=0.1, h_pad=0.1)  # type: ignore[call-arg,union-attr]
    for axes, term in zip(figure.subplots(1, len(terms), squeeze=False)[0], terms, strict=True):
        title, colour = _TERMS[term]
        for key, style, fill, label in (
            (term, "-", colour, "training"),
            (f"val_{term}", "--", "white", "validation"),
        ):
            values = np.asarray(history.get(key, ()), float)
            if values.size:
                axes.plot(
                    np.arange(1, values.size + 1),
                    values,
                    style,
                    color=colour,
                    linewidth=1.8,
                    marker="o" if values.size <= 15 else None,
                    markersize=4,
                    markerfacecolor=fill,
                    label=f"{label} (last {number(values[-1])})",
                )
        if term == "kl":
            _levels(axes, history)
        axes.set_title(title, fontsize=11, color=INK, loc="left", pad=10)
        axes.set_xlabel("epoch", fontsize=9.5, color=MUTED)
        axes.set_ylabel("nats per example", fontsize=9.5, color=MUTED)
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins=6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        )
        axes.set_xlim(0.5, max(len(line.get_xdata()) for line in axes.lines) + 0.5)
        quiet(axes)
        axes.margins(y=0.08)
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="best")
    return save(figure, path)


def _levels(axes: Any, history: Mapping[str, Sequence[float]]) -> None:
    """Draw the KL of each level of a hierarchy, thin, each with dashes of its own."""
    keys = [key for key in history if re.fullmatch(r"kl_\d+", key) and len(history[key])]
    keys.sort(key=lambda key: int(key[3:]))
    for place, key in enumerate(keys):
        values = np.asarray(history[key], float)
        axes.plot(
            np.arange(1, values.size + 1),
            values,
            color=MUTED,
            linewidth=1.2,
            linestyle=(0, (1 + 2 * place, 1.5)),
            label=f"z_{key[3:]}, training (last {number(values[-1])})",
        )
