"""The writer of sharded TFRecords: examples in, shards and what `dataset.json` says of them out."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from tfvae.records.blocks import checksum
from tfvae.records.shards import Layout, Part, Shard, shard_name
from tfvae.sources import Array, DataError

__all__ = ["Chunk", "Progress", "Source", "Writer"]

LABELS = 4096
"""Kinds of labels that are counted, at most."""

Progress = Callable[[int, int], object]
"""Called with the number of examples that were written, and of all."""


@dataclass(frozen=True)
class Chunk:
    """Examples that are written together.

    Attributes:
        x: Values [n, *shape].
        y: Labels [n, ...], or None.
        damaged: Why others are missing.
    """

    x: Array
    y: Array | None
    damaged: tuple[DataError, ...] = ()


class Source(Protocol):
    """Examples in an order, read as they are written."""

    @property
    def y(self) -> Array | None:
        """All labels, or None."""

    def __len__(self) -> int: ...

    def at(self, rows: Array) -> Self:
        """Some of the examples, in the order of the rows."""

    def chunks(self) -> Iterator[Chunk]:
        """Yield the examples."""


class Writer:
    """Writes the parts of a data set into a folder.

    Args:
        folder: Where to.
        layout: What is known beforehand: name, shape, types.
        skip: Whether to go on where examples are damaged.
        progress: What to tell.
        total: Examples in all parts.
    """

    def __init__(
        self, folder: Path, layout: Layout, skip: bool, progress: Progress | None, total: int
    ) -> None:
        self.left_out: list[str] = []
        self._folder = folder
        self._layout = layout
        self._skip = skip
        self._progress = progress
        self._total = total
        self._done = 0
        self._low, self._high = np.inf, -np.inf
        self._labels: Counter[int] | None = None
        head = f"{layout.dtype} {layout.shape} {layout.label_dtype} {layout.label_shape}\n"
        self._digest = hashlib.sha256(head.encode())

    def write(self, parts: dict[str, Source], shards: dict[str, int]) -> Layout:
        """Write all parts, and return what was written.

        Args:
            parts: By name.
            shards: How many files each is to have.

        Raises:
            DataError: Values are not finite, an example is damaged, or a part has none left.
            OSError: The disk takes no more.
        """
        import tensorflow as tf

        try:
            written = {name: self._part(name, parts[name], shards[name]) for name in parts}
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
        return dataclasses.replace(
            self._layout,
            fingerprint=self._digest.hexdigest(),
            low=float(self._low),
            high=float(self._high),
            parts=written,
        )

    def _part(self, name: str, source: Source, count: int) -> Part:
        counted = source.y is not None and source.y.ndim == 1 and source.y.dtype.kind in "biu"
        self._labels = Counter() if counted else None
        messages = self._messages(source)
        # As even as whole numbers are.
        sizes = [len(share) for share in np.array_split(np.arange(len(source)), count)]
        shards = [
            self._shard(shard_name(name, index, count), size, messages, source.y is not None)
            for index, size in enumerate(sizes)
        ]
        found = self._labels
        counts = None if found is None or len(found) > LABELS else tuple(sorted(found.items()))
        part = Part(source.y is not None, tuple(shards), counts)
        if not len(part):
            raise DataError(
                f"Expected {name} examples of {self._layout.name} that can be read. All "
                f"{len(source)} are damaged, such as: {self.left_out[-1]}"
            )
        return part

    def _shard(self, file: str, size: int, messages: Iterator[Array], labelled: bool) -> Shard:
        import tensorflow as tf

        path = self._folder / file
        with tf.io.TFRecordWriter(str(path)) as writer:
            for message in itertools.islice(messages, size):
                writer.write(message.tobytes())
        width = self._layout.wire(labelled).record_bytes
        block = self._layout.block * width
        checks = []
        with path.open("rb") as written:
            while content := written.read(block):
                checks.append(checksum(np.frombuffer(content, np.uint8)))
            length = written.tell()
        return Shard(file, length // width, length, tuple(checks))

    def _messages(self, source: Source) -> Iterator[Array]:
        """Yield serialised examples."""
        wire = self._layout.wire(source.y is not None)
        for chunk in source.chunks():
            self._check(chunk)
            messages = wire.messages(chunk.x, chunk.y)
            self._digest.update(messages.data)
            self._done += len(chunk.x) + len(chunk.damaged)
            if self._progress is not None:
                self._progress(self._done, self._total)
            yield from messages

    def _check(self, chunk: Chunk) -> None:
        if chunk.damaged and not self._skip:
            raise chunk.damaged[0]
        self.left_out += [str(error).partition(";")[0] for error in chunk.damaged]
        if not len(chunk.x):
            return
        for what, values in (("examples", chunk.x), ("labels", chunk.y)):
            if values is not None and not np.isfinite(values).all():
                raise DataError(
                    f"Expected finite values in {self._layout.name}. Received: NaN or infinite "
                    f"ones among the {what}; drop or mend those."
                )
        if chunk.y is not None and self._labels is not None and len(self._labels) <= LABELS:
            labels, counts = np.unique(chunk.y, return_counts=True)
            self._labels.update(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
        self._low = min(self._low, chunk.x.min())
        self._high = max(self._high, chunk.x.max())
