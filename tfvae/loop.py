"""Steps of training as one compiled loop; what stops it, and what it tells callbacks.

Keras feeds a model batch by batch through an input pipeline, which for a small VAE costs more
than the arithmetic. Here arrays stay on the device, an epoch is a permutation, and a chunk of
steps (gather rows, binarise, differentiate, update) runs as one ``tf.while_loop``, compiled by
XLA where that pays. Callbacks and progress run between chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

TrainFunction = Callable[[Iterator[Any]], dict[str, tf.Tensor]]


class NonFiniteError(FloatingPointError):
    """A loss or gradient became NaN or infinite; the weights are those of the last good step."""


def compiled_loop(model: Any) -> TrainFunction:
    """Return Keras's ``train_function`` for a model that is fed by an :class:`ArrayFeed`."""

    def run(
        tensors: tuple[tf.Tensor, ...], rows: tf.Tensor, count: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        feed = model.feed
        assert feed is not None

        def unfinished(index: tf.Tensor, good: tf.Tensor) -> tf.Tensor:
            return tf.logical_and(index < count, good)

        def one_step(index: tf.Tensor, good: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            data = feed.batch(tensors, rows[index], model.step.value)
            return index + 1, model.train_batch(data)

        # One iteration at a time: steps read the weights that the step before them wrote.
        tf.while_loop(
            unfinished, one_step, [tf.constant(0), tf.constant(True)], parallel_iterations=1
        )
        logs: dict[str, tf.Tensor] = model.get_metrics_result()
        return logs

    if not model.run_eagerly:
        run = tf.function(run, jit_compile=model.jit_compile, autograph=False)

    def train_function(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        rows, count, tail, last = next(iterator)
        logs = run(model.feed_tensors, rows, count)
        # After a step that was not finite the weights stay as they are.
        if bool(last) and tail.shape[0] and np.isfinite(float(logs["loss"])):
            logs = run(model.feed_tensors, tail[None], tf.constant(1))
        return logs

    return train_function


def guarded(model: Any, train_function: TrainFunction) -> TrainFunction:
    """Wrap a train function so that a loss that is not finite stops training and says why."""

    def checked(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        logs = train_function(iterator)
        if not np.isfinite(float(logs["loss"])):
            raise NonFiniteError(_diagnosis(model, logs))
        return logs

    return checked


def _diagnosis(model: Any, logs: dict[str, tf.Tensor]) -> str:
    broken = [
        name for name in ("log_likelihood", "kl") if not np.isfinite(float(logs.get(name, 0.0)))
    ]
    cause = f"its {' and '.join(broken)} is" if broken else "its gradient is"
    return (
        f"Training stopped at step {int(model.step.numpy()) + 1}: {cause} NaN or infinite. The "
        "weights are those of the last good step. Try a lower learning rate, "
        "`clipnorm=` in the optimizer, or scaling the data; check the data for extreme values."
    )


class BoundedCallbacks(keras.callbacks.CallbackList):
    """Keras's callback list, told of no step beyond the epoch's last.

    Keras counts whole chunks, so the last chunk of an epoch would overshoot the progress bar.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Call the callbacks with the index of the last step that ran."""
        super().on_train_batch_end(min(batch, self.params["steps"] - 1), logs)


def hears_batches(callbacks: Any) -> bool:
    """Say whether a callback class that is not Keras's own acts on training batches."""
    given = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    base = keras.callbacks.Callback
    return any(
        getattr(type(callback), hook) is not getattr(base, hook)
        for callback in given
        if isinstance(callback, base) and not type(callback).__module__.startswith("keras.")
        for hook in ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    )


def xla_pays(*networks: keras.layers.Layer) -> bool:
    """Say whether XLA makes training of these networks faster on this machine.

    On CPU it does for dense networks (1.3 to 2 times) and hurts badly where there are
    convolutions (some 70 times) or recurrent cells, or where a layer says so. On GPU it does
    throughout.
    """
    if tf.config.list_physical_devices("GPU"):
        return True
    slow = tuple(
        cls
        for name in dir(keras.layers)
        if isinstance(cls := getattr(keras.layers, name), type)
        and ("Conv" in name or cls is keras.layers.RNN)
    )
    return not any(
        isinstance(layer, slow) or getattr(layer, "slow_under_xla", False)
        for network in networks
        for layer in network._flatten_layers()
    )
