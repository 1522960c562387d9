"""Images on a canvas, framed, and a figure that shows it pixel for pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfvae.drawing import DPI, INK, positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

# Between images: neither the black nor the white of their own edges.
FRAME = 0.72
MARGIN, TITLE = 18, 34  # pixels of the picture
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
    canvas = np.ones((tops[-1] + height + gap, lefts[-1] + width + gap, 3), np.float32)
    for row, top in zip(rows, tops, strict=True):
        canvas[top - gap : top + height + gap, : lefts[len(row) - 1] + width + gap] = FRAME
        for image, left in zip(row, lefts, strict=False):
            block = image.repeat(scale, axis=0).repeat(scale, axis=1)
            canvas[top : top + height, left : left + width] = block
    return canvas


def exact_figure(canvas: Any, title: str | None, *, left: int = 0) -> Figure:
    """Return a figure in which each pixel of the canvas is one pixel of the picture."""
    from matplotlib.figure import Figure

    height, width, _ = canvas.shape
    text_width = 13 * len(title or "")  # generous, so that a title over a small image fits
    side = max(MARGIN, (text_width - left - width) // 2)
    full_width = left + width + 2 * side
    full_height = height + 2 * MARGIN + (0 if title is None else TITLE)
    figure = Figure(figsize=(full_width / DPI, full_height / DPI), dpi=DPI, facecolor="white")
    axes = figure.add_axes(
        (
            (left + side) / full_width,
            MARGIN / full_height,
            width / full_width,
            height / full_height,
        )
    )
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    if title is not None:
        axes.set_title(title, fontsize=11, color=INK, pad=8)
    return figure
