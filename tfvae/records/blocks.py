"""Blocks of records: which there are, their values, and what of them is damaged.

A *run* is a stretch of records, a row (shard, start, size, check, first, count): of a shard, from
record `start` on, read `size` records, which have the checksum `check`; leave out `first` of them
and take `count`. Every block is a run; one that is divided becomes two; one that is damaged,
those of the records that are whole.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfvae.records.shards import Layout, Part
from tfvae.records.wire import Wire
from tfvae.sources import Array, DataError

SHARD, START, SIZE, CHECK, FIRST, COUNT = range(6)
"""Columns of runs."""


@dataclass(frozen=True)
class Damage:
    """Records that cannot be read.

    Attributes:
        shard: Index of the file.
        record: Number of the first of them in it.
        count: How many there are, in its block.
    """

    shard: int
    record: int
    count: int


def runs(layout: Layout, part: Part) -> Array:
    """Return all blocks of a part as runs, int64 [blocks, 6], in the order they are stored."""
    rows = []
    for index, shard in enumerate(part.shards):
        for number, check in enumerate(shard.checks):
            start = number * layout.block
            size = min(layout.block, shard.examples - start)
            rows.append((index, start, size, check, 0, size))
    return _table(rows)


def after(runs: Array, skipped: int) -> Array:
    """The runs without their first so many records."""
    ends = runs[:, COUNT].cumsum()
    cut = int(np.searchsorted(ends, skipped, side="right"))
    left = runs[cut:].copy()
    if len(left):
        done = skipped - (ends[cut] - left[0, COUNT])
        left[0, FIRST] += done
        left[0, COUNT] -= done
    return left


def split(runs: Array, remaining: int) -> tuple[Array, Array]:
    """The first so many records of runs, and the others."""
    ends = runs[:, COUNT].cumsum()
    cut = int(np.searchsorted(ends, remaining))
    before = runs[: cut + 1].copy()
    before[-1, COUNT] -= ends[cut] - remaining
    return before, after(runs, remaining)


def in_order(runs: Array) -> Array:
    """The runs as they are stored."""
    ordered: Array = runs[np.lexsort((runs[:, FIRST], runs[:, START], runs[:, SHARD]))]
    return ordered


def checksum(block: Array) -> int:
    """Sum of the 64-bit words w of a block of bytes, Σ (2i + 1) w_i mod 2^64, as int64.

    A change of one word always changes it, of more all but one time in 2^64. It is as fast as
    memory; the checksums of the records themselves are left for finding the damage.
    """
    padded = block
    if block.size % 8:
        padded = np.zeros(block.size + -block.size % 8, np.uint8)
        padded[: block.size] = block
    words = padded.view("<i8")
    return int(words @ _odd(len(words)))


@functools.lru_cache(maxsize=4)
def _odd(count: int) -> Array:
    return np.arange(1, 2 * count, 2)


def read(folder: Path, layout: Layout, name: str, run: Array) -> tuple[Array, ...]:
    """Read a run of the part of that name.

    Returns:
        (x [count, *shape],) or (x, y [count, ...]).

    Raises:
        DataError: It is damaged.
    """
    part = layout.parts[name]
    wire = layout.wire(part.labelled)
    shard, start, size, check, first, count = run.tolist()
    path = folder / part.shards[shard].file
    block = _bytes(path, start * wire.record_bytes, size * wire.record_bytes)
    if len(block) < size * wire.record_bytes or checksum(block) != check:
        sound = _sound(block, wire, size)
        raise damaged(path, wire, start + int(sound.argmin()))
    return wire.decode(block.reshape(size, -1)[first : first + count])


def damaged(path: Path, wire: Wire, record: int) -> DataError:
    """Say which record cannot be read."""
    return DataError(
        f"Could not read {path}: record {record:,}, at byte {record * wire.record_bytes:,}, is "
        "damaged; copy the file again, or pass on_corrupt='skip' (--skip-corrupt) to leave out "
        "what is damaged."
    )


def examine(folder: Path, layout: Layout, part: Part) -> tuple[Array, list[Damage]]:
    """Read everything once.

    Returns:
        Runs of the whole records, as of :func:`runs`, and what is damaged.
    """
    wire = layout.wire(part.labelled)
    width = wire.record_bytes
    whole: list[tuple[int, ...]] = []
    damages = []
    for run in runs(layout, part).tolist():
        shard, start, size, check, _, _ = run
        path = folder / part.shards[shard].file
        block = _bytes(path, start * width, size * width)
        if len(block) == size * width and checksum(block) == check:
            whole.append(tuple(run))
            continue
        sound = _sound(block, wire, size)
        damages.append(Damage(shard, start + int(sound.argmin()), int((~sound).sum())))
        edges = np.flatnonzero(np.diff(sound, prepend=False, append=False)).reshape(-1, 2)
        for low, high in edges.tolist():
            count = high - low
            check = checksum(block[low * width : high * width])
            whole.append((shard, start + low, count, check, 0, count))
    return _table(whole), damages


def _bytes(path: Path, offset: int, length: int) -> Array:
    """Read some bytes of a file, or as many of them as there are."""
    block = np.empty(length, np.uint8)
    done = 0
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            while done < length and (more := file.readinto(block.data[done:])):
                done += more
    except OSError as error:
        raise DataError(f"Could not read {path}: {error.strerror}; restore it.") from error
    return block[:done]


def _sound(block: Array, wire: Wire, size: int) -> Array:
    """Say of the records of a block whether they are whole; those that are cut off are not."""
    width = wire.record_bytes
    there = block[: len(block) // width * width].reshape(-1, width)
    sound = np.zeros(size, bool)
    sound[: len(there)] = wire.are_whole(there)
    return sound


def _table(rows: list[tuple[Any, ...]]) -> Array:
    return np.array(rows, np.int64).reshape(-1, 6)
