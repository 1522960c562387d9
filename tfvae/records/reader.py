"""Records: examples that are streamed from disk, in an order that follows from (seed, epoch)."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tfvae.examples import (
    Binarize,
    Examples,
    check_binarize,
    check_range,
    check_rows,
    check_scale,
    check_seed,
    divided,
    divisor,
    held_out_count,
)
from tfvae.records import blocks, shards, streams
from tfvae.records.blocks import COUNT
from tfvae.records.shards import Layout
from tfvae.sources import Array, DataError, OnCorrupt, check_on_corrupt, permutation

if TYPE_CHECKING:
    import os

    import tensorflow as tf

__all__ = ["BUFFER_BYTES", "MEMORY_BYTES", "Records"]

BUFFER_BYTES = 256 << 20
"""What the input pipeline holds at most, beside the batches that it hands out."""

MEMORY_BYTES = 4 << 30
"""What `examples` loads at most, as floats."""

_AHEAD = 8  # batches that wait for the training, unless they are large
# In memory at once: a pool that is handed out, one that waits, and of the next one the parts, the
# whole, and its permutation.
_POOLS = 5


@dataclass(frozen=True, eq=False)
class Records:
    """One part of a folder that `tfvae data convert` wrote: `Examples` that stay on disk.

    Made by :meth:`open`.

    Args:
        folder: Where it lies.
        part: "train", "validation" or "test".
        layout: What its `dataset.json` says.
        runs: Which records, int64 [runs, 6]; see `tfvae.records.blocks`.
        binarize: What a model is to see of values in [0, 1], as in `Examples`.
        seed: Seed of the order and of the binarisation.
        divide_by: What stored values are divided by.
        buffer_bytes: What the input pipeline may hold.
        skipped: Damaged records that were left out.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp() + "/digits"
        >>> layout = tfvae.convert.convert("digits", folder)
        >>> records = Records.open(folder)
        >>> len(records), records.shape, records.dtype.name, records.divide_by
        (1437, (8, 8, 1), 'uint8', 16.0)
        >>> x, y = next(iter(records.batches(128, epoch=0)))
        >>> x.shape, x.dtype.name, records.floats(x).numpy().max()
        (TensorShape([128, 8, 8, 1]), 'uint8', np.float32(1.0))
    """

    folder: Path
    part: str
    layout: Layout
    runs: Array
    binarize: Binarize = "none"
    seed: int = 0
    divide_by: float = 1.0
    buffer_bytes: int = BUFFER_BYTES
    skipped: int = 0
    _met: list[DataError] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        part: str = "train",
        *,
        binarize: Binarize = "none",
        seed: int = 0,
        scale: float | Literal["auto"] = "auto",
        on_corrupt: OnCorrupt = "raise",
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Records:
        """Open a folder, and see that its files are whole by their sizes.

        Args:
            folder: What `tfvae data convert` wrote.
            part: "train", "validation" or "test".
            binarize: See `Examples`.
            seed: Seed of the order and of the binarisation.
            scale: What to divide by; "auto" as in `tfvae.data.load`.
            on_corrupt: "raise", or "skip": read all once, leave out damaged records and warn.
            buffer_bytes: What the input pipeline may hold.

        Raises:
            DataError: It is no such folder, files are missing or damaged, or values are not what
                `binarize` or `scale` say.
        """
        check_binarize(binarize)
        check_seed(seed)
        check_scale(scale)
        check_on_corrupt(on_corrupt)
        if buffer_bytes < 1:
            raise DataError(
                f"Expected buffer_bytes of at least 1. Received: buffer_bytes={buffer_bytes!r}."
            )
        path = Path(folder).expanduser()
        layout = shards.read(path)
        if part not in layout.parts:
            raise DataError(
                f"Expected part to be one of {', '.join(layout.parts)} in {path}. Received: "
                f"part={part!r}; convert again with such a part."
            )
        shards.check_files(path, layout.parts[part], on_corrupt)
        if scale == "auto":
            dtypes = [np.dtype(layout.dtype)]
            scale = layout.scale or divisor(layout.name, dtypes, layout.low, layout.high)
        check_range(binarize, layout.low / scale, layout.high / scale)
        runs = blocks.runs(layout, layout.parts[part])
        opened = cls(path, part, layout, runs, binarize, seed, float(scale), buffer_bytes)
        return opened._without_damage() if on_corrupt == "skip" else opened

    def __len__(self) -> int:
        return int(self.runs[:, COUNT].sum())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values as stored."""
        return np.dtype(self.layout.dtype)

    @property
    def labelled(self) -> bool:
        """Whether there are y."""
        return self.layout.parts[self.part].labelled

    @property
    def label_counts(self) -> dict[int, int] | None:
        """How often each label is in this part of the folder, where that was counted.

        Of a part that :meth:`split` divided, as it was before.
        """
        counts = self.layout.parts[self.part].label_counts
        return None if counts is None else dict(counts)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value in the folder, divided."""
        return self.layout.low / self.divide_by, self.layout.high / self.divide_by

    def batches(
        self, batch_size: int, *, epoch: int, shuffle: bool = True, skip: int = 0
    ) -> tf.data.Dataset:
        """One epoch: every example once, the last batch with what is left.

        The order is a function of (seed, epoch) and of the size of the buffer: batches of another
        size cut the same sequence elsewhere. Iterate within :meth:`reading`, which names damage.

        Args:
            batch_size: Examples in a batch.
            epoch: Any number; another one gives another order.
            shuffle: Whether to; else the order is that of the files.
            skip: Batches to leave out at the beginning, without decoding them.

        Returns:
            Elements (x [b, *shape],) or (x, y [b, ...]), as they are stored.

        Raises:
            DataError: `batch_size` is not at least 1, `epoch` or `skip` not at least 0.
        """
        import tensorflow as tf

        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("epoch", epoch, 0),
            ("skip", skip, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise DataError(
                    f"Expected {name} to be a whole number of at least {least}. Received: "
                    f"{name}={value!r}."
                )
        count = max(0, len(self) - skip * batch_size)
        skipped = len(self) - count
        x = tf.TensorSpec([None, *self.shape], self.dtype)
        y = tf.TensorSpec([None, *self.layout.label_shape], self.layout.label_dtype or "int64")
        signature = (x, y) if self.labelled else (x,)
        if shuffle:
            dataset = streams.shuffled(
                self.runs,
                self._read,
                signature,
                seed=self.seed,
                epoch=int(epoch),
                pool=max(1, self.buffer_bytes // _POOLS // self._example_bytes),
                total=len(self),
                skipped=skipped,
            )
        else:
            dataset = streams.in_order(blocks.after(self.runs, skipped), self._read, signature)
        ahead = self.buffer_bytes // 8 // (batch_size * self._example_bytes)
        options = tf.data.Options()
        options.deterministic = True
        return (
            dataset.rebatch(batch_size)
            .apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
            .prefetch(min(max(ahead, 1), _AHEAD))
            .with_options(options)
        )

    def floats(self, x: tf.Tensor) -> tf.Tensor:
        """What a model sees of stored values, before they are binarised: floats, divided."""
        import tensorflow as tf

        x = x if x.dtype.is_floating else tf.cast(x, tf.float32)
        return x if self.divide_by == 1 else x / tf.cast(self.divide_by, x.dtype)

    def examples(self, limit: int | None = None) -> Examples:
        """Load into memory, in the order of the files.

        Args:
            limit: The first so many, if there are more.

        Raises:
            DataError: They are too many, or damaged.
        """
        count = len(self) if limit is None else min(limit, len(self))
        floating = self.dtype.itemsize if self.dtype.kind == "f" else 4
        needed = count * math.prod(self.shape) * floating
        if needed > MEMORY_BYTES:
            raise DataError(
                f"Expected {self.part} examples of {self.folder} that fit into memory. Received: "
                f"{count:,} of them, {needed / 2**30:.1f} GB as floats where "
                f"{MEMORY_BYTES / 2**30:.0f} GB is the limit; load fewer with limit= (--limit)."
            )
        runs, _ = blocks.split(self.runs, count)
        read = [blocks.read(self.folder, self.layout, self.part, run) for run in runs]
        x, *y = (np.concatenate(arrays) for arrays in zip(*read, strict=True))
        return Examples(
            divided(x, self.divide_by),
            y[0] if y else None,
            binarize=self.binarize,
            seed=self.seed,
        )

    def take(self, n: int) -> Examples:
        """Load the first n examples into memory.

        Raises:
            DataError: n is not between 1 and the number of examples, or they are too many.
        """
        check_rows(n, len(self))
        return self.examples(int(n))

    def split(self, held_out: float, *, seed: int = 0) -> tuple[Records, Records]:
        """Two disjoint parts, by blocks: the files hold the examples in no order.

        Args:
            held_out: Size of the second part: a fraction in (0, 1) or a count.
            seed: Seed of the permutation that chooses it.

        Returns:
            What remains, and what is held out.

        Raises:
            DataError: Either part would be empty.
        """
        check_seed(seed)
        remaining = len(self) - held_out_count("held_out", held_out, len(self))
        order = permutation(len(self.runs), seed)
        parts = blocks.split(self.runs[order], remaining)
        rest, chosen = (replace(self, runs=blocks.in_order(part)) for part in parts)
        return rest, chosen

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Within it, damage that is met in iterating becomes a DataError that names the place."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            if not self._met:
                raise
            raise self._met.pop() from error

    def _without_damage(self) -> Records:
        part = self.layout.parts[self.part]
        runs, damages = blocks.examine(self.folder, self.layout, part)
        if not damages:
            return self
        lost = sum(damage.count for damage in damages)
        if not len(runs):
            raise DataError(
                f"Expected {self.folder} to hold {self.part} examples that can be read. All "
                f"{lost:,} are damaged; convert the source again."
            )
        first = damages[0]
        warnings.warn(
            f"Left out {lost:,} damaged of {len(self):,} {self.part} examples, of which the first "
            f"is record {first.record:,} of {self.folder / part.shards[first.shard].file}.",
            stacklevel=3,
        )
        return replace(self, runs=runs, skipped=lost)

    def _read(self, run: Array) -> tuple[Array, ...]:
        try:
            return blocks.read(self.folder, self.layout, self.part, run)
        except DataError as error:  # of which TensorFlow passes on no more than the text
            self._met.append(error)
            raise

    @property
    def _example_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize + 64
