"""What `fit` and its like are given, checked before any work: arrays, and the first of a stream."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.data import Examples
from tfvae.layers.support import Support
from tfvae.records import Records

if TYPE_CHECKING:
    from tfvae.layers.base import DistributionLayer


def is_arrays(x: Any) -> bool:
    """Say whether `x` is examples in memory, rather than a dataset, generator or nothing."""
    return isinstance(x, np.ndarray | Examples | list) or tf.is_tensor(x)


def is_indexed(x: Any) -> bool:
    """Say whether `x` is data that we know the size of and read in an order of our own."""
    return is_arrays(x) or isinstance(x, Records)


def accepted(
    likelihood: DistributionLayer, x: Any, y: Any = None, weight: Any = None, argument: str = "x"
) -> Examples | Records:
    """Return arrays as Examples, or Records, that a likelihood can explain.

    Raises:
        ValueError: as :func:`examples`; of Records, the first examples are looked at.
        TypeError: for labels or weights beside Records, which bring their own.
    """
    if not isinstance(x, Records):
        return examples(likelihood, x, y, weight, argument)
    if y is not None or weight is not None:
        raise TypeError(
            f"Expected no `y` or `sample_weight` beside the records in `{argument}`: they hold "
            "their labels. Convert the data with them."
        )
    examples(likelihood, first(x), argument=argument)
    return x


def first(given: Examples | Records) -> Examples:
    """Return examples as they are, of records the first ones."""
    return given.take(min(len(given), 64)) if isinstance(given, Records) else given


def labels(given: Examples | Records) -> npt.NDArray[Any] | None:
    """Return y of examples; of records each label that there is, or y of the first ones."""
    if isinstance(given, Records) and given.label_counts is not None:
        return np.array(list(given.label_counts), np.int64)
    return first(given).y


def fixed(given: Examples) -> Examples:
    """Return examples whose binarisation is drawn."""
    return replace(given, x=given.values(), binarize="none")


def examples(
    likelihood: DistributionLayer, x: Any, y: Any = None, weight: Any = None, argument: str = "x"
) -> Examples:
    """Return arrays, or records that fit into memory, as Examples that a likelihood can explain.

    Raises:
        ValueError: for empty data, another shape than the model's, values that are not finite
            or not in the likelihood's support.
    """
    if isinstance(x, Records):
        x = x.examples()
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
    dtype = likelihood.compute_dtype
    # Another Examples would be checked once more.
    return given if given.x.dtype == dtype else replace(given, x=given.x.astype(dtype))


def checked_stream(
    likelihood: DistributionLayer, x: Any, check: Callable[[Examples], None] | None = None
) -> Any:
    """Check the first batch of a dataset, ``PyDataset`` or generator, and return the whole.

    Args:
        likelihood: what is to explain it.
        x: the stream.
        check: looks at the first batch with what stands beside it; where None, y is not read.
    """
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
    values, y, _ = keras.utils.unpack_x_y_sample_weight(first)
    batch = examples(likelihood, values, None if check is None else y)
    if check is not None:
        check(batch)
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


def keras_arguments(
    examples: Examples, stand_in: Callable[[npt.NDArray[Any]], Any]
) -> tuple[Any, Any, Any]:
    """Return x, y and sample_weight as Keras's methods take them.

    Keras drops the weights of data without targets: what stands in for them is made of x.
    """
    x, y, weight = examples.values(), examples.y, examples.weight
    return x, stand_in(x) if y is None and weight is not None else y, weight


def split_last(
    examples: Examples | Records, fraction: float, seed: int
) -> tuple[Examples | Records, Examples | Records]:
    """Split off the last fraction of the examples, as Keras's ``validation_split`` does.

    Of records, which are read in blocks, the seed chooses.
    """
    if isinstance(examples, Records):
        return examples.split(fraction, seed=seed)
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
            "use the ContinuousBernoulli likelihood for grey values in [0, 1], or Normal."
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
