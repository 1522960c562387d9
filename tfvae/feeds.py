"""The steps of training on data that we can index: which examples, in which order.

A feed is a pure function of (seed, step): a run that is resumed in the middle of an epoch sees
what an uninterrupted one would. A feed gathers the rows of a chunk of steps; they are scaled and
binarised inside the compiled loop.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from tfvae import random
from tfvae.data import Examples

if TYPE_CHECKING:
    from tfvae.records import Records

_T = TypeVar("_T")

BATCH_SIZE = 128
"""The default, unlike Keras's 32: a small VAE on few examples a step is slow."""

DEVICE_BYTES = 4 << 30
"""Arrays larger than this stream from memory, instead of being copied to a GPU as a whole."""

BLOCK_BYTES = 16 << 20
"""This much at most is gathered at once: larger blocks are memory that is new every time."""


class Block(NamedTuple):
    """Steps of one batch size, within one pass over the data.

    Attributes:
        tensors: x, and y and weight where there are any, each [rows, ...], in the order of
            training.
        first: the first step: batch i is rows [i * size, (i + 1) * size).
        steps: how many there are; of a batch of another size, one.
        size: examples in each.
    """

    tensors: tuple[tf.Tensor, ...]
    first: int
    steps: int
    size: int


@dataclass(frozen=True)
class Preparation:
    """From a gathered batch, as it is stored, to what a model is to see at a step.

    Attributes:
        seed: of the binarisation.
        shape: of one example.
        binarize: as in :class:`tfvae.data.Examples`.
        divide_by: what stored whole numbers are divided by.
        labelled: whether there are y.
        weighted: whether there are weights.
    """

    seed: int
    shape: tuple[int, ...]
    binarize: str
    divide_by: float
    labelled: bool
    weighted: bool

    def __call__(
        self, batch: tuple[tf.Tensor, ...], step: tf.Tensor, position: tf.Tensor | None = None
    ) -> tuple[tf.Tensor | None, tf.Tensor | None, tf.Tensor | None]:
        """Return (x, y, weight); `position` is where the batch begins in that of all replicas."""
        x, *rest = batch
        if not x.dtype.is_floating:
            x = tf.cast(x, tf.float32)
        if self.divide_by != 1.0:
            x = x / tf.cast(self.divide_by, x.dtype)
        if self.binarize == "threshold":
            x = tf.cast(x >= 0.5, x.dtype)
        elif self.binarize == "dynamic":
            start = None if position is None else position * math.prod(self.shape)
            bits = random.words(random.fold(self.seed, random.BINARIZE, step), tf.shape(x), start)
            x = tf.cast(tf.cast(random.noise_from_words("uniform", bits), x.dtype) < x, x.dtype)
        others = iter(rest)
        y, weight = (next(others) if there else None for there in (self.labelled, self.weighted))
        return x, y, weight


@dataclass(frozen=True, eq=False)
class Feed:
    """Examples or records as steps of training.

    Args:
        data: the data.
        batch_size: examples in a step; the last step of a pass takes what is left.
        seed: of the order and of the binarisation.
        shuffle: a new order every pass, or that of the data.

    Raises:
        ValueError: for a batch size that is no whole number of at least 1.
    """

    data: Examples | Records
    batch_size: int
    seed: int
    shuffle: bool = True

    def __post_init__(self) -> None:
        size = self.batch_size
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(
                "Expected `batch_size` to be a whole number of at least 1. "
                f"Received: batch_size={self.batch_size!r}."
            )

    @property
    def steps(self) -> int:
        """Steps in a pass over the data."""
        return math.ceil(len(self.data) / self.batch_size)

    @property
    def full(self) -> int:
        """Steps of `batch_size` examples in a pass."""
        return len(self.data) // self.batch_size

    @property
    def preparation(self) -> Preparation:
        """What is done to the values of a step on the device."""
        data = self.data
        in_memory = isinstance(data, Examples)
        return Preparation(
            seed=self.seed,
            shape=data.shape,
            # Of arrays, a threshold is taken once.
            binarize="none" if in_memory and data.binarize == "threshold" else data.binarize,
            divide_by=1.0 if isinstance(data, Examples) else data.divide_by,
            labelled=data.y is not None if isinstance(data, Examples) else data.labelled,
            weighted=isinstance(data, Examples) and data.weight is not None,
        )

    @functools.cached_property
    def _stored(self) -> tuple[Any, ...]:
        """The arrays of examples in memory."""
        assert isinstance(self.data, Examples)
        # Draws are made afresh at every step; a threshold is the same every time.
        x = self.data.x if self.data.binarize == "dynamic" else self.data.values()
        return tuple(each for each in (x, self.data.y, self.data.weight) if each is not None)

    def stays_on_device(self) -> bool:
        """Say whether training copies the data to a device with memory of its own."""
        fits = isinstance(self.data, Examples) and self.data.x.nbytes <= DEVICE_BYTES
        return fits and bool(tf.config.get_visible_devices("GPU"))

    def order(self, start: int) -> tf.Tensor:
        """Return the order of the pass that starts at a step, int32 [N]."""
        order = tf.range(len(self.data))
        if not self.shuffle:
            return order
        seed = random.fold(self.seed, random.SHUFFLE, start)
        return tf.random.experimental.stateless_shuffle(order, seed)

    def blocks(self, start: int, done: int = 0, chunk: int = 1) -> Iterator[Block]:
        """Yield the steps of one pass.

        Args:
            start: the model's step counter when the pass began, of which its order is a function.
            done: steps of the pass that were taken before.
            chunk: steps that a block should hold, if that is not too large.
        """
        if done >= self.steps:
            return
        step_bytes = self.batch_size * math.prod(self.data.shape) * self._item_bytes
        chunk = max(1, min(chunk, BLOCK_BYTES // step_bytes, self.steps))
        skip, first = divmod(done, chunk)
        source = self._gathered if self.stays_on_device() else self.stream
        for arrays in source(start, skip, chunk * self.batch_size):
            full, left = divmod(len(arrays[0]), self.batch_size)
            if full > first:
                # Of one shape, so that the last block needs no graph of its own.
                padded = tuple(_padded(each, chunk * self.batch_size) for each in arrays)
                yield Block(padded, first, full - first, self.batch_size)
            if left:
                yield Block(tuple(tf.constant(each[-left:]) for each in arrays), 0, 1, left)
            first = 0

    def _gathered(self, start: int, skip: int, size: int) -> Iterator[tuple[tf.Tensor, ...]]:
        """Yield what :meth:`stream` does, from arrays on the device.

        Gathered outside the compiled loop, in which XLA would gather value by value.
        """
        order = self.order(start)
        for begin in range(skip * size, len(self.data), size):
            rows = order[begin : begin + size]
            yield tuple(tf.gather(each, rows) for each in self._on_device)

    @property
    def _item_bytes(self) -> int:
        data = self.data
        return int(np.dtype(data.x.dtype if isinstance(data, Examples) else data.dtype).itemsize)

    def stream(self, start: int, skip: int, size: int) -> Iterator[tuple[Any, ...]]:
        """Yield arrays of `size` examples of the pass that starts at a step, without some.

        Args:
            start: where the pass starts.
            skip: how many arrays to leave out at the beginning.
            size: examples in each; the last has what is left.
        """
        if not isinstance(self.data, Examples):
            with self.data.reading():
                yield from self.data.batches(size, epoch=start, shuffle=self.shuffle, skip=skip)
            return
        arrays, order = self._stored, self.order(start).numpy()

        def gathered(begin: int) -> tuple[Any, ...]:
            rows = order[begin : begin + size]
            return tuple(_taken(each, rows) for each in arrays)

        yield from _ahead(gathered, range(skip * size, len(order), size))

    @functools.cached_property
    def _on_device(self) -> tuple[tf.Tensor, ...]:
        return tuple(map(tf.constant, self._stored))


def _ahead(call: Callable[[int], _T], arguments: Sequence[int]) -> Iterator[_T]:
    """Yield what a function returns of each; the next one while the device works on this one."""
    with ThreadPoolExecutor(1) as ahead:
        coming: Future[_T] | None = None
        for argument in arguments:
            following = ahead.submit(call, argument)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()


def _padded(array: Any, size: int) -> tf.Tensor:
    missing = size - len(array)
    if not missing:
        return _tensor(array)
    return tf.pad(array, [[0, missing], *([[0, 0]] * (len(array.shape) - 1))])


ALIGNMENT = 64
"""Bytes: TensorFlow works on an array in place if it begins at a multiple of these."""


def _taken(array: Any, rows: Any) -> Any:
    """Gather rows of an array into one that TensorFlow need not copy."""
    if not _shared(array.dtype):
        return np.take(array, rows, axis=0)
    shape = (len(rows), *array.shape[1:])
    count = math.prod(shape) * array.dtype.itemsize
    memory = np.empty(count + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    taken = memory[first : first + count].view(array.dtype).reshape(shape)
    # The rows are within bounds; checked ones would be written elsewhere first.
    return np.take(array, rows, axis=0, out=taken, mode="clip")


def _tensor(array: Any) -> tf.Tensor:
    """Return a tensor, of a new array that nobody else writes to in its own memory."""
    ours = isinstance(array, np.ndarray) and _shared(array.dtype)
    if ours and array.ctypes.data % ALIGNMENT == 0:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.convert_to_tensor(array)


def _shared(dtype: np.dtype[Any]) -> bool:
    """Say whether NumPy and TensorFlow have values of a type alike in memory."""
    return dtype.isnative and dtype.kind in "iuf" and dtype.itemsize <= 8
