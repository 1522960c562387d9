"""Sentences as a picture: a table of text."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfvae.drawing import INK, MUTED, RULE, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 52  # characters of a column, at which a sentence is folded
_LINE, _MARGIN = 0.21, 0.2  # inches
_CHARACTER = 0.082
MOST = 200
"""Rows that a picture has, at most: a text file holds more."""


def sentences(
    rows: Sequence[str | Sequence[str]],
    path: str | os.PathLike[str] | None = None,
    *,
    headings: Sequence[str] = (),
    breaks: Sequence[int] = (),
    note: str | None = None,
) -> Figure:
    """Sentences line by line, or several side by side.

    Args:
        rows: A sentence for each row, or as many as there are columns.
        path: Where to save the picture.
        headings: Of the columns, or none.
        breaks: Rows before which a line is drawn.
        note: A line below.

    Returns:
        The figure.

    Raises:
        ValueError: There are no rows, they differ in length, or there are more than 200.
        OSError: The picture cannot be written.

    Example:
        >>> figure = sentences([("a cat", "a cat"), ("a dog", "the dog")])
        >>> [text.get_text() for text in figure.texts]
        ['a cat', 'a cat', 'a dog', 'the dog']
    """
    table = [(row,) if isinstance(row, str) else tuple(row) for row in rows]
    if not 0 < len(table) <= MOST or {len(row) for row in table} != {len(table[0])}:
        raise ValueError(
            f"Expected 1 to {MOST} rows of as many sentences each. Received: {len(table)} rows, of "
            f"{', '.join(map(str, sorted({len(row) for row in table}))) or 'no'} sentences."
        )
    head = [tuple(headings)] if headings else []
    cells = [[textwrap.wrap(cell, _WIDTH) or [""] for cell in row] for row in head + table]
    widths = [
        _CHARACTER * max(len(line) for row in cells for line in row[column]) + 0.4
        for column in range(len(table[0]))
    ]
    heights = [_LINE * max(map(len, row)) + 0.07 for row in cells]
    bottom = _MARGIN + (0.3 if note else 0)
    wide = max(sum(widths), _CHARACTER * len(note or "")) + 2 * _MARGIN
    tall = sum(heights) + _MARGIN + bottom
    figure = new_figure((wide, tall))
    from matplotlib.lines import Line2D

    top = tall - _MARGIN
    for place, (row, height) in enumerate(zip(cells, heights, strict=True)):
        left = _MARGIN
        heading = bool(head) and place == 0
        for lines, width in zip(row, widths, strict=True):
            figure.text(
                left / wide, top / tall, "\n".join(lines), fontsize=9.5, va="top",
                color=MUTED if heading else INK, parse_math=False,
            )  # fmt: skip
            left += width
        top -= height
        if heading or place + 1 - len(head) in breaks:
            y = (top + 0.07) / tall
            ends = [_MARGIN / wide, 1 - _MARGIN / wide]
            figure.add_artist(Line2D(ends, [y, y], color=RULE, linewidth=1))
    if note:
        style: dict[str, Any] = {"fontsize": 9, "color": MUTED, "ha": "center"}
        figure.text(0.5, _MARGIN / 2 / tall, note, parse_math=False, **style)
    return save(figure, path)
