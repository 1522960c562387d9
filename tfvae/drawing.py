"""What pictures have in common: ink, numbers, and files that are whole or not there.

Figures are made without pyplot, so there is no backend to choose and no state to clean up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 144
INK, MUTED, RULE = "#1f2328", "#59636e", "#d8dee4"


def number(value: float) -> str:
    """Write a number with one or two places, and a proper minus."""
    return f"{value:.{1 if abs(value) >= 10 else 2}f}".replace("-", "\N{MINUS SIGN}")


def save(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Save a figure, if there is a path to save it to, and return it.

    Raises:
        ValueError: The ending of `path` is none that matplotlib knows.
        OSError: It cannot be written.
    """
    if path is None:
        return figure
    known = figure.canvas.get_supported_filetypes()
    ending = Path(path).suffix[1:].lower()
    if ending not in known:
        raise ValueError(
            f"Expected path to end in one of {', '.join(sorted(known))}. Received: path={path}; "
            "end it in .png."
        )
    write(path, lambda beside: figure.savefig(beside, dpi=DPI, format=ending))
    return figure


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
