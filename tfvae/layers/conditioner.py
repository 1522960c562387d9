"""The network inside a flow's step: it sets the maps of some elements by other ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

# The last kernel's share of its usual size: flows start near the identity.
_NEAR = 0.01


class Conditioner(keras.layers.Layer):
    r"""A network from the inputs x and a context to `size` raw numbers for each output.

    An output sees the inputs of *lower* degree: masks leave the others out. With inputs of degree
    0 and outputs of degree 1 it is an ordinary network; with the same distinct degrees on both
    sides it is a MADE, autoregressive in their order. Hidden layers end in an ELU.

    Args:
        inputs: degrees of the inputs [n].
        outputs: degrees of the outputs [m].
        size: raw numbers for each output.
        context: how many numbers the context has, which every output sees.
        hidden: units of each hidden layer.
        seed: of the initial weights, one integer or several.
        dtype: a Keras dtype policy.

    References:
        Germain et al. (2015), MADE: masked autoencoder for distribution estimation,
        arXiv:1502.03509.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int],
        size: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64,),
        seed: Sequence[int] = (0,),
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self.built = True
        degrees = [np.asarray(inputs), *_hidden_degrees(inputs, outputs, context, hidden)]
        masks = [after >= before[:, None] for before, after in itertools.pairwise(degrees)]
        masks.append((np.asarray(outputs) > degrees[-1][:, None])[..., None])
        self.masks = [None if np.all(mask) else mask.astype(self.dtype) for mask in masks]
        # Var[w] = gain / n keeps the variance, n being how many terms are summed in one output.
        terms = [np.maximum(mask.sum(0), 1) for mask in masks]
        terms[0] = terms[0] + context
        gains = [2.0] * len(hidden) + [_NEAR**2]
        spreads = [np.sqrt(gain / count) for gain, count in zip(gains, terms, strict=True)]
        shapes = [mask.shape for mask in masks[:-1]] + [(*masks[-1].shape[:2], size)]
        rng = np.random.default_rng(np.random.SeedSequence(tuple(seed)))
        self.kernels = [
            self._weight(f"kernel_{index}", rng.normal(size=shape) * spread)
            for index, (shape, spread) in enumerate(zip(shapes, spreads, strict=True))
        ]
        self.biases = [
            self._weight(f"bias_{index}", np.zeros(shape[1:])) for index, shape in enumerate(shapes)
        ]
        self.context_kernel = None
        if context:
            kernel = rng.normal(size=(context, *shapes[0][1:])) * spreads[0]
            self.context_kernel = self._weight("context_kernel", kernel)

    def call(self, x: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        """Return raw numbers [S.., B.., m, size] for x [S.., B.., n] and a context [B.., c]."""
        last = len(self.kernels) - 1
        for index in range(last + 1):
            kernel, mask = tf.convert_to_tensor(self.kernels[index]), self.masks[index]
            total = tf.tensordot(x, kernel if mask is None else kernel * mask, 1)
            total += tf.convert_to_tensor(self.biases[index])
            if index == 0 and self.context_kernel is not None:
                total += tf.tensordot(context, tf.convert_to_tensor(self.context_kernel), 1)
            x = total if index == last else tf.nn.elu(total)
        return x

    def _weight(self, name: str, value: npt.NDArray[np.float64]) -> Any:
        return self.add_weight(
            shape=value.shape,
            initializer=lambda shape, dtype: tf.constant(value, dtype),
            autocast=False,
            name=name,
        )


def _hidden_degrees(
    inputs: Sequence[int], outputs: Sequence[int], context: int, hidden: Sequence[int]
) -> list[npt.NDArray[np.int_]]:
    """Deal degrees to hidden units in turn: all that an output can see and an input can reach."""
    high = max(outputs) - 1
    # A unit below all inputs sees the context alone, which the first output needs.
    low = min(high, min(outputs) - 1 if context else min(inputs))
    return [low + np.arange(units) % (high - low + 1) for units in hidden]


def check_hidden(hidden: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of hidden layers as a tuple, or say what is wrong with them."""
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in hidden):
        raise ValueError(
            "Expected `hidden` to hold positive integers, such as (64, 64). "
            f"Received: hidden={hidden!r}."
        )
    return tuple(hidden)
