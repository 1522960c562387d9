"""The folder that `tfvae data convert` writes: what lies where, and what of it is damaged.

::

    digits/
      dataset.json                        shapes, types, counts, sizes, checksums
      train-00000-of-00008.tfrecord  …    tf.train.Example: "x", raw bytes, and perhaps "y"
      validation-00000-of-00001.tfrecord  …
      test-00000-of-00001.tfrecord  …

Records are read in blocks of about a megabyte, each with a checksum of its own.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfvae.records.wire import Wire
from tfvae.sources import DataError, OnCorrupt

FILENAME = "dataset.json"
FORMAT = 1
BLOCK_BYTES = 1 << 20
"""A disk that seeks still reads this much at most of its speed."""


@dataclass(frozen=True)
class Shard:
    """A file of records.

    Attributes:
        file: Its name.
        examples: How many it holds.
        bytes: Its size.
        checks: Of each block of records, :func:`tfvae.records.blocks.checksum`.
    """

    file: str
    examples: int
    bytes: int
    checks: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """The training, validation or test set.

    Attributes:
        labelled: Whether its records have "y".
        shards: Its files.
        label_counts: Each whole number that stands alone as a label, and how often; None where
            labels are other than that, or of more kinds than a folder counts.
    """

    labelled: bool
    shards: tuple[Shard, ...]
    label_counts: tuple[tuple[int, int], ...] | None = None

    def __len__(self) -> int:
        return sum(shard.examples for shard in self.shards)


@dataclass(frozen=True)
class Layout:
    """What `dataset.json` says.

    Attributes:
        name: Of the source.
        fingerprint: SHA-256 of all examples, hexadecimal.
        shape: Of one example.
        dtype: As NumPy names it.
        low: The least value.
        high: The greatest value.
        scale: What the source says to divide by, if it does.
        label_shape: Of one label.
        label_dtype: As NumPy names it, or None where there are no labels.
        label_bytes: Width of an integer label.
        classes: Names of the labels 0, 1, ..., or none.
        block: Records in a block; the last of a shard may have fewer.
        parts: "train", "test" and perhaps "validation".
        vocabulary: Of text, the words by their tokens, or none.
        factors: Names of the columns of labels that are ground-truth factors, or none.
    """

    name: str
    fingerprint: str
    shape: tuple[int, ...]
    dtype: str
    low: float
    high: float
    scale: float | None
    label_shape: tuple[int, ...]
    label_dtype: str | None
    label_bytes: int
    classes: tuple[str, ...]
    block: int
    parts: dict[str, Part]
    vocabulary: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    def wire(self, labelled: bool) -> Wire:
        """How the records of a part lie in their files."""
        label = np.dtype(self.label_dtype) if labelled else None
        return Wire(self.shape, np.dtype(self.dtype), self.label_shape, label, self.label_bytes)


def is_converted(folder: Path) -> bool:
    """Whether a folder is one that `tfvae data convert` wrote."""
    return (folder / FILENAME).is_file()


def shard_name(part: str, index: int, of: int) -> str:
    """Name a shard as TensorFlow's tools do."""
    return f"{part}-{index:05d}-of-{of:05d}.tfrecord"


def block_records(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Records in a block."""
    return max(1, BLOCK_BYTES // (math.prod(shape) * dtype.itemsize))


def read(folder: Path) -> Layout:
    """Read `dataset.json`.

    Raises:
        DataError: It is missing, damaged, or of a later format.
    """
    path = folder / FILENAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        number = document.pop("format")
    except FileNotFoundError as error:
        raise DataError(
            f"Expected a folder that `tfvae data convert` wrote. Received: {folder}, which has no "
            f"{FILENAME}; convert it first."
        ) from error
    except (ValueError, KeyError, AttributeError) as error:
        raise _unreadable(path, error) from error
    if number != FORMAT:
        raise DataError(
            f"Expected {path} to be of format {FORMAT}. Received: format {number!r}; "
            + ("update tfvae." if isinstance(number, int) and number > FORMAT else "convert again.")
        )
    try:
        layout = Layout(
            **document
            | {name: tuple(document[name]) for name in ("shape", "label_shape", "classes")}
            # Folders that were written before there were any do not say.
            | {name: tuple(document.get(name, ())) for name in ("vocabulary", "factors")}
            | {"parts": {name: _part(part) for name, part in document["parts"].items()}}
        )
        _check_parts(layout)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _unreadable(path, error) from error
    return layout


def _part(document: dict[str, Any]) -> Part:
    shards = [Shard(**each | {"checks": tuple(each["checks"])}) for each in document["shards"]]
    counts = document.get("label_counts")
    pairs = None if counts is None else tuple((int(label), int(n)) for label, n in counts)
    return Part(document["labelled"], tuple(shards), pairs)


def _check_parts(layout: Layout) -> None:
    for name in ("train", "test"):
        if name not in layout.parts:
            raise KeyError(f"no part {name!r}")
    for part in layout.parts.values():
        for shard in part.shards:
            if Path(shard.file).name != shard.file:
                raise ValueError(f"{shard.file!r} is no file name")
            if shard.bytes != shard.examples * layout.wire(part.labelled).record_bytes:
                raise ValueError(f"{shard.file} has another size than its examples")
            if len(shard.checks) != -(-shard.examples // layout.block):
                raise ValueError(f"{shard.file} has other blocks than checks")


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"Could not read {path}: it is damaged ({type(error).__name__}: {error}); copy it again, "
        "or convert the source again."
    )


def check_files(folder: Path, part: Part, on_corrupt: OnCorrupt) -> None:
    """See that all shards are there, and have the size they were written with.

    Raises:
        DataError: A shard is missing, or, unless damage is to be skipped, of another size.
    """
    missing = [each.file for each in part.shards if not (folder / each.file).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"Expected {len(part.shards)} shards in {folder}. Missing: {missing[0]}{more}; copy "
            "them again, or convert the source again."
        )
    for shard in part.shards if on_corrupt == "raise" else ():
        size = (folder / shard.file).stat().st_size
        if size != shard.bytes:
            how = "is truncated" if size < shard.bytes else "was changed"
            raise DataError(
                f"Could not read {folder / shard.file}: it {how} ({size:,} bytes, written with "
                f"{shard.bytes:,}); copy it again, or pass on_corrupt='skip' (--skip-corrupt) to "
                "leave out what is damaged."
            )
