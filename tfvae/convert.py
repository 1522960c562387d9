"""`convert`: any source of data to a folder of sharded TFRecords, which training streams.

The training set is shuffled as it is written, so that what is read together later on is a sample
of all of it. Memory holds the arrays of an `.npz` file, or a few images of a folder; an `.npy` file
is read as it is needed.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfvae import data, startup
from tfvae.convert_sources import of_arrays, of_images
from tfvae.examples import check_seed, choose_rows, held_out_count
from tfvae.export.staging import hidden, staging
from tfvae.files import replace_json
from tfvae.records.shards import (
    FILENAME,
    Layout,
    is_converted,
)
from tfvae.records.writer import Progress, Source, Writer
from tfvae.sources import DataError, OnCorrupt, check_on_corrupt, permutation

__all__ = ["Converted", "convert"]

SHARD_BYTES = 128 << 20
"""Of a shard, where it is not said how many there are to be."""

_OVERHEAD = 64  # bytes, about, that a record has besides its values


class Converted(NamedTuple):
    """What became of a source.

    Attributes:
        path: The folder.
        layout: What is in it.
        left_out: Why an image was left out, for each that was.
    """

    path: Path
    layout: Layout
    left_out: tuple[str, ...]


def convert(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    shards: int | None = None,
    validation: float = 0,
    size: int | tuple[int, int] | None = None,
    colour: bool | None = None,
    seed: int = 0,
    overwrite: bool = False,
    on_corrupt: OnCorrupt = "raise",
    progress: Progress | None = None,
) -> Converted:
    """Write a data set as a folder that `tfvae.data.load` streams.

    The folder appears whole, or not at all.

    Args:
        source: A name, an `.npz` or `.npy` file, or a folder of images, as `tfvae.data.load`
            takes them. A source without a test set has a tenth held out.
        dest: The folder to write.
        shards: Files of the training set; about one for each 128 MB by default. Those of the
            other sets are of about the same size.
        validation: Part of the training set to hold out: a fraction in (0, 1), a count, or 0.
        size: Of images, height and width to scale to, or one number for both.
        colour: Of images, whether to keep colours; None to keep them if any image has some.
        seed: Of the order of the training set and of the validation split.
        overwrite: Replace such a folder, if there is one.
        on_corrupt: "raise", or "skip" to leave out damaged images.
        progress: Called with the number of examples written, and of all.

    Returns:
        What was written.

    Raises:
        DataError: The source cannot be read, or an argument does not fit it.
        FileExistsError: `dest` holds something else, or such a folder and `overwrite` is not set.
        OSError: It cannot be written. Nothing is left of it.

    Example:
        >>> import tempfile
        >>> converted = convert("digits", tempfile.mkdtemp() + "/digits", validation=100)
        >>> for path in sorted(converted.path.iterdir()):
        ...     print(path.name)
        dataset.json
        test-00000-of-00001.tfrecord
        train-00000-of-00001.tfrecord
        validation-00000-of-00001.tfrecord
        >>> len(tfvae.data.load(converted.path).train)
        1337
    """
    _check_arguments(shards, seed, on_corrupt)
    folder = data.as_folder(source)
    if folder is None and (size is not None or colour is not None):
        given = "size" if size is not None else "colour"
        raise DataError(
            f"Expected no `{given}` for arrays, which are written as they are. Received: {given} "
            f"with source={os.fspath(source)!r}; leave it away, or pass a folder of images."
        )
    target = _check_target(dest, folder, overwrite)
    parts: dict[str, Source]
    if folder is None:
        layout, parts = of_arrays(source)
    else:
        layout, parts = of_images(folder, _height_width(size), colour, on_corrupt)
    if validation:
        parts = _with_validation(layout.name, parts, validation, seed)
    # Examples of arrays that are not trained on keep their order; images are sorted by class.
    for name in parts if folder else ("train",):
        parts[name] = parts[name].at(permutation(len(parts[name]), seed))
    counts = _shard_counts(layout, parts, shards)
    _check_room(layout, parts, target)
    startup.import_tensorflow()
    total = sum(map(len, parts.values()))
    try:
        with staging(target.parent) as staged:
            writer = Writer(staged, layout, on_corrupt == "skip", progress, total)
            written = writer.write(parts, counts)
            replace_json(staged / FILENAME, written.document())
            _publish(staged, target)
    except OSError as error:
        raise _refusal(target, error) from error
    return Converted(target, written, tuple(writer.left_out))


def _with_validation(
    name: str, parts: dict[str, Source], validation: float, seed: int
) -> dict[str, Source]:
    if "validation" in parts:
        raise DataError(
            f"Expected validation=0, for {name} has a validation set of its own. Received: "
            f"validation={validation!r}; leave it away."
        )
    train, test = parts["train"], parts["test"]
    count = held_out_count("validation", validation, len(train))
    rest, held_out = choose_rows(len(train), count, seed)
    return {"train": train.at(rest), "validation": train.at(held_out), "test": test}


def _shard_counts(layout: Layout, parts: dict[str, Source], shards: int | None) -> dict[str, int]:
    train = len(parts["train"])
    if shards is None:
        shards = min(train, -(-_bytes(layout, parts["train"]) // SHARD_BYTES))
    if shards > train:
        raise DataError(
            f"Expected `shards` of at most {train}, the number of training examples. Received: "
            f"shards={shards}; ask for fewer."
        )
    return {name: max(1, round(len(part) * shards / train)) for name, part in parts.items()}


def _bytes(layout: Layout, source: Source) -> int:
    """How large a part becomes, about."""
    return len(source) * (math.prod(layout.shape) * np.dtype(layout.dtype).itemsize + _OVERHEAD)


def _check_arguments(shards: int | None, seed: int, on_corrupt: str) -> None:
    check_seed(seed)
    check_on_corrupt(on_corrupt)
    if shards is not None and (
        isinstance(shards, bool) or not isinstance(shards, int) or shards < 1
    ):
        raise DataError(
            f"Expected `shards` to be a whole number of at least 1. Received: shards={shards!r}."
        )


def _height_width(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2 or not all(type(each) is int and each > 0 for each in pair):
        raise DataError(
            "Expected `size` to be a height and a width of at least 1, or one number for both. "
            f"Received: size={size!r}."
        )
    return pair


def _check_target(dest: str | os.PathLike[str], source: Path | None, overwrite: bool) -> Path:
    """Return the folder to write, or say why it cannot be."""
    if not os.fspath(dest).strip():
        raise DataError("Expected `dest` to name a folder. Received: an empty name.")
    target = Path(dest).expanduser().absolute()
    if source is not None:
        inside, outside = target.resolve(), source.resolve()
        if inside.is_relative_to(outside) or outside.is_relative_to(inside):
            raise DataError(
                f"Expected `dest` apart from the source. Received: {target}, where one of it and "
                f"{source} is in the other; choose a folder beside it."
            )
    if not target.exists():
        return target
    if not target.is_dir():
        raise NotADirectoryError(f"Expected `dest` to be a folder. Received: {dest}, a file.")
    if is_converted(target):
        if not overwrite:
            raise FileExistsError(
                f"Expected `dest` to be a new folder. Received: {dest}, which holds a data set. "
                "Choose another, or replace it with --overwrite (overwrite=True)."
            )
    elif any(target.iterdir()):
        raise FileExistsError(
            f"Expected `dest` to be a new or empty folder. Received: {dest}, which holds other "
            "files. Choose another."
        )
    return target


def _check_room(layout: Layout, parts: dict[str, Source], target: Path) -> None:
    place = next(each for each in target.parents if each.exists())
    needed = sum(_bytes(layout, part) for part in parts.values())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OSError(
            f"Expected {needed / 2**20:,.0f} MB of room for {target}. Received: a disk with "
            f"{free / 2**20:,.0f} MB free. Make room there, or choose another."
        )


def _publish(staged: Path, target: Path) -> None:
    """Rename a complete folder into place; what was there goes the same way back."""
    old = None
    if target.exists():
        old = hidden(target.parent)
        target.rename(old)
    try:
        staged.rename(target)
    except BaseException:
        if old is not None:
            old.rename(target)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _refusal(target: Path, error: OSError) -> OSError:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return OSError(
        f"Could not write {target}: {cause.strerror or cause}. Nothing was left of it; make room "
        "there, change its permissions, or choose another place."
    )
