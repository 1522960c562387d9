"""The plane of two latents, decoded on a grid."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfvae.drawing import INK, MUTED, save
from tfvae.plots.tiles import (
    CHARACTER,
    colour_images,
    composed,
    default_scale,
    exact_figure,
    gap_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

_TICKS = 5  # on an axis, about


def manifold(
    images: npt.ArrayLike,
    x: Sequence[float] = (),
    y: Sequence[float] = (),
    path: str | os.PathLike[str] | None = None,
    *,
    names: tuple[str, str] = ("z₀", "z₁"),
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Images on a grid of two latents: the first grows to the right, the second upwards.

    Args:
        images: Grey [Y, X, H, W] or [Y, X, H, W, 1], or colour [Y, X, H, W, 3], of which the first
            row is of the least y. It is drawn at the bottom.
        x: The first latent's values, one for each column, or none.
        y: The second latent's, one for each row, or none.
        path: Where to save the picture.
        names: Of the latents.
        title: A line above the images.
        note: A line below them.

    Returns:
        The figure. Its only image holds every pixel as drawn.

    Raises:
        ValueError: `images` are no finite images, or values are not as many.
        OSError: The picture cannot be written.

    Example:
        >>> figure = manifold(np.zeros((3, 4, 8, 8)), x=[-1, 0, 1, 2], y=[-1, 0, 1])
        >>> [text.get_text() for text in figure.axes[0].texts][-2:]
        ['z₀', 'z₁']
    """
    array = np.asarray(images)
    if array.ndim not in (4, 5) or not array.size:
        raise ValueError(
            "Expected images on a grid, [Y, X, H, W], [Y, X, H, W, 1] or [Y, X, H, W, 3]. "
            f"Received: images of shape {array.shape}."
        )
    for name, values, count in (("y", y, array.shape[0]), ("x", x, array.shape[1])):
        if len(values) not in (0, count):
            raise ValueError(
                f"Expected {count} values of {name}, or none. Received: {len(values)}."
            )
    pixels = colour_images("images", array.reshape(-1, *array.shape[2:]))
    lines = pixels.reshape(*array.shape[:2], *pixels.shape[1:])[::-1]
    rows, columns, height, width, _ = lines.shape
    scale = default_scale(columns * width)
    gap = max(4, gap_of(scale * max(height, width)))
    step_y, step_x = scale * height + gap, scale * width + gap
    tops = [gap + row * step_y for row in range(rows)]
    texts_x, texts_y = ([_signed(value) for value in values] for values in (x, y))
    wide = max(map(len, texts_y), default=0)
    figure = exact_figure(
        composed(list(lines), tops, scale, gap),
        title,
        left=round(CHARACTER * (wide + 3)) if wide else 0,
        bottom=56 if texts_x else 0,
        note=note,
    )
    axes = figure.axes[0]
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9, "color": MUTED}
    end_x, end_y = columns * step_x, rows * step_y
    for i in _some(texts_y, step_y, 30):
        at = (0, (rows - i - 0.5) * step_y)
        axes.annotate(texts_y[i], at, xytext=(-6, 0), ha="right", va="center", **style)
    for i in _some(texts_x, step_x, CHARACTER * 6):
        at = ((i + 0.5) * step_x, end_y)
        axes.annotate(texts_x[i], at, xytext=(0, -5), ha="center", va="top", **style)
    style |= {"fontsize": 10.5, "color": INK, "parse_math": False}
    if texts_x:
        middle = (end_x / 2, end_y)
        axes.annotate(names[0], middle, xytext=(0, -17), ha="center", va="top", **style)
    if texts_y:
        at, away = (0, end_y / 2), -10 - 0.42 * CHARACTER * wide
        axes.annotate(names[1], at, xytext=(away, 0), ha="right", va="center", **style)
    return save(figure, path)


def _some(texts: Sequence[str], tile: float, room: float) -> range:
    """Return which of the values are written: about five, and none so near that they meet."""
    every = max(1, math.ceil((len(texts) - 1) / (_TICKS - 1)), math.ceil(room / tile))
    rest = (len(texts) - 1) % every if texts else 0
    return range(rest // 2, len(texts), every)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
