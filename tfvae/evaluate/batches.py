"""Examples in the order in which a measurement takes them, as passes of a model read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import intake
from tfvae.model import VAE
from tfvae.step import check_count
from tfvae.training import Unpacked


class UndefinedError(ValueError):
    """What is asked for has no meaning for a model or its data; the message says why."""


class Batches(NamedTuple):
    """Checked examples of a model.

    Attributes:
        vae: the model.
        values: what it sees of them, [N, *data].
        beside: their conditions, or what was observed of them, [N, ...]; None where there is none.
    """

    vae: VAE
    values: npt.NDArray[Any]
    beside: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, rows: Any) -> Unpacked:
        """Return some rows, as tensors."""
        beside = None if self.beside is None else tf.constant(self.beside[rows])
        return self.vae.unpack((tf.constant(self.values[rows]), beside))

    def parts(self, size: int, order: npt.NDArray[Any] | None = None) -> Iterator[npt.NDArray[Any]]:
        """Yield the numbers of `size` rows at a time; all, or those of an order."""
        order = np.arange(len(self)) if order is None else order
        for start in range(0, len(order), size):
            yield order[start : start + size]


def read(
    vae: VAE, x: Any, condition: Any, call: str, *, least: int = 1, batch_size: int = 1
) -> Batches:
    """Check examples and what stands beside them.

    Args:
        vae: the model.
        x: [N, *data], Examples or Records.
        condition: for a conditional model, one for each example; Examples bring theirs as y.
        call: how they are passed, for messages.
        least: how many there must be.
        batch_size: how many at a time.

    Raises:
        ValueError: for too few examples, and data that do not fit the model.
    """
    check_count("batch_size", batch_size)
    examples = intake.examples(vae.likelihood, *vae.beside(x, condition))
    if len(examples) < least:
        raise UndefinedError(
            f"Expected `x` to hold at least {least} examples. Received: {len(examples)}."
        )
    vae.check_condition(examples, f"{call}(vae, x, condition=c)")
    return Batches(vae, examples.values(), examples.y if vae.reads_y else None)


class Estimate(NamedTuple):
    """A mean and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Estimate:
        """Return the mean of independent values [N]; of one value, the error is NaN."""
        values = np.asarray(values, np.float64)
        spread = values.std(ddof=1) if len(values) > 1 else np.nan
        return cls(float(values.mean()), float(spread / np.sqrt(len(values))))
