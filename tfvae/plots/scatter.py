"""Points in a plane, by label: where a model puts examples."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfvae.drawing import INK, MUTED, RULE, panelled, quiet, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Dark enough for paper. No ten colours are told apart by everybody: labels are written, too.
_COLOURS = (
    "#0b5cad", "#b3541e", "#1a6e4a", "#8e3b9e", "#b3261e",
    "#00727f", "#857000", "#c2347f", "#4a4f55", "#5a3e1b",
)  # fmt: skip
# Nine of them: colours and marks then repeat together only after 90 labels.
_MARKS = "os^DvPX>*"
# Marks are formulas, in which other characters mean something or have no glyph.
_MARKABLE = re.compile(r"-?[A-Za-z0-9]{1,2}")
MOST_CLASSES = 20
_ROUNDING = 1e-9  # of their size, up to which points are the same
_WRITTEN = 2500  # points, up to which each is drawn as its label


def scatter(
    points: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    names: Mapping[Any, str] | None = None,
    axes: tuple[str, str] = ("z₀", "z₁"),
    circles: Sequence[float] = (),
    title: str = "",
    note: str | None = None,
) -> Figure:
    """Points in a plane, of one label each in its colour and with its name.

    Up to some thousand points are drawn as their labels, if these are short. Labels that are
    amounts, or of more than 20 kinds, are a scale of colours.

    Args:
        points: [N, 2], or [N, 1] to be put side by side, a row for each label.
        labels: One for each point: whole numbers, texts or amounts; or None.
        path: Where to save the picture.
        names: What labels are called.
        axes: What the axes are called.
        circles: Radii of circles around the origin, such as of a normal prior.
        title: A line above the points.
        note: A line below them.

    Returns:
        The figure.

    Raises:
        ValueError: These are no points, or labels are not as many.
        OSError: The picture cannot be written.

    Example:
        >>> figure = scatter([[0.0, 1.0], [2.0, 3.0]], labels=[0, 1])
        >>> [group.get_offsets().tolist() for group in figure.axes[0].collections]
        [[[0.0, 1.0]], [[2.0, 3.0]]]
    """
    return spaces({title: points}, labels, path, names=names, axes=axes, circles=circles, note=note)


def spaces(
    points: Mapping[str, npt.ArrayLike],
    labels: npt.ArrayLike | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    names: Mapping[Any, str] | None = None,
    axes: tuple[str, str] = ("z₀", "z₁"),
    circles: Sequence[float] = (),
    note: str | None = None,
) -> Figure:
    """Points of several models side by side, as `scatter` draws them; each has axes of its own.

    Args:
        points: [N, 2] or [N, 1] by the model's name.
        labels: One for each point, or None.
        path: Where to save the picture.
        names: What labels are called.
        axes: What the axes are called.
        circles: Radii of circles around the origin.
        note: A line below them.

    Returns:
        The figure.

    Raises:
        ValueError: These are no points, or labels are not as many.
        OSError: The picture cannot be written.
    """
    arrays = {name: _points(array) for name, array in points.items()}
    counts = {len(array) for array in arrays.values()}
    kinds = None if labels is None else np.asarray(labels)
    if kinds is not None and {kinds.shape} != {(count,) for count in counts}:
        raise ValueError(
            f"Expected a label for each point. Received: labels of shape {kinds.shape} for "
            f"{', '.join(map(str, sorted(counts)))} points."
        )
    size = (6.2, 5.8) if len(arrays) == 1 else (4.4, 4.4)
    figure, panels = panelled(1, len(arrays), size, sharey=False, sharex=False)
    for panel, (name, array) in zip(panels, arrays.items(), strict=True):
        flat = array.shape[1] == 1
        shown = _stripped(array[:, 0], kinds) if flat else array
        for radius in circles:
            _circle(panel, radius)
        _put(figure, panel, shown, kinds, names or {}, flat)
        panel.set_title(name, fontsize=11, color=INK, loc="left", pad=8, parse_math=False)
        quiet(panel)
        panel.set_xlabel(axes[0], fontsize=9.5, color=MUTED, parse_math=False)
        if flat:
            panel.set_yticks([])
            panel.grid(visible=False, axis="y")
        else:
            panel.set_ylabel(axes[1], fontsize=9.5, color=MUTED, parse_math=False)
            if _alike(array) and not circles:
                # In one place there is no scale, and limits that follow the data have no width.
                x, y = map(float, array[0])
                panel.set(xlim=(x - 0.5, x + 0.5), ylim=(y - 0.5, y + 0.5), aspect="equal")
            else:
                panel.set_aspect("equal", adjustable="datalim")
    if note:
        figure.supxlabel(note, fontsize=9, color=MUTED, parse_math=False)
    return save(figure, path)


def is_amount(labels: npt.NDArray[Any]) -> bool:
    """Say whether labels are amounts rather than classes."""
    if labels.dtype.kind not in "biuf":
        return False
    kinds = np.unique(labels)
    return len(kinds) > MOST_CLASSES or bool(np.any(kinds != np.floor(kinds)))


def _put(
    figure: Figure, panel: Any, points: Any, labels: Any, names: Mapping[Any, str], flat: bool
) -> None:
    """Put points into a panel, each label in its way."""
    small = max(4.0, min(18.0, 36_000 / len(points)))
    if labels is None:
        panel.scatter(*points.T, s=small, color=_COLOURS[0], alpha=0.7, linewidths=0)
        return
    if is_amount(labels):
        marks = panel.scatter(*points.T, s=small, c=labels, cmap="cividis", linewidths=0)
        bar = figure.colorbar(marks, ax=panel, shrink=0.7, pad=0.02)
        bar.set_label("label", fontsize=9.5, color=MUTED)
        bar.ax.tick_params(labelsize=9, colors=MUTED, length=0)
        bar.outline.set_visible(False)  # type: ignore[operator]
        return
    from matplotlib.patheffects import withStroke

    kinds = np.unique(labels)
    called = [names.get(kind.item(), _text(kind)) for kind in kinds]
    written = len(points) <= _WRITTEN and all(map(_MARKABLE.fullmatch, called)) and not flat
    marks = [f"${name}$" for name in called] if written else itertools.cycle(_MARKS)
    halo = [withStroke(linewidth=3, foreground="white")]
    for place, (kind, name, mark) in enumerate(zip(kinds, called, marks, strict=False)):
        of_kind = points[labels == kind]
        colour = _COLOURS[place % len(_COLOURS)]
        panel.scatter(
            *of_kind.T, s=max(22.0, small) if written else small, marker=mark, color=colour,
            alpha=0.8, linewidths=0, label=name,
        )  # fmt: skip
        if not written:
            x, y = np.median(of_kind, axis=0)
            x = points[:, 0].min() if flat else x
            panel.annotate(
                name, (x, y), ha="right" if flat else "center", va="center", color=colour,
                xytext=(-8 if flat else 0, 0), textcoords="offset points",
                fontsize=12, fontweight="bold", path_effects=halo, parse_math=False,
            )  # fmt: skip


def _text(label: Any) -> str:
    return f"{label:g}" if label.dtype.kind in "biuf" else str(label)


def _points(array: npt.ArrayLike) -> npt.NDArray[Any]:
    points = np.asarray(array)
    if points.ndim != 2 or points.shape[1] not in (1, 2) or not len(points):
        raise ValueError(
            f"Expected points, [N, 2] or [N, 1]. Received: points of shape {points.shape}."
        )
    if not np.isfinite(points).all():
        raise ValueError("Expected finite points. Received: NaN or infinity among them.")
    return points


def _alike(points: npt.NDArray[Any]) -> bool:
    """Say whether all points are one, up to rounding."""
    return bool(np.ptp(points, axis=0).max() <= _ROUNDING * max(1.0, np.abs(points).max()))


def _stripped(values: npt.NDArray[Any], labels: Any) -> npt.NDArray[Any]:
    """Put values on a line side by side, those of each label at a height of their own."""
    beside = np.random.default_rng(0).uniform(-0.35, 0.35, len(values))
    kinds: Any = 0 if labels is None else np.unique(labels, return_inverse=True)[1]
    if labels is not None and is_amount(labels):
        kinds = 0
    return np.stack([values, kinds + beside], axis=1)


def _circle(panel: Any, radius: float) -> None:
    from matplotlib.patches import Circle

    edge = Circle((0, 0), radius, fill=False, edgecolor=RULE, linestyle="--", linewidth=1.2)
    panel.add_patch(edge)
