"""Pictures of images: side by side, and originals with what a model makes of them.

Images are drawn pixel for pixel: one pixel of data is a square block of the picture's. `save_grid`
writes the same picture as `grid` without importing matplotlib, which takes as long as all else
together that `tfvae generate` does.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfvae.drawing import DPI, positive, save, write
from tfvae.plots.tiles import PADDING, colour_images, exact_figure, labelled_rows, laid_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

# What Pillow alone writes; matplotlib the others.
_RASTER = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def grid(
    images: npt.ArrayLike,
    columns: int | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    note: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Images side by side, in reading order.

    Args:
        images: Grey [N, H, W] or [N, H, W, 1], or colour [N, H, W, 3]; values are clipped to
            [0, 1].
        columns: Images in a row; by default as many as make the picture about square.
        path: Where to save the picture, with an ending matplotlib knows (.png, .pdf, .svg, ...).
        title: A line above the images.
        note: A line below them.
        scale: Picture pixels per image pixel; by default so that the picture is about 1,000 wide.

    Returns:
        The figure. Its only image holds every pixel as drawn.

    Raises:
        ValueError: `images` are no finite images, or `columns` or `scale` is not positive.
        OSError: The picture cannot be written.

    Example:
        >>> figure = grid(np.linspace(0, 1, 6 * 4 * 4).reshape(6, 4, 4), columns=3, scale=10)
        >>> figure.axes[0].images[0].get_array().shape
        (86, 128, 3)
    """
    canvas = laid_out(colour_images("images", images), columns, scale)
    return save(exact_figure(canvas, title, note=note), path)


def save_grid(
    images: npt.ArrayLike,
    path: str | os.PathLike[str],
    columns: int | None = None,
    *,
    scale: int | None = None,
) -> None:
    """Write images side by side to a file, as `grid` does, and faster.

    Args:
        images: As `grid` takes them, or bytes (uint8), which are divided by 255.
        path: Where to save the picture, with an ending that Pillow or matplotlib knows.
        columns: Images in a row; by default as many as make the picture about square.
        scale: Picture pixels per image pixel; by default so that the picture is about 1,000 wide.

    Raises:
        ValueError: `images` are no finite images, or `columns` or `scale` is not positive.
        OSError: The picture cannot be written.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_grid(np.eye(4)[None], f"{folder}/eye.png", scale=10)
        ...     with Image.open(f"{folder}/eye.png") as picture:
        ...         picture.size
        (80, 80)
    """
    values = np.asarray(images)
    pixels = colour_images(
        "images", values / np.float32(255) if values.dtype == np.uint8 else values
    )
    if Path(path).suffix.lower() not in _RASTER:
        save(exact_figure(laid_out(pixels, columns, scale), None), path)
        return
    from PIL import Image

    canvas = np.pad(laid_out(pixels, columns, scale), PADDING, constant_values=1.0)
    picture = Image.fromarray((255 * canvas + 0.5).astype(np.uint8))
    write(path, lambda beside: picture.save(beside, dpi=(DPI, DPI)))


def reconstructions(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    columns: int | None = None,
    title: str | None = None,
    note: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Originals, and what the model makes of each, directly below it.

    Args:
        x: Originals, as `grid` takes them.
        mean: Their reconstructions, of the same shape up to a channel axis of one.
        path: Where to save the picture.
        columns: Pairs in a row; 12 by default, or more of very many.
        title: A line above the images.
        note: A line below them.
        scale: Picture pixels per image pixel.

    Returns:
        The figure. Its only image holds every pixel as drawn.

    Raises:
        ValueError: Either is no images, or they differ in shape.
        OSError: The picture cannot be written.

    Example:
        >>> x = np.eye(8)[None].repeat(4, axis=0)
        >>> figure = reconstructions(x, 1 - x)
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['original', 'reconstruction']
    """
    above, below = colour_images("x", x), colour_images("mean", mean)
    if above.shape != below.shape:
        raise ValueError(
            f"Expected x and mean of the same shape. Received: x {np.shape(x)}, mean "
            f"{np.shape(mean)}; pass one reconstruction per original."
        )
    count, height, width, _ = above.shape
    if columns is None:  # about square where there are many
        columns = max(12, round(math.sqrt(2 * count * height / width)))
    columns = min(positive("columns", columns), count)
    cuts = range(columns, count, columns)
    lines = [
        row
        for pair in zip(np.array_split(above, cuts), np.array_split(below, cuts), strict=True)
        for row in pair
    ]
    labels = ["original", "reconstruction"] * (len(lines) // 2)
    figure = labelled_rows(lines, labels, group=2, title=title, note=note, scale=scale)
    return save(figure, path)


def rows(
    images: npt.ArrayLike,
    labels: Sequence[str] = (),
    path: str | os.PathLike[str] | None = None,
    *,
    headings: Sequence[str] = (),
    group: int = 1,
    title: str | None = None,
    note: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Rows of images, each with what it is on its left.

    Args:
        images: Grey [R, C, H, W] or [R, C, H, W, 1], or colour [R, C, H, W, 3]; values are clipped
            to [0, 1].
        labels: One for each row, or none.
        path: Where to save the picture.
        headings: One for each column, or none; where they would meet, some are left out.
        group: Rows that belong together; there is more space between groups.
        title: A line above the images.
        note: A line below them.
        scale: Picture pixels per image pixel.

    Returns:
        The figure. Its only image holds every pixel as drawn.

    Raises:
        ValueError: `images` are no finite images, or labels or headings are not as many.
        OSError: The picture cannot be written.

    Example:
        >>> figure = rows(np.zeros((2, 5, 8, 8)), ["first", "second"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['first', 'second']
    """
    array = np.asarray(images)
    if array.ndim not in (4, 5) or not array.size:
        raise ValueError(
            "Expected images in rows, [R, C, H, W], [R, C, H, W, 1] or [R, C, H, W, 3]. Received: "
            f"images of shape {array.shape}."
        )
    for name, texts, count in (
        ("labels", labels, array.shape[0]),
        ("headings", headings, array.shape[1]),
    ):
        if len(texts) not in (0, count):
            raise ValueError(f"Expected {count} {name}, or none. Received: {len(texts)}.")
    pixels = colour_images("images", array.reshape(-1, *array.shape[2:]))
    lines = pixels.reshape(*array.shape[:2], *pixels.shape[1:])
    figure = labelled_rows(
        list(lines), labels, headings=headings, group=positive("group", group), title=title,
        note=note, scale=scale,
    )  # fmt: skip
    return save(figure, path)
