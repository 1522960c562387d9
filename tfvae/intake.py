"""Arrays as a feed of training steps, and what a model refuses of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfvae import random
from tfvae.data import Examples
from tfvae.layers.support import Support

if TYPE_CHECKING:
    from tfvae.layers.base import DistributionLayer

BATCH_SIZE = 128
"""The default for arrays, unlike Keras's 32: a small VAE on few examples a step is slow."""

DEVICE_BYTES = 4 << 30
"""Arrays larger than this stream through the input pipeline instead of staying on the device."""


@dataclass(frozen=True, eq=False)
class ArrayFeed:
    """Examples in memory, in an order that is a pure function of seed and step.

    Args:
        examples: the data.
        batch_size: examples in a step; the last step of an epoch takes what is left.
        seed: of the order and of the binarisation.
        shuffle: a new permutation every epoch, or the order of the arrays.
    """

    examples: Examples
    batch_size: int
    seed: int
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(
                "Expected `batch_size` to be a whole number of at least 1. "
                f"Received: batch_size={self.batch_size!r}."
            )

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return math.ceil(len(self.examples) / self.batch_size)

    @property
    def key(self) -> tuple[Any, ...]:
        """What a traced loop depends on beside the shapes of its arguments."""
        return (len(self.examples), self.examples.binarize, self.seed)

    def tensors(self) -> tuple[tf.Tensor, ...]:
        """Return x, and y and weight where there are any, as tensors."""
        x, y, weight = keras_arguments(self.examples)
        if self.examples.binarize == "dynamic":
            x = self.examples.x  # Drawn afresh every step.
        return tuple(tf.constant(array) for array in (x, y, weight) if array is not None)

    def batch(
        self, tensors: tuple[tf.Tensor, ...], rows: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Gather the rows of one step as Keras's (x,), (x, y) or (x, y, sample_weight)."""
        x, *rest = (tf.gather(tensor, rows) for tensor in tensors)
        if self.examples.binarize == "dynamic":
            bits = random.words(random.fold(self.seed, random.BINARIZE, step), tf.shape(x))
            x = tf.cast(tf.cast(random.noise_from_words("uniform", bits), x.dtype) < x, x.dtype)
        return (x, *rest)

    def order(self, step: tf.Tensor) -> tf.Tensor:
        """Return the order of the epoch that starts at a step, [N]."""
        order = tf.range(len(self.examples))
        if not self.shuffle:
            return order
        seed = random.fold(self.seed, random.SHUFFLE, step)
        return tf.random.experimental.stateless_shuffle(order, seed)

    def batches(self, start: int) -> tf.data.Dataset:
        """Return an endless dataset of batches, gathered whole in the input pipeline.

        For what does not stay on the device, and for distribution strategies.
        """
        tensors = self.tensors()

        def epoch(index: tf.Tensor) -> tf.data.Dataset:
            first = start + index * self.steps
            rows = tf.data.Dataset.from_tensor_slices(self.order(first)).batch(self.batch_size)
            return rows.enumerate(first)

        return _endless(epoch).map(
            lambda step, rows: self.batch(tensors, rows, step), num_parallel_calls=tf.data.AUTOTUNE
        )

    def chunks(self, start: int, chunk: int) -> tf.data.Dataset:
        """Return an endless dataset of chunks of steps.

        Args:
            start: the model's step counter where training starts or resumes. The order of an
                epoch depends on the step at its start, so a resumed run sees what an
                uninterrupted one would.
            chunk: steps in a chunk, K.

        Returns:
            Elements (rows [K, batch_size], count, tail [r], last): run the first `count` rows,
            then, in the last chunk of an epoch, the tail of r < batch_size examples.
        """
        batch = self.batch_size
        full = len(self.examples) // batch
        number = math.ceil(self.steps / chunk)
        counts = [min(chunk, full - chunk * i) for i in range(number)]
        last = [i == number - 1 for i in range(number)]
        padding = (number * chunk - full) * batch

        def epoch(index: tf.Tensor) -> tf.data.Dataset:
            order = self.order(start + index * self.steps)
            rows = tf.pad(order[: full * batch], [[0, padding]])
            tail = tf.tile(order[None, full * batch :], [number, 1])
            return tf.data.Dataset.from_tensor_slices(
                (tf.reshape(rows, [number, chunk, batch]), counts, tail, last)
            )

        return _endless(epoch)


def _endless(epoch: Callable[[tf.Tensor], tf.data.Dataset]) -> tf.data.Dataset:
    dataset = tf.data.Dataset.counter().flat_map(epoch)
    infinite = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return dataset.apply(infinite).prefetch(2)


def is_arrays(x: Any) -> bool:
    """Say whether `x` is examples in memory, rather than a dataset, generator or nothing."""
    return isinstance(x, np.ndarray | Examples | list) or tf.is_tensor(x)


def stays_on_device(examples: Examples) -> bool:
    """Say whether examples are held on the device in training."""
    return examples.x.nbytes <= DEVICE_BYTES and not tf.distribute.has_strategy()


def examples(
    likelihood: DistributionLayer, x: Any, y: Any = None, weight: Any = None, argument: str = "x"
) -> Examples:
    """Return arrays as Examples that a likelihood can explain.

    Raises:
        ValueError: for empty data, another shape than the model's, values that are not finite
            or not in the likelihood's support.
    """
    given = x if isinstance(x, Examples) else Examples(_floats(x, argument))
    if y is not None and y is not x:
        given = replace(given, y=np.asarray(y))
    if weight is not None:
        given = replace(given, weight=np.asarray(weight))
    if given.shape != likelihood.event_shape:
        received = (len(given), *given.shape)
        raise ValueError(shape_message(likelihood.event_shape, received, argument))
    if given.binarize == "none" or likelihood.support != Support.BINARY:
        likelihood.support.check(given.x, argument, _advice(likelihood))
    return replace(given, x=given.x.astype(likelihood.compute_dtype, copy=False))


def checked_stream(likelihood: DistributionLayer, x: Any) -> Any:
    """Check the first batch of a dataset, ``PyDataset`` or generator, and return the whole."""
    if isinstance(x, tf.data.Dataset):
        first, stream = next(iter(x.take(1)), None), x
    elif isinstance(x, keras.utils.PyDataset):
        first, stream = x[0], x
    elif isinstance(x, Iterator):
        first = next(x, None)
        stream = itertools.chain([first], x)
    else:
        return x
    if first is None:
        raise ValueError("Expected a dataset of batches. Received: an empty one.")
    if isinstance(first, dict):
        raise ValueError(
            f"Expected batches of arrays or tuples. Received: dictionaries of {', '.join(first)}. "
            f"Map them first: x.map(lambda batch: batch[{next(iter(first), 'image')!r}])."
        )
    examples(likelihood, keras.utils.unpack_x_y_sample_weight(first)[0], argument="x")
    # Keras knows a generator by its type.
    return (batch for batch in stream) if isinstance(x, Iterator) else stream


def _floats(x: Any, argument: str) -> Any:
    """Return an array; whole numbers and booleans become floats."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected `{argument}` to be an array of numbers, all examples of one shape. "
            f"Received: {argument} of dtype {array.dtype}."
        )
    if array.ndim == 0 or not len(array):
        raise ValueError(
            f"Expected `{argument}` to hold at least one example. "
            f"Received: {argument} of shape {array.shape}."
        )
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def keras_arguments(examples: Examples) -> tuple[Any, Any, Any]:
    """Return x, y and sample_weight as Keras's methods take them."""
    x, y, weight = examples.values(), examples.y, examples.weight
    # Keras drops the weights of data without targets: an autoencoder's target is its input.
    return x, x if y is None and weight is not None else y, weight


def split_last(examples: Examples, fraction: float) -> tuple[Examples, Examples]:
    """Split off the last fraction of the examples, as Keras's ``validation_split`` does."""
    cut = len(examples) - int(len(examples) * fraction)
    if not 0 < cut < len(examples):
        raise ValueError(
            "Expected `validation_split` to leave examples on both sides. "
            f"Received: validation_split={fraction} of {len(examples)} examples."
        )
    return examples[:cut], examples[cut:]


def shape_message(expected: tuple[int, ...], received: tuple[Any, ...], argument: str) -> str:
    """Say that data is of another shape than the model's, and how to mend it."""
    if received == expected:
        return (
            f"Expected `{argument}` of shape [batch, {', '.join(map(str, expected))}]. Received: "
            f"one example without a batch. Pass {argument}[None], or batch the dataset: .batch(n)."
        )
    same_size = math.prod(expected) == math.prod(n or 0 for n in received[1:])
    fix = (
        f"Reshape it: {argument}.reshape(-1, {', '.join(map(str, expected))})."
        if same_size
        else f"Build the model for data of shape {received[1:]}, or pass data that fits it."
    )
    return (
        f"Expected `{argument}` of shape [batch, {', '.join(map(str, expected))}]. "
        f"Received: {argument} of shape {received}. {fix}"
    )


def _advice(likelihood: DistributionLayer) -> str:
    support = likelihood.support
    if support == Support.BINARY:
        return (
            'Binarise it (tfvae.data.Examples(x, binarize="dynamic"), or --binarize dynamic), or '
            "use the ContinuousBernoulli likelihood for grey values in [0, 1]."
        )
    if support.kind == "interval" and support.bounds == (0.0, 1.0):
        return "Scale the data (x / 255 for bytes), or use the Normal likelihood for real values."
    if support.kind == "levels":
        steps = support.points - 1
        return (
            f"Divide integers by {steps}, round other data to its levels (np.round({steps} * x) / "
            f"{steps}), set the likelihood's `levels`, or use ContinuousBernoulli or Normal, which "
            "take any values."
        )
    return "Use a likelihood whose support holds the data, such as Normal for real values."
