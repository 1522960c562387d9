"""What pictures have in common: ink, numbers, and files that are whole or not there.

Figures are made without pyplot, so there is no backend to choose and no state to clean up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tfvae import extras

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 144
INK, MUTED, RULE = "#1f2328", "#59636e", "#d8dee4"


def number(value: float) -> str:
    """Write a number with one or two places, and a proper minus."""
    return f"{value:.{1 if abs(value) >= 10 else 2}f}".replace("-", "\N{MINUS SIGN}")


def new_figure(
    size: tuple[float, float], *, layout: Literal["constrained"] | None = None
) -> Figure:
    """Return an empty figure, of a size in inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    extras.check(*extras.MATPLOTLIB)
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=DPI, facecolor="white", layout=layout)


def save(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Save a figure, if there is a path to save it to, and return it.

    Raises:
        ValueError: The ending of `path` is none that matplotlib knows.
        OSError: It cannot be written.
    """
    if path is None:
        return figure
    ending = ending_of(path)
    write(path, lambda beside: figure.savefig(beside, dpi=DPI, format=ending))
    return figure


def ending_of(path: str | os.PathLike[str]) -> str:
    """Return the ending of a picture's path, or say that matplotlib knows none such.

    Raises:
        ValueError: it is none of matplotlib's.
    """
    extras.check(*extras.MATPLOTLIB)
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    ending = Path(path).suffix[1:].lower()
    if ending not in known:
        raise ValueError(
            f"Expected path to end in one of {', '.join(sorted(known))}. Received: path={path}; "
            "end it in .png."
        )
    return ending


def write(path: str | os.PathLike[str], draw: Callable[[Path], None]) -> None:
    """Save beside the destination, then rename: no reader sees half a picture."""
    path = Path(path)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix.lower()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draw(beside)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"Could not write the picture ({error.strerror or error})", str(path)
        ) from error


def positive(argument: str, value: Any) -> int:
    """Return a whole number of at least 1, or say that it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(
            f"Expected {argument} to be an integer of at least 1. Received: {argument}={value!r}; "
            "pass one, or None for the default."
        )
    return int(value)


def panelled(
    rows: int,
    columns: int,
    size: tuple[float, float],
    *,
    sharey: bool = True,
    sharex: bool = True,
) -> tuple[Figure, list[Any]]:
    """Return a figure and its panels in reading order, each of a size in inches."""
    made = new_figure((size[0] * columns, size[1] * rows), layout="constrained")
    made.get_layout_engine().set(wspace=0.05, hspace=0.06, w_pad=0.1, h_pad=0.1)  # type: ignore[call-arg,union-attr]
    grid = made.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return made, list(grid.flat)


def titled(axes: Any, title: str, x: str, y: str, *, first: bool | None = None) -> None:
    """Name a panel and its axes, and draw it as quietly as the others are."""
    axes.set_title(title, fontsize=11, color=INK, loc="left", pad=8, parse_math=False)
    axes.set_xlabel(x, fontsize=9.5, color=MUTED, parse_math=False)
    if first is None:
        y = y if axes.get_subplotspec().is_first_col() else ""
    axes.set_ylabel(y, fontsize=9.5, color=MUTED, parse_math=False)
    axes.tick_params(labelbottom=True)
    quiet(axes)


def quiet(axes: Any, labelsize: float = 9) -> None:
    """Draw a panel's axes so that the data stand out: a light grid, and no box."""
    axes.tick_params(which="both", colors=MUTED, labelsize=labelsize, length=0)
    axes.grid(visible=True, color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(RULE)
