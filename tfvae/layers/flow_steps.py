"""Steps made of increasing maps whose raw numbers come from a network: what flows are built of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfvae.layers.base import check_event_shape
from tfvae.layers.conditioner import Conditioner, check_hidden
from tfvae.layers.flow import FlowLayer, FlowStep, Mapped, check_count
from tfvae.layers.flow_maps import Map


class Coupling(FlowStep):
    r"""A coupling step: one half of x stays, and sets the maps of the other half.

    .. math:: y_a = x_a, \qquad y_b = g(x_b; \lambda(x_a, c))

    Args:
        size: the length of the last axis, d, at least 2.
        maps: the maps of the other half's elements.
        flip: the last half stays, and not the first.
        dtype: a Keras dtype policy.
        **network: context, hidden and seed of the :class:`Conditioner`.
    """

    def __init__(
        self, size: int, maps: Map, *, flip: bool = False, dtype: Any = None, **network: Any
    ) -> None:
        super().__init__(dtype=dtype)
        self.maps = maps
        self.flip = flip
        self.sizes = [size // 2, size - size // 2]
        kept, moved = reversed(self.sizes) if flip else self.sizes
        self.network = Conditioner(
            [0] * kept, [1] * moved, maps.size, dtype=self.dtype_policy, **network
        )

    def forward(self, x: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Map one half."""
        kept, moved = self._halves(x)
        moved, log_slope = self.maps.forward(moved, self.network(kept, params))
        return self._join(kept, moved), tf.reduce_sum(log_slope, axis=-1)

    def inverse(self, y: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Map it back: the half that set the maps is at hand."""
        kept, moved = self._halves(y)
        moved, log_slope = self.maps.inverse(moved, self.network(kept, params))
        return self._join(kept, moved), tf.reduce_sum(log_slope, axis=-1)

    def _halves(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first, last = tf.split(x, self.sizes, axis=-1)
        return (last, first) if self.flip else (first, last)

    def _join(self, kept: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        return tf.concat([moved, kept] if self.flip else [kept, moved], axis=-1)


class Autoregressive(FlowStep):
    r"""An autoregressive step: each element's map is set by the elements before it.

    .. math:: y_i = g(x_i; \lambda_i(x_{<i}, c))

    All of y comes in one pass of the network, and x from y in d passes, one element each.

    Args:
        size: the length of the last axis, d.
        maps: the elements' maps.
        flip: the order runs from the last element to the first.
        dtype: a Keras dtype policy.
        **network: context, hidden and seed of the :class:`Conditioner`.
    """

    def __init__(
        self, size: int, maps: Map, *, flip: bool = False, dtype: Any = None, **network: Any
    ) -> None:
        super().__init__(dtype=dtype)
        self.maps = maps
        self.order = list(range(size))[:: -1 if flip else 1]
        self.network = Conditioner(
            self.order, self.order, maps.size, dtype=self.dtype_policy, **network
        )

    def forward(self, x: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Map all elements at once."""
        y, log_slope = self.maps.forward(x, self.network(x, params))
        return y, tf.reduce_sum(log_slope, axis=-1)

    def inverse(self, y: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Map back one element after the other."""
        x = tf.zeros_like(y)
        for turn in range(len(self.order)):
            each, log_slope = self.maps.inverse(y, self.network(x, params))
            # The map of a later element is set by what is not yet known: it waits at 0.
            x = tf.where(np.asarray(self.order) <= turn, each, tf.zeros_like(y))
        return x, tf.reduce_sum(log_slope, axis=-1)


class Inverse(FlowStep):
    """A step the other way round: what it does in one pass, this undoes in one.

    Args:
        step: an invertible step.
    """

    def __init__(self, step: FlowStep) -> None:
        super().__init__(dtype=step.dtype_policy)
        self.step = step
        self.params_size = step.params_size

    def forward(self, x: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Map x to y, as the step's inverse does."""
        y, log_det = self.step.inverse(x, params)
        return y, -log_det

    def inverse(self, y: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Map y to x, as the step does."""
        x, log_det = self.step.forward(y, params)
        return x, -log_det


class NetworkFlow(FlowLayer):
    """A flow of equal steps with networks, every other one flipped.

    Args:
        event_shape: the shape of one draw, its last axis d long.
        make: from d, and ``flip``, ``context``, ``hidden``, ``seed`` and ``dtype``, to a step.
        steps: how many, at least 1.
        hidden: units of the hidden layers of each step's network.
        context: how many numbers of each last axis the encoder passes to the steps.
        seed: of the initial weights.
        dtype: a Keras dtype policy.
        **options: name and trainable.

    Raises:
        ValueError: if `steps` < 1, `context` < 0, `seed` < 0, or `hidden` holds anything but
            positive integers.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        make: Callable[..., FlowStep],
        *,
        steps: int,
        hidden: Sequence[int],
        context: int,
        seed: int,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        size = check_event_shape(event_shape)[-1]
        check_count("seed", seed, minimum=0)
        network = {
            "context": check_count("context", context, minimum=0),
            "hidden": check_hidden(hidden),
            "dtype": dtype,
        }
        flow = [
            make(size, flip=index % 2 == 1, seed=(seed, index), **network)
            for index in range(check_count("steps", steps))
        ]
        super().__init__(event_shape, flow=flow, context=context, dtype=dtype, **options)
        self.steps = steps
        self.hidden = tuple(hidden)
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "steps": self.steps,
            "hidden": self.hidden,
            "context": self.context,
            "seed": self.seed,
        }
