"""Images on a canvas, framed, and a figure that shows it pixel for pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfvae.drawing import DPI, INK, MUTED, new_figure, positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

# Between images: neither the black nor the white of their own edges.
FRAME = 0.72
MARGIN, TITLE, HEADING = 18, 34, 26  # pixels of the picture
CHARACTER = 11.5  # wide, in small text
LARGEST = 30_000  # pixels a side
PADDING = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))


def colour_images(argument: str, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return images as colour in [0, 1], [N, H, W, 3]."""
    pixels = np.asarray(images)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3) or not pixels.size:
        raise ValueError(
            f"Expected {argument} to be images, [N, H, W], [N, H, W, 1] or [N, H, W, 3]. "
            f"Received: {argument} of shape {np.shape(images)}; only images can be drawn, so "
            "reshape flat ones first."
        )
    if pixels.dtype.kind not in "bf" or not np.isfinite(pixels).all():
        what = "NaN or infinite values" if pixels.dtype.kind == "f" else f"dtype {pixels.dtype}"
        raise ValueError(
            f"Expected finite floats in [0, 1] in {argument}. Received: {what}; scale integers, "
            "as in images.astype('float32') / 255."
        )
    clipped = np.clip(pixels.astype(np.float32), 0.0, 1.0)
    return np.broadcast_to(clipped, (*clipped.shape[:3], 3))


def laid_out(pixels: npt.NDArray[np.float32], columns: int | None, scale: int | None) -> Any:
    """Lay images out in reading order, framed: the canvas [height, width, 3]."""
    count, height, width, _ = pixels.shape
    if columns is None:
        columns = min(count, max(1, round(math.sqrt(count * height / width))))
    columns = min(positive("columns", columns), count)
    scale = default_scale(columns * width) if scale is None else positive("scale", scale)
    gap = gap_of(scale * max(height, width))
    tops = [gap + row * (scale * height + gap) for row in range(-(-count // columns))]
    return composed(np.array_split(pixels, range(columns, count, columns)), tops, scale, gap)


def default_scale(width: int) -> int:
    """Return the pixels per pixel at which a row of images is about 1,000 wide."""
    return max(1, min(16, round(1000 / width)))


def gap_of(tile: int) -> int:
    """Return the width of the frame of images of a size."""
    return max(2, round(tile / 32))


def composed(rows: Sequence[Any], tops: Sequence[int], scale: int, gap: int) -> Any:
    """Put rows of images [n, H, W, 3] at their heights, framed, each pixel a block."""
    _, height, width, _ = rows[0].shape
    height, width = scale * height, scale * width
    lefts = [gap + i * (width + gap) for i in range(len(rows[0]))]
    tall, wide = tops[-1] + height + gap, lefts[-1] + width + gap
    if max(tall, wide) > LARGEST:
        raise ValueError(
            f"Expected a picture of at most {LARGEST:,} pixels a side. Received: images that make "
            f"one of {wide:,} by {tall:,}; show fewer of them, or pass columns and scale."
        )
    canvas = np.ones((tall, wide, 3), np.float32)
    for row, top in zip(rows, tops, strict=True):
        canvas[top - gap : top + height + gap, : lefts[len(row) - 1] + width + gap] = FRAME
        for image, left in zip(row, lefts, strict=False):
            block = image.repeat(scale, axis=0).repeat(scale, axis=1)
            canvas[top : top + height, left : left + width] = block
    return canvas


def labelled_rows(
    lines: Sequence[Any],
    labels: Sequence[str] = (),
    *,
    headings: Sequence[str] = (),
    group: int = 1,
    title: str | None = None,
    note: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Return a figure of rows of images [n, H, W, 3], labelled on the left and above.

    Args:
        lines: the rows, no other longer than the first.
        labels: one for each row, or none.
        headings: one for each column, or none.
        group: rows that belong together.
        title: a line above the images.
        note: a line below them.
        scale: picture pixels per image pixel.
    """
    columns, height, width, _ = lines[0].shape
    scale = default_scale(columns * width) if scale is None else positive("scale", scale)
    gap = gap_of(scale * max(height, width))
    step = scale * height + gap
    between = 5 * gap if group > 1 else 0
    tops = [gap + i * step + (i // group) * between for i in range(len(lines))]
    left = round(14 + CHARACTER * max(map(len, labels))) if labels else 0
    figure = exact_figure(
        composed(lines, tops, scale, gap), title, left=left, top=HEADING if headings else 0,
        note=note,
    )  # fmt: skip
    axes = figure.axes[0]
    style: dict[str, Any] = {
        "textcoords": "offset points", "fontsize": 9.5, "color": INK, "parse_math": False,
    }  # fmt: skip
    for label, top in zip(labels, tops, strict=bool(labels)):
        at = (0, top + scale * height / 2)
        axes.annotate(label, at, xytext=(-6, 0), ha="right", va="center", **style)
    # Only as many as have room side by side.
    wide = CHARACTER * (1 + max(map(len, headings), default=0))
    every = math.ceil(wide / (scale * width + gap))
    for place in range(len(headings) // 2 % every, len(headings), every):
        at = (gap + place * (scale * width + gap) + scale * width / 2, 0)
        axes.annotate(headings[place], at, xytext=(0, 3), ha="center", va="bottom", **style)
    return figure


def exact_figure(
    canvas: Any,
    title: str | None,
    *,
    left: int = 0,
    top: int = 0,
    bottom: int = 0,
    note: str | None = None,
) -> Figure:
    """Return a figure in which each pixel of the canvas is one pixel of the picture.

    Args:
        canvas: [height, width, 3].
        title: a line above it.
        left: pixels to leave free on its left, as are `top` and `bottom`.
        top: above it.
        bottom: below it.
        note: a line below it.
    """
    height, width, _ = canvas.shape
    # Generous, so that a line over a small image fits.
    text_width = max(CHARACTER * 1.15 * len(title or ""), CHARACTER * len(note or ""))
    side = max(MARGIN, round(text_width - left - width) // 2)
    above = MARGIN + top + (0 if title is None else TITLE)
    below = MARGIN + bottom + (0 if note is None else TITLE)
    full_width, full_height = left + width + 2 * side, height + above + below
    figure = new_figure((full_width / DPI, full_height / DPI))
    axes = figure.add_axes(
        (
            (left + side) / full_width,
            below / full_height,
            width / full_width,
            height / full_height,
        )
    )
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    if title is not None:
        pad = 8 + 72 * top / DPI
        axes.set_title(title, fontsize=11, color=INK, pad=pad, parse_math=False)
    if note is not None:
        middle = (side + (left + width) / 2) / full_width
        style: dict[str, Any] = {"fontsize": 9, "color": MUTED, "ha": "center"}
        figure.text(middle, MARGIN / full_height, note, parse_math=False, **style)
    return figure
