"""Pictures: samples, reconstructions and the course of training.

Functions return a `matplotlib.figure.Figure` and, given a path, write it whole or not at all.
Images are drawn pixel for pixel: one pixel of data is a square block of the picture's. `save_grid`
writes the same picture as `grid` without importing matplotlib, which takes as long as all else
together that `tfvae generate` does.
"""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfvae.drawing import DPI, INK, MUTED, RULE, number, save, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

__all__ = ["grid", "reconstructions", "save_grid", "series", "training"]

# Distinguishable to colour-blind readers, and dark enough to stay legible in grey.
_TERMS = {
    "elbo": ("ELBO", "#0b5cad"),
    "log_likelihood": ("log-likelihood  log p(x|z)", "#9a4a00"),
    "kl": ("KL  q(z|x) ‖ p(z)", "#1a6e4a"),
}
# Between images: neither the black nor the white of their own edges.
_FRAME = 0.72
_MARGIN, _TITLE = 18, 34  # pixels of the picture
_PADDING = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
# What Pillow alone writes; matplotlib the others.
_RASTER = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def grid(
    images: npt.ArrayLike,
    columns: int | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Images side by side, in reading order.

    Args:
        images: Grey [N, H, W] or [N, H, W, 1], or colour [N, H, W, 3]; values are clipped to
            [0, 1].
        columns: Images in a row; by default as many as make the picture about square.
        path: Where to save the picture, with an ending matplotlib knows (.png, .pdf, .svg, ...).
        title: A line above the images.
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
    figure = _figure(_grid(_images("images", images), columns, scale), title)
    return save(figure, path)


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
    pixels = _images("images", values / np.float32(255) if values.dtype == np.uint8 else values)
    if Path(path).suffix.lower() not in _RASTER:
        save(_figure(_grid(pixels, columns, scale), None), path)
        return
    from PIL import Image

    canvas = np.pad(_grid(pixels, columns, scale), _PADDING, constant_values=1.0)
    picture = Image.fromarray((255 * canvas + 0.5).astype(np.uint8))
    write(path, lambda beside: picture.save(beside, dpi=(DPI, DPI)))


def reconstructions(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    columns: int = 12,
    title: str | None = None,
    scale: int | None = None,
) -> Figure:
    """Originals, and what the model makes of each, directly below it.

    Args:
        x: Originals, as `grid` takes them.
        mean: Their reconstructions, of the same shape up to a channel axis of one.
        path: Where to save the picture.
        columns: Pairs in a row.
        title: A line above the images.
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
    above, below = _images("x", x), _images("mean", mean)
    if above.shape != below.shape:
        raise ValueError(
            f"Expected x and mean of the same shape. Received: x {np.shape(x)}, mean "
            f"{np.shape(mean)}; pass one reconstruction per original."
        )
    count, height, width, _ = above.shape
    columns = min(_positive("columns", columns), count)
    scale = _default_scale(columns * width) if scale is None else _positive("scale", scale)
    gap = _gap(scale * max(height, width))
    step = scale * height + gap
    tops = [
        gap + pair * (2 * step + 5 * gap) + below * step
        for pair in range(-(-count // columns))
        for below in (0, 1)
    ]
    cuts = range(columns, count, columns)
    rows = [
        row
        for pair in zip(np.array_split(above, cuts), np.array_split(below, cuts), strict=True)
        for row in pair
    ]
    canvas = _canvas(rows, tops, scale, gap)
    figure = _figure(canvas, title, left=150)
    axes = figure.axes[0]
    for i, top in enumerate(tops):
        axes.annotate(
            ("original", "reconstruction")[i % 2],
            (0, top + scale * height / 2),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9.5,
            color=INK,
        )
    return save(figure, path)


def series(
    values: npt.ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    columns: int = 4,
) -> Figure:
    """Sequences as lines against their steps, a panel for each, on common axes.

    Args:
        values: [N, T] or, a line for each value of a step, [N, T, k].
        path: Where to save the picture.
        lengths: Steps of each sequence [N]; all T by default.
        columns: Panels in a row, at most.

    Returns:
        The figure.

    Raises:
        ValueError: They are no such sequences, are not finite or none, or `columns` is below 1.
        OSError: The picture cannot be written.
    """
    from matplotlib.figure import Figure

    lines = np.asarray(values)
    lines = lines[..., None] if lines.ndim == 2 else lines
    if lines.ndim != 3 or not lines.size or lines.dtype.kind not in "biuf":
        raise ValueError(
            "Expected values to be sequences, [N, T] or [N, T, k]. Received: values of shape "
            f"{np.shape(values)}."
        )
    if not np.isfinite(lines).all():
        raise ValueError("Expected finite values. Received: NaN or infinity among them.")
    columns = min(_positive("columns", columns), len(lines))
    ends = np.full(len(lines), lines.shape[1]) if lengths is None else np.asarray(lengths)
    rows = -(-len(lines) // columns)
    figure = Figure(
        figsize=(2.1 * columns + 0.5, 1.4 * rows + 0.5),
        dpi=DPI, facecolor="white", layout="constrained",
    )  # fmt: skip
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for place, axes in enumerate(panels):
        if place >= len(lines):
            axes.set_visible(False)
            continue
        for k, (color, dashes) in zip(range(lines.shape[2]), _dashed(), strict=False):
            y = lines[place, : ends[place], k]
            axes.plot(range(1, len(y) + 1), y, color=color, linestyle=dashes, linewidth=1.2)
        axes.tick_params(colors=MUTED, labelsize=8, length=0)
        axes.grid(visible=True, color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(RULE)
    figure.supxlabel("step", fontsize=9.5, color=MUTED)
    figure.supylabel("value", fontsize=9.5, color=MUTED)
    return save(figure, path)


def _dashed() -> Iterator[tuple[str, str]]:
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
            whichever are there, and the same with `val_` before, in nats per example.
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
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    terms = [t for t in _TERMS if len(history.get(t, ())) or len(history.get(f"val_{t}", ()))]
    if not terms:
        raise ValueError(
            f"Expected history to hold values of {', '.join(_TERMS)}. Received keys: "
            f"{', '.join(history) or 'none'}; pass fit(...).history."
        )
    figure = Figure(
        figsize=(4.1 * len(terms) + 0.4, 3.7), dpi=DPI, facecolor="white", layout="constrained"
    )
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
        axes.set_title(title, fontsize=11, color=INK, loc="left", pad=10)
        axes.set_xlabel("epoch", fontsize=9.5, color=MUTED)
        axes.set_ylabel("nats per example", fontsize=9.5, color=MUTED)
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins=6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        )
        axes.set_xlim(0.5, max(len(line.get_xdata()) for line in axes.lines) + 0.5)
        axes.tick_params(colors=MUTED, labelsize=9, length=0)
        axes.grid(visible=True, color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.margins(y=0.08)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(RULE)
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="best")
    return save(figure, path)


def _images(argument: str, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Images as colour in [0, 1], [N, H, W, 3]."""
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


def _grid(pixels: npt.NDArray[np.float32], columns: int | None, scale: int | None) -> Any:
    """Images in reading order, framed: the canvas [height, width, 3]."""
    count, height, width, _ = pixels.shape
    if columns is None:
        columns = min(count, max(1, round(math.sqrt(count * height / width))))
    columns = min(_positive("columns", columns), count)
    scale = _default_scale(columns * width) if scale is None else _positive("scale", scale)
    gap = _gap(scale * max(height, width))
    tops = [gap + row * (scale * height + gap) for row in range(-(-count // columns))]
    return _canvas(np.array_split(pixels, range(columns, count, columns)), tops, scale, gap)


def _default_scale(width: int) -> int:
    return max(1, min(16, round(1000 / width)))


def _gap(tile: int) -> int:
    return max(2, round(tile / 32))


def _canvas(rows: Sequence[Any], tops: Sequence[int], scale: int, gap: int) -> Any:
    """Rows of images [n, H, W, 3] at their heights, framed, each pixel a block."""
    _, height, width, _ = rows[0].shape
    height, width = scale * height, scale * width
    lefts = [gap + i * (width + gap) for i in range(len(rows[0]))]
    canvas = np.ones((tops[-1] + height + gap, lefts[-1] + width + gap, 3), np.float32)
    for row, top in zip(rows, tops, strict=True):
        canvas[top - gap : top + height + gap, : lefts[len(row) - 1] + width + gap] = _FRAME
        for image, left in zip(row, lefts, strict=False):
            block = image.repeat(scale, axis=0).repeat(scale, axis=1)
            canvas[top : top + height, left : left + width] = block
    return canvas


def _figure(canvas: Any, title: str | None, *, left: int = 0) -> Figure:
    """A figure in which each pixel of the canvas is one pixel of the picture."""
    from matplotlib.figure import Figure

    height, width, _ = canvas.shape
    text_width = 13 * len(title or "")  # generous, so that a title over a small image fits
    side = max(_MARGIN, (text_width - left - width) // 2)
    full_width = left + width + 2 * side
    full_height = height + 2 * _MARGIN + (0 if title is None else _TITLE)
    figure = Figure(figsize=(full_width / DPI, full_height / DPI), dpi=DPI, facecolor="white")
    axes = figure.add_axes(
        (
            (left + side) / full_width,
            _MARGIN / full_height,
            width / full_width,
            height / full_height,
        )
    )
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    if title is not None:
        axes.set_title(title, fontsize=11, color=INK, pad=8)
    return figure


def _positive(argument: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(
            f"Expected {argument} to be an integer of at least 1. Received: {argument}={value!r}; "
            "pass one, or None for the default."
        )
    return int(value)
