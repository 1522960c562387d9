"""Numbers that change with training, as functions of the step counter that a model saves.

The counter is part of the model, so a resumed run goes on where its schedule stood.

Example:
    >>> warmup = LinearWarmup(steps=100)
    >>> [float(warmup(step)) for step in (0, 50, 100, 1000)]
    [0.0, 0.5, 1.0, 1.0]
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from tfvae.objectives.base import Serialisable, check_number, check_samples


@dataclass(frozen=True)
class Schedule(Serialisable):
    """A number that is a function of the number of optimizer steps taken."""

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """Return the number at a step, a float64 scalar."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class LinearWarmup(Schedule):
    r"""A straight line from `start` to `end`, then `end`.

    .. math:: \text{start} + (\text{end} - \text{start}) \min(t / \text{steps},\, 1)

    Args:
        steps: optimizer steps until `end`.
        start: the number at step 0.
        end: the number from step `steps` on; a smaller one than `start` makes it fall.

    Raises:
        ValueError: if steps < 1, an end is negative or not finite, or both are the same.

    References:
        Bowman et al. (2016), Generating sentences from a continuous space, arXiv:1511.06349.
    """

    steps: int
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        check_samples(self.steps, argument="steps")
        _check_ends(self.start, self.end)

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """Return the number at a step, a float64 scalar."""
        # The minimum is taken of integers, which are exact however long a run is.
        part = tf.minimum(tf.cast(step, tf.int64), self.steps) / self.steps
        return self.start + (self.end - self.start) * part


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class Cyclical(Schedule):
    r"""Warm-ups that start over every `period` steps.

    .. math:: \text{start} + (\text{end} - \text{start})
        \min\Bigl(\frac{t \bmod \text{period}}{\text{ratio} \cdot \text{period}},\, 1\Bigr)

    Args:
        period: optimizer steps of a cycle.
        ratio: the part of a cycle in which the number rises; for the rest it stays at `end`.
        cycles: how many cycles there are, after which it stays at `end`; None for no limit.
        start: the number at the beginning of a cycle.
        end: the number that a cycle reaches.

    Raises:
        ValueError: if period < 2, `ratio` is not in (0, 1], cycles < 1, an end is negative or
            not finite, or both are the same.

    References:
        Fu et al. (2019), Cyclical annealing schedule, arXiv:1903.10145.
    """

    period: int
    ratio: float = 0.5
    cycles: int | None = None
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        check_samples(self.period, minimum=2, argument="period")
        check_number("ratio", self.ratio, 0, 1)
        if self.ratio == 0:
            raise ValueError("Expected `ratio` to be more than 0. Received: ratio=0.")
        if self.cycles is not None:
            check_samples(self.cycles, argument="cycles")
        _check_ends(self.start, self.end)

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """Return the number at a step, a float64 scalar."""
        step = tf.cast(step, tf.int64)
        part = tf.minimum((step % self.period) / self.period / self.ratio, 1.0)
        if self.cycles is not None:
            part = tf.where(step < self.cycles * self.period, part, 1.0)
        return self.start + (self.end - self.start) * part


def check_weight(argument: str, value: float | Schedule) -> None:
    """Raise a ``ValueError`` unless a value is a schedule or a number that is not negative."""
    if not isinstance(value, Schedule):
        check_number(argument, value, minimum=0)


def at(value: float | Schedule, step: tf.Tensor | int, like: tf.Tensor) -> tf.Tensor:
    """Return a number, or what a schedule makes of a step, in the dtype of `like`."""
    return tf.cast(value(step) if isinstance(value, Schedule) else value, like.dtype)


def _check_ends(start: float, end: float) -> None:
    check_number("start", start, minimum=0)
    check_number("end", end, minimum=0)
    if start == end:
        raise ValueError(
            "Expected a schedule that goes from `start` to another `end`; for a constant give the "
            f"number itself. Received: start={start}, end={end}."
        )
