"""Folders of PNG and JPEG images: which there are, of which class and size, and their values.

Folders in the folder are classes, in the order of their names, with images at any depth; images
that lie in the folder itself have no class. Folders called `train`, and `test` or `validation`
(`val`), are parts, and hold classes or images likewise.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfvae.sources import Array, DataError, OnCorrupt

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MEMORY_BYTES", "ImageFiles", "decode", "find", "read", "survey"]

MEMORY_BYTES = 1 << 30
"""Of images, as bytes, that `read` takes into memory at most."""

_ENDINGS = (".png", ".jpg", ".jpeg")
_PARTS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}
_GREY = ("1", "L", "LA")
_DEEP = ("I", "F")  # and all 16-bit modes: 8 bits would lose what they were kept for
_CHUNK = 64  # images that are decoded ahead
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class ImageFiles:
    """Images of one part.

    Attributes:
        paths: Where they lie, in the order of their names.
        labels: Index of each one's class int64 [N], or None where there are no classes.
    """

    paths: tuple[Path, ...]
    labels: Array | None

    def at(self, rows: Array) -> ImageFiles:
        """Some of them."""
        labels = None if self.labels is None else self.labels[rows]
        return ImageFiles(tuple(self.paths[row] for row in rows), labels)


def find(folder: Path) -> tuple[dict[str, ImageFiles], tuple[str, ...]]:
    """List the images of a folder.

    Returns:
        The parts that the folder has, at least "train", and the names of the classes.

    Raises:
        DataError: There are no images, or some have a class and some do not.
    """
    inner = [each for each in sorted(folder.iterdir()) if each.is_dir() and _visible(each.name)]
    named = {_PARTS.get(each.name.lower(), ""): each for each in inner}
    places = named if "train" in named and "" not in named else {"train": folder}
    found = {part: list(_images(place)) for part, place in places.items()}
    found = {part: paths for part, paths in found.items() if paths}
    if "train" not in found:
        kinds = ", ".join(_ENDINGS)
        raise DataError(
            f"Expected images ({kinds}) in {places['train']}. Received: a folder without any; "
            "check the path."
        )
    classes: set[str] = set()
    loose = None
    for part, paths in found.items():
        for path in paths:
            above = path.relative_to(places[part]).parts[:-1]
            classes.update(above[:1])
            loose = loose if above else path
    if classes and loose:
        raise DataError(
            f"Expected all images of {folder} in folders of classes, or none. Received: {loose} "
            f"beside folders such as {min(classes)}; move it into one of them, or away."
        )
    names = tuple(sorted(classes))
    numbers = {name: number for number, name in enumerate(names)}
    return {
        part: ImageFiles(
            tuple(paths),
            np.array([numbers[p.relative_to(places[part]).parts[0]] for p in paths], np.int64)
            if names
            else None,
        )
        for part, paths in found.items()
    }, names


def survey(
    paths: Sequence[Path],
    size: tuple[int, int] | None = None,
    colour: bool | None = None,
    on_corrupt: OnCorrupt = "raise",
) -> tuple[int, int, int]:
    """Return the shape that images are read with, from what the files say of themselves.

    Args:
        paths: The images.
        size: Height and width to scale to; None for that of the images.
        colour: Whether to keep colours; None to keep them if any image has some.
        on_corrupt: Whether to raise for files that cannot be read, or look at the others.

    Returns:
        (height, width, channels).

    Raises:
        DataError: Sizes differ, an image has more than 8 bits a channel, or cannot be read.
    """
    if size is not None and colour is not None:
        return (*size, 3 if colour else 1)
    first = None
    coloured = False
    for path in paths:
        try:
            width_height, mode = _header(path)
        except DataError:
            if on_corrupt == "raise":
                raise
            continue
        if first is None:
            first = (path, width_height)
        if size is None and width_height != first[1]:
            (w, h), (v, g) = first[1], width_height
            raise DataError(
                f"Expected images of one size. Received: {first[0]} of {h}x{w} and {path} of "
                f"{g}x{v}; scale them: `tfvae data convert SRC DEST --size {min(h, g)}` (size=)."
            )
        coloured = coloured or mode not in _GREY
    if first is None:
        raise DataError(
            f"Expected images that can be read. Received: {len(paths)} such as {paths[0]}, of "
            "which none can."
        )
    height, width = size if size is not None else first[1][::-1]
    return height, width, 3 if (coloured if colour is None else colour) else 1


def decode(paths: Sequence[Path], shape: tuple[int, int, int]) -> Iterator[Array | DataError]:
    """Yield the values of images, uint8 [height, width, channels], or why one cannot be read.

    Images of another size are scaled to cover the shape and cut to its middle: nothing is
    stretched. Colours become grey, transparency is dropped, as Pillow does it.

    Args:
        paths: The images; a few are decoded ahead of what is asked for.
        shape: Height, width, and 1 or 3 channels.
    """

    def one(path: Path) -> Array | DataError:
        try:
            return _values(path, shape)
        except DataError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(paths), _CHUNK):
            yield from pool.map(one, paths[start : start + _CHUNK])


def read(
    folder: Path, *, on_corrupt: OnCorrupt = "raise"
) -> tuple[str, dict[str, Array], tuple[str, ...]]:
    """Read a small folder into memory.

    Args:
        folder: As described above; all images of one size.
        on_corrupt: "raise", or "skip" to leave out damaged images with a warning.

    Returns:
        Its name, arrays as of `tfvae.sources.read` with uint8 images [N, height, width, channels],
        and the names of the classes.

    Raises:
        DataError: There are no images, they differ in size, are damaged, or too many.
    """
    parts, classes = find(folder)
    paths = [path for part in parts.values() for path in part.paths]
    shape = survey(paths, on_corrupt=on_corrupt)
    if len(paths) * int(np.prod(shape)) > MEMORY_BYTES:
        raise DataError(
            f"Expected images of {MEMORY_BYTES / 2**30:.0f} GB at most. Received: {folder}, with "
            f"{len(paths):,} of {'x'.join(map(str, shape))}; convert them to be streamed: `tfvae "
            "data convert SRC DEST`."
        )
    arrays = {}
    damaged: list[DataError] = []
    for part, files in parts.items():
        suffix = f"_{part}" if len(parts) > 1 else ""
        x = np.empty((len(files.paths), *shape), np.uint8)
        kept = []
        for row, values in enumerate(decode(files.paths, shape)):
            if isinstance(values, DataError):
                if on_corrupt == "raise":
                    raise values
                damaged.append(values)
            else:
                x[row] = values
                kept.append(row)
        arrays[f"x{suffix}"] = x[kept]
        if files.labels is not None:
            arrays[f"y{suffix}"] = files.labels[kept]
    if damaged:
        warnings.warn(f"Left out {len(damaged)} damaged images: {damaged[0]}", stacklevel=3)
    return folder.resolve().name, arrays, classes


def _images(place: Path) -> Iterator[Path]:
    for above, folders, names in os.walk(place):
        folders[:] = sorted(filter(_visible, folders))
        for name in sorted(filter(_visible, names)):
            if name.lower().endswith(_ENDINGS):
                yield Path(above, name)


def _visible(name: str) -> bool:
    return not name.startswith((".", "__"))


def _header(path: Path) -> tuple[tuple[int, int], str]:
    with _opened(path) as image:
        return image.size, image.mode


def _values(path: Path, shape: tuple[int, int, int]) -> Array:
    from PIL import ImageOps

    height, width, channels = shape
    with _opened(path) as file:
        try:
            # Of a palette, transparency can only be dropped after this.
            image = file.convert("RGBA") if "transparency" in file.info else file
            image = image.convert("RGB" if channels == 3 else "L")
        except Exception as error:  # by where the damage falls: OSError, SyntaxError, zlib.error
            raise _damaged(path, error) from error
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height))
    return np.asarray(image).reshape(shape)


def _opened(path: Path) -> Image.Image:
    from PIL import Image

    try:
        image = Image.open(path)
    except PermissionError as error:
        raise DataError(f"Could not open {path}: permission denied; make it readable.") from error
    except Exception as error:
        raise _damaged(path, error) from error
    if image.mode.startswith(_DEEP):
        image.close()
        raise DataError(
            f"Expected images of 8 bits a channel. Received: {path}, of mode {image.mode}; save it "
            "with 8 bits, or its values as .npy."
        )
    return image


def _damaged(path: Path, error: Exception) -> DataError:
    reason: Any = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"Could not read {path}: it is damaged or no image ({reason}); replace it, or pass "
        "on_corrupt='skip' (--skip-corrupt) to leave out such images."
    )
