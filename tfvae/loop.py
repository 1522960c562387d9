"""Steps of training as one compiled loop, and what stops it.

Keras feeds a model batch by batch through an input pipeline, which for a small VAE costs more
than the arithmetic. Here a pass over the data is a permutation, the rows of a chunk of steps are
gathered at once, and the chunk (binarise, differentiate, update) runs as one ``tf.while_loop``,
compiled by XLA where that pays. Callbacks and progress run between chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae.feeds import Block, Feed, Preparation

Take = Callable[[tuple[tf.Tensor | None, ...]], tf.Tensor]
"""Takes a step on (x, y, weight) and returns whether it was good."""


class NonFiniteError(FloatingPointError):
    """A loss or gradient became NaN or infinite; the weights are those of the last good step."""


class Position(NamedTuple):
    """Where training is, beside the weights: all that it takes to go on as if never stopped.

    Attributes:
        epoch: completed epochs.
        step: steps taken of the running one.
        start: the model's step counter when the running pass over the data began; None where
            training begins with a new one.
    """

    epoch: int = 0
    step: int = 0
    start: int | None = None


def compiled_steps(
    take: Take,
    counter: keras.Variable,
    prepare: Preparation,
    *,
    xla: Callable[[Block], bool],
    eager: bool = False,
) -> Callable[[Block, int], bool]:
    """Return a function that runs the first n steps of a block, as one loop on the device.

    It returns whether all of them were good; the loop ends with the first that is not.

    Args:
        take: takes one step.
        counter: the model's step counter, of which binarisation is a function.
        prepare: makes what the model sees of what is stored.
        xla: whether to compile the loop of a block.
        eager: run it in Python, for debugging.
    """

    def run(
        tensors: tuple[tf.Tensor, ...],
        first: tf.Tensor,
        stop: tf.Tensor,
        size: int,
    ) -> tf.Tensor:
        def one_step(index: tf.Tensor, good: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = tuple(_rows(each, index * size, size) for each in tensors)
            return index + 1, take(prepare(batch, tf.convert_to_tensor(counter)))

        # One iteration at a time: steps read the weights that the step before them wrote.
        _, good = tf.while_loop(
            lambda index, good: tf.logical_and(index < stop, good),
            one_step,
            [first, tf.constant(True)],
            parallel_iterations=1,
        )
        return good

    loops = {jit: run if eager else tf.function(run, jit_compile=jit, autograph=False)
             for jit in (False, True)}  # fmt: skip

    def steps(block: Block, count: int) -> bool:
        first, stop = (tf.constant(n, tf.int32) for n in (block.first, block.first + count))
        return bool(loops[xla(block)](block.tensors, first, stop, block.size))

    return steps


def _rows(tensor: tf.Tensor, start: tf.Tensor, size: int) -> tf.Tensor:
    # A slice of a size that is known, which XLA needs.
    rest = tensor.shape.rank - 1
    return tf.slice(tensor, tf.stack([start, *[0] * rest]), [size, *tensor.shape[1:]])


class LocalSteps:
    """The steps of a feed on one device, pass after pass, as many at a time as are asked for.

    Args:
        feed: the data.
        run: what :func:`compiled_steps` returned.
        start: the model's step counter when the running pass began.
        done: steps of it that were taken before.
        chunk: how many steps will be asked for at a time.
    """

    def __init__(
        self, feed: Feed, run: Callable[[Block, int], bool], *, start: int, done: int, chunk: int
    ) -> None:
        self.start = start
        self._feed = feed
        self._run = run
        self._chunk = chunk
        self._blocks = feed.blocks(start, done, chunk)
        self._block: Block | None = None

    def __call__(self, count: int, step: int) -> bool:
        """Take `count` steps from the model's step counter on; say whether all were good."""
        good = True
        while count and good:
            block = self._block or next(self._blocks, None)
            if block is None:
                self.start, self._blocks = step, self._feed.blocks(step, 0, self._chunk)
                continue
            taken = min(count, block.steps)
            good = self._run(block, taken)
            left = block.steps - taken
            self._block = block._replace(first=block.first + taken, steps=left) if left else None
            count -= taken
            step += taken
        return good


def diagnosis(step: int, logs: dict[str, float]) -> str:
    """Say which term of a loss broke at a step."""
    broken = [name for name in ("log_likelihood", "kl") if not np.isfinite(logs.get(name, 0.0))]
    cause = f"its {' and '.join(broken)} is" if broken else "its gradient is"
    return (
        f"Training stopped at step {step + 1}: {cause} NaN or infinite. The "
        "weights are those of the last good step. Try a lower learning rate, "
        "`clipnorm=` in the optimizer, or scaling the data; check the data for extreme values, and "
        "labels for classes that there are not. "
        'compile(nonfinite="skip") leaves such steps out.'
    )


def guarded(model: Any, train_function: Callable[[Iterator[Any]], Any]) -> Callable[..., Any]:
    """Wrap Keras's train function so that a loss that is not finite stops training and says why."""

    def checked(iterator: Iterator[Any]) -> Any:
        logs = train_function(iterator)
        if not np.isfinite(float(logs["loss"])):
            numbers = {name: float(value) for name, value in logs.items()}
            raise NonFiniteError(diagnosis(int(model.step.numpy()), numbers))
        return logs

    return checked


CHUNK = 32
"""Steps between callbacks where ``compile(steps_per_execution="auto")`` leaves it to us."""


def longest_chunk(callbacks: Any) -> int:
    """Return how many steps may pass between two calls of callbacks.

    A callback class that is not Keras's own and acts on batches hears of every one, unless it
    says otherwise: with ``steps_between``, how many steps at most, or None for any number.
    """
    given = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    base = keras.callbacks.Callback
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    longest = CHUNK
    for callback in given:
        foreign = isinstance(callback, base) and not type(callback).__module__.startswith("keras.")
        if foreign and any(
            getattr(type(callback), hook) is not getattr(base, hook) for hook in hooks
        ):
            between = getattr(callback, "steps_between", 1)
            longest = longest if between is None else min(longest, between)
    return longest


def xla_pays(*networks: keras.layers.Layer) -> bool:
    """Say whether XLA makes training of these networks faster on this machine.

    On CPU it does for dense networks (1.3 to 2 times) and hurts badly where there are
    convolutions (some 70 times) or recurrent cells, or where a layer says so. On GPU it does
    throughout, but for recurrent layers, whose cuDNN kernels it does not have.
    """
    layers = [layer for network in networks for layer in network._flatten_layers()]
    if tf.config.get_visible_devices("GPU"):
        return all(getattr(layer, "supports_jit", True) for layer in layers)
    slow = tuple(
        cls
        for name in dir(keras.layers)
        if isinstance(cls := getattr(keras.layers, name), type)
        and ("Conv" in name or cls is keras.layers.RNN)
    )
    return not any(
        isinstance(layer, slow) or getattr(layer, "slow_under_xla", False) for layer in layers
    )
