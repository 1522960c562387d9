"""What endpoints have in common: rows to try them with, and what is known of their values."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.layers.base import DistributionLayer

from .endpoint import Values
from .manifest import Tensor
from .subject import Subject

# Extremes first, so that batches of 1 and 3 meet them too.
_EDGE_SEEDS = (0, -1, 2**63 - 1, -(2**63))


def x_input(subject: Subject) -> Tensor:
    """Return data as clients send it, as an input."""
    shape = (None, *subject.model.data_shape)
    return Tensor("x", shape, subject.processing.dtype, bounds=data_values(subject).bounds)


def seeds(count: int) -> npt.NDArray[np.int64]:
    """Return seeds of rows, the edges of their range among them."""
    seed = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, count, endpoint=True)
    seed[: len(_EDGE_SEEDS)] = _EDGE_SEEDS[:count]
    return seed


def temperatures(count: int, *levels: int) -> npt.NDArray[np.float32]:
    """Return temperatures of rows, or of the levels of each: 1, one below, and none."""
    return np.resize(np.array((1.0, 0.7, 0.0), np.float32), (count, *levels))


def by_parts(layer: DistributionLayer) -> bool:
    """Whether a draw is picked among values, or components, that lie apart."""
    return layer.support.discrete or layer.choices > 0


def has_stddev(layer: DistributionLayer) -> bool:
    """Whether a layer's standard deviation exists, is finite, and is known in closed form."""
    try:
        stddev = layer(tf.zeros([1, *layer.params_shape])).stddev()
    except NotImplementedError:
        return False
    return bool(tf.reduce_all(tf.math.is_finite(stddev)))


def bounds(layer: DistributionLayer) -> tuple[float | None, float | None]:
    """Where a layer's draws lie."""
    low, high = (float(bound) if math.isfinite(bound) else None for bound in layer.support.bounds)
    return low, high


def data_values(subject: Subject) -> Values:
    """Where data lie in the client's units: a mean lies between its draws."""
    low, high = subject.processing.interval(*subject.model.likelihood.support.bounds)
    ends = (low if math.isfinite(low) else None, high if math.isfinite(high) else None)
    return Values(ends, "levels" if subject.processing.rounds else "scale")
