"""Where the noise of weights comes from: a seed that layers find while they are called.

A Keras layer has no argument for a seed, and a generator inside of it would be hidden state.
A pass that draws weights is made within ``with sampling(seed):`` instead. Each layer folds in its
own number, which is its place in the order in which layers are first called there; a layer that is
called again meets the same draws. Nothing is kept: the same seed gives the same pass.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tfvae import random

Size = Any
"""A number of rows: an int where it is known when a graph is made, else an int64 tensor."""


@dataclass(frozen=True)
class Sampling:
    """One pass with weights that are drawn.

    Attributes:
        seed: int64 [2].
        batch: how many examples there are; None takes each call's rows for as many examples.
        samples: how often an example may meet the weights: its posterior samples.
        position: index of the first example in a larger batch, of which this is a part; or None.
        eager: whether it began outside of any graph.
        numbers: of the layers that were called, by identity.
    """

    seed: tf.Tensor
    batch: Size | None
    samples: int
    position: tf.Tensor | None
    eager: bool
    numbers: dict[int, int] = field(default_factory=dict)

    def of(self, layer: Any) -> tf.Tensor:
        """Return the seed of a layer's draws.

        Raises:
            RuntimeError: where a compiled function would keep this pass's draws for ever.
        """
        if self.eager and not tf.executing_eagerly():
            raise RuntimeError(
                "Expected `with sampling(seed):` inside the compiled function that runs the "
                "network. Received: one around it, whose draws that function would repeat in every "
                "later call. Enter it within the function, or run the network eagerly."
            )
        return random.fold(self.seed, self.numbers.setdefault(id(layer), len(self.numbers)))

    def each_row(self, seed: tf.Tensor, rows: Size, shape: tuple[int, ...]) -> tf.Tensor:
        """Return standard normal noise [rows, *shape], independent in every row."""
        batch, times = self._examples(rows)
        noise = random.noise("normal", seed, times, batch, shape, position=self.position)
        return tf.reshape(noise, [times * batch, *shape])[:rows]

    def each_example(self, seed: tf.Tensor, rows: Size, shape: tuple[int, ...]) -> tf.Tensor:
        """Return standard normal noise [rows, *shape], one draw for all rows of an example."""
        return self._repeated(
            rows,
            lambda batch: random.noise("normal", seed, 1, batch, shape, position=self.position)[0],
        )

    def signs(self, seed: tf.Tensor, rows: Size, count: int) -> tf.Tensor:
        """Return random signs [rows, count], float32, one draw for all rows of an example."""
        words = -(-count // 32)
        start = None if self.position is None else tf.cast(self.position, tf.int64) * words

        def draw(batch: Size) -> tf.Tensor:
            drawn = random.words(seed, [batch, words, 1], start)
            bits = tf.bitwise.right_shift(drawn, tf.constant(list(range(32)), tf.uint32))
            ones = tf.cast(tf.bitwise.bitwise_and(bits, tf.constant(1, tf.uint32)), tf.int32)
            return tf.cast(1 - 2 * tf.reshape(ones, [batch, words * 32])[:, :count], tf.float32)

        return self._repeated(rows, draw)

    def _examples(self, rows: Size) -> tuple[Size, Size]:
        """Return how many examples there are, and how many rows of each at most.

        Rows are those of all examples, again and again: row r belongs to example r mod batch.
        """
        batch = rows if self.batch is None else self.batch
        if not (isinstance(rows, int) and isinstance(batch, int)):
            rows, batch = tf.cast(rows, tf.int64), tf.cast(batch, tf.int64)
        return batch, -(-rows // batch)

    def _repeated(self, rows: Size, draw: Callable[[Size], tf.Tensor]) -> tf.Tensor:
        batch, times = self._examples(rows)
        drawn = draw(batch)
        if isinstance(times, int) and times == 1:
            return drawn[:rows]
        whole = tf.tile(drawn, [times, *[1] * (drawn.shape.rank - 1)])
        return whole[:rows]


_PASS: ContextVar[Sampling | None] = ContextVar("tfvae_weights", default=None)


def current() -> Sampling | None:
    """Return the pass that is being made, or None where weights are their means."""
    return _PASS.get()


@contextlib.contextmanager
def sampling(
    seed: tf.Tensor | int,
    *,
    batch: Size | None = None,
    samples: int = 1,
    position: tf.Tensor | None = None,
) -> Iterator[None]:
    """Have Bayesian layers draw their weights within a block, for each example anew.

    ``fit`` and ``evaluate`` do so by themselves. Within a compiled function, enter it there.

    Args:
        seed: an integer or a seed of shape [2], of which the draws are a function.
        batch: how many examples there are, of which a network may see several rows each: all
            examples, then all again. None takes each call's rows for as many examples.
        samples: rows of each example that must meet the same weights. Where there are several,
            layers with ``estimator="auto"`` use Flipout.
        position: index of the first example in a larger batch, of which this is a part and whose
            draws it is to have.

    Example:
        >>> layer = tfvae.bayesian.BayesianDense(3, initial_scale=0.5)
        >>> means = layer(tf.ones([2, 4]))
        >>> with tfvae.bayesian.sampling(seed=0):
        ...     drawn = layer(tf.ones([2, 4]))
        >>> bool(tf.reduce_any(drawn == means))
        False
    """
    key = random.fold(seed, random.WEIGHTS)
    with _entered(Sampling(key, batch, samples, position, tf.executing_eagerly())):
        yield


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that draws weights as the pass does that it is made in, also after it.

    A decoder is run when its outputs are asked for, which may be later.
    """
    made = current()

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        with _entered(made or current()):
            return function(*args)

    return run


@contextlib.contextmanager
def _entered(drawn: Sampling | None) -> Iterator[None]:
    token = _PASS.set(drawn)
    try:
        yield
    finally:
        _PASS.reset(token)
