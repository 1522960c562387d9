"""What can be converted: arrays, and folders of images, which are read as they are written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfvae import data, images
from tfvae.images import ImageFiles
from tfvae.records.shards import Layout, block_records
from tfvae.records.wire import varint_bytes
from tfvae.records.writer import Chunk, Source
from tfvae.shapes import NAME, Request, Shapes
from tfvae.sources import Array, DataError, OnCorrupt, read, requested

__all__ = ["of_arrays", "of_images"]

_ROWS = 1024  # of arrays, gathered at once
_IMAGES = 64  # decoded at once
_DTYPES = ("uint8", "int8", "uint16", "int16", "int32", "int64", "float16", "float32", "float64")


@dataclass(frozen=True)
class _Arrays:
    """Rows of arrays."""

    x: Array
    y: Array | None
    rows: Array

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, rows: Array) -> _Arrays:
        return dataclasses.replace(self, rows=self.rows[rows])

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, len(self), _ROWS):
            rows = self.rows[start : start + _ROWS]
            yield Chunk(self.x[rows], None if self.y is None else self.y[rows])


@dataclass(frozen=True)
class _Shapes:
    """Images of shapes, drawn as they are written."""

    shapes: Shapes
    y: Array

    def __len__(self) -> int:
        return len(self.y)

    def at(self, rows: Array) -> _Shapes:
        return dataclasses.replace(self, y=self.y[rows])

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, len(self), _ROWS):
            y = self.y[start : start + _ROWS]
            yield Chunk(self.shapes.images(y), y)


@dataclass(frozen=True)
class _Images:
    """Images of a folder, scaled to one shape."""

    files: ImageFiles
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.files.paths)

    @property
    def y(self) -> Array | None:
        return self.files.labels

    def at(self, rows: Array) -> _Images:
        return dataclasses.replace(self, files=self.files.at(rows))

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, len(self), _IMAGES):
            rows = np.arange(start, min(start + _IMAGES, len(self)))
            found = list(images.decode(self.files.at(rows).paths, self.shape))
            whole = np.array([not isinstance(each, DataError) for each in found])
            x = [each for each in found if not isinstance(each, DataError)]
            yield Chunk(
                np.stack(x) if x else np.empty((0, *self.shape), np.uint8),
                None if self.y is None else self.y[rows[whole]],
                tuple(each for each in found if isinstance(each, DataError)),
            )


def of_arrays(source: str | os.PathLike[str]) -> tuple[Layout, dict[str, Source]]:
    """Return what is known of a name or file beforehand, and its parts.

    Raises:
        DataError: It cannot be read, or its arrays cannot be written.
    """
    if (asked := requested(source)) is not None:
        return _of_shapes(asked)
    name, raw = read(source, mapped=True)
    found = data.divide(name, raw)
    kinds = {part.x.dtype for part in found.values()}
    dtype = np.dtype(np.uint8) if kinds == {np.dtype(bool)} else np.result_type(*kinds)
    if dtype.name not in _DTYPES:
        raise DataError(
            f"Expected values of one of the types {', '.join(_DTYPES)}. Received: {name} of "
            f"{' and '.join(sorted(map(str, kinds)))}; save them as one of those."
        )
    parts: dict[str, Source] = {}
    for key, (x, y, rows) in found.items():
        if x.ndim < 2 or not x.size:
            raise DataError(
                f"Expected the {key} set of {name} to be [N, ...] with at least one example and "
                f"one value. Received: shape {x.shape}; add what is missing."
            )
        if y is not None and y.shape[:1] != x.shape[:1]:
            raise DataError(
                f"Expected the labels of {name} to match its examples. Received: y {y.shape}, "
                f"x {x.shape}; save as many labels as examples."
            )
        parts[key] = _Arrays(x, y, np.arange(len(x)) if rows is None else rows)
    labels = [part.y for part in parts.values() if part.y is not None]
    shape = found["train"].x.shape[1:]
    layout = _layout(name, shape, dtype, labels, scale=data.known_scale(source))
    words, factors = (data.words(raw, key) for key in ("vocabulary", "factors"))
    return dataclasses.replace(layout, vocabulary=words, factors=factors), parts


def _of_shapes(asked: Request) -> tuple[Layout, dict[str, Source]]:
    shapes = asked.shapes
    seen, held_out = shapes.factors(asked.train), shapes.factors(asked.test, test=True)
    layout = _layout(NAME, shapes.shape, np.dtype(np.uint8), [seen, held_out], factors=shapes.names)
    return layout, {"train": _Shapes(shapes, seen), "test": _Shapes(shapes, held_out)}


def of_images(
    folder: Path, size: tuple[int, int] | None, colour: bool | None, on_corrupt: OnCorrupt
) -> tuple[Layout, dict[str, Source]]:
    """Return what is known of a folder of images beforehand, and its parts.

    Raises:
        DataError: There are no images, or they cannot be written as they are.
    """
    found, classes = images.find(folder)
    paths = [path for files in found.values() for path in files.paths]
    shape = images.survey(paths, size, colour, on_corrupt)
    if "test" not in found:
        if len(found["train"].paths) < 2:
            raise DataError(
                f"Expected at least 2 images in {folder}, one of them for a test set. Received: 1; "
                "add some."
            )
        train, test = data.held_out_rows(len(found["train"].paths))
        found |= {"train": found["train"].at(train), "test": found["train"].at(test)}
    labels = [files.labels for files in found.values() if files.labels is not None]
    layout = _layout(folder.resolve().name, shape, np.dtype(np.uint8), labels, classes=classes)
    return layout, {name: _Images(files, shape) for name, files in found.items()}


def _layout(
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    labels: list[Array],
    *,
    scale: float | None = None,
    classes: tuple[str, ...] = (),
    factors: tuple[str, ...] = (),
) -> Layout:
    """What is known before anything is written."""
    label_shape, label_dtype, label_bytes = _label_type(name, labels) if labels else ((), None, 1)
    return Layout(
        name=name,
        fingerprint="",
        shape=shape,
        dtype=dtype.name,
        low=0.0,
        high=0.0,
        scale=scale,
        label_shape=label_shape,
        label_dtype=label_dtype,
        label_bytes=label_bytes,
        classes=classes,
        block=block_records(shape, dtype),
        parts={},
        factors=factors,
    )


def _label_type(name: str, labels: list[Array]) -> tuple[tuple[int, ...], str, int]:
    """Shape, type and width of labels, which records hold as integers or as float32."""
    shapes = {y.shape[1:] for y in labels}
    dtype = np.result_type(*labels) if all(y.dtype.kind in "biuf" for y in labels) else None
    if dtype is None or len(shapes) > 1:
        given = ", ".join(f"{y.dtype} {y.shape}" for y in labels)
        raise DataError(
            f"Expected the labels of {name} to be numbers of one shape. Received: {given}; number "
            "the classes, from 0 on."
        )
    if dtype.kind == "f":
        return shapes.pop(), "float32", 1
    kind = "uint8" if dtype.kind == "b" else dtype.name
    return shapes.pop(), kind, max(map(varint_bytes, labels))
