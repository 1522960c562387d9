"""Epochs of training: steps in chunks, callbacks and validation between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import keras

from tfvae.loop import NonFiniteError, Position, diagnosis
from tfvae.step import StepModel


class Steps(Protocol):
    """Takes steps on a feed; `start` is where the running pass over the data began."""

    start: int

    def __call__(self, count: int, step: int) -> bool:
        """Take `count` steps from the model's step counter on; say whether all were good."""


def fit(
    model: StepModel,
    steps: Callable[[int, int], Steps],
    *,
    callbacks: keras.callbacks.CallbackList,
    epochs: int,
    initial_epoch: int,
    steps_per_epoch: int,
    steps_per_pass: int,
    chunk: int,
    validate: Callable[[int], dict[str, float]],
) -> dict[str, float]:
    """Train, calling callbacks as Keras does, and return the logs of the last epoch.

    Args:
        model: compiled, with an optimizer that is built.
        steps: from where the running pass began and how many steps of it are done, what takes
            the next ones.
        callbacks: told of chunks by the index of their last step.
        epochs: where to stop.
        initial_epoch: where to start, unless a callback restores a position.
        steps_per_epoch: steps in each.
        steps_per_pass: steps that a pass over the data takes.
        chunk: steps between callbacks.
        validate: from the epoch, what to add to its logs.
    """
    model.stop_training = False
    model.position = Position(initial_epoch)
    callbacks.on_train_begin()  # may restore weights and position
    if model._initial_epoch:  # as keras.callbacks.BackupAndRestore says it
        model.position = Position(model._initial_epoch)
    step = int(model.step.numpy())
    start = step if model.position.start is None else model.position.start
    # A pass that is over has a successor.
    start += (step - start) // steps_per_pass * steps_per_pass
    take = steps(start, step - start)
    logs: dict[str, float] = {}
    for epoch in range(model.position.epoch, epochs):
        done = model.position.step
        if done:
            logs = model.logs()  # of the part that was trained before
        else:
            model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        while done < steps_per_epoch and not model.stop_training:
            count = min(chunk - done % chunk, steps_per_epoch - done)
            callbacks.on_train_batch_begin(done)
            good = take(count, step)
            logs = model.logs()
            if not good or not math.isfinite(logs["loss"]):
                raise NonFiniteError(diagnosis(int(model.step.numpy()), logs))
            done, step = done + count, step + count
            model.position = Position(epoch, done, take.start)
            callbacks.on_train_batch_end(done - 1, logs)
        if logs.get("skipped", 0.0) >= steps_per_epoch:
            raise NonFiniteError(
                f"All {steps_per_epoch} steps of epoch {epoch + 1} were skipped: their losses or "
                "gradients are NaN or infinite. The weights are as they were. Check the data for "
                "extreme values, and the learning rate."
            )
        logs = logs | validate(epoch)
        if done == steps_per_epoch:  # else it was stopped, and may be resumed there
            model.position = Position(epoch + 1, 0, take.start)
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    callbacks.on_train_end(logs)
    return logs
