"""The prior of a path of latents each of which depends on all that was before: on a memory."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfvae.families.paths import as_before, as_rows, check_emits, check_step_layer
from tfvae.families.repeated import check_steps, over_steps, take_after
from tfvae.families.scan import scan
from tfvae.layers.base import DistributionLayer
from tfvae.priors import Prior


@keras.saving.register_keras_serializable("tfvae.priors")
class Memory(Prior):
    r"""Latents that follow all that was before, :math:`\prod_t p(z_t | h_{t-1})`.

    .. math:: h_t = f(h_{t-1}, x_t, z_t), \qquad h_0 = 0

    Args:
        network: a Keras model, h_{t-1} [B, n] to the parameters of z_t.
        reader: a Keras model of two inputs, the features of x_t [B, k] and z_t [B, d], to what
            the cell reads at a step.
        cell: f, a Keras cell such as ``keras.layers.GRUCell(64)``; h is its output.
        layer: the distribution layer of each step.
        steps: the length of the sequence, T.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `network` or `reader` is not a Keras model, or `cell` no cell.
        ValueError: if steps < 1, or the parts do not fit each other.

    References:
        Chung et al. (2015), A recurrent latent variable model for sequential data,
        arXiv:1506.02216.
    """

    parts = ("network", "reader", "cell", "layer")

    def __init__(
        self,
        network: keras.Model,
        reader: keras.Model,
        cell: Any,
        layer: DistributionLayer,
        steps: int,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        check_step_layer(layer, "layer")
        if not hasattr(cell, "state_size") or not hasattr(cell, "output_size"):
            raise TypeError(
                "Expected `cell` to be a recurrent cell, such as keras.layers.GRUCell(64). "
                f"Received: cell={cell!r}."
            )
        check_emits(network, "network", ["h_{t-1}"], layer, first=cell.output_size)
        if not isinstance(reader, keras.Model) or len(reader.inputs) != 2:
            raise TypeError(
                "Expected `reader` to be a Keras model of two inputs, the features of x_t and z_t. "
                f"Received: reader={reader!r}."
            )
        if tuple(reader.inputs[1].shape[1:]) != layer.event_shape:
            raise ValueError(
                f"Expected the second input of `reader` to be z_t, [batch, {layer.event_shape[0]}]."
                f" Received: {(None, *reader.inputs[1].shape[1:])}."
            )
        shape = (check_steps(steps), *layer.event_shape)
        super().__init__(shape, name=name, dtype=dtype, trainable=trainable)
        self.network, self.reader, self.cell, self.layer = network, reader, cell, layer
        self.steps = steps
        if not cell.built:
            cell.build((None, reader.output_shape[-1]))
        take_after(self, layer)
        self.slow_under_xla = True

    def call(self, states: tf.Tensor | None = None) -> Any:
        """Return the distribution of all steps, given the states [..., T, n] before each.

        Raises:
            ValueError: without these: what z is likely depends on x before it.
        """
        if states is None:
            raise ValueError(
                "Expected the states before each step, for p(z_t) depends on all that was before. "
                "Received: none. Use the prior of a pass: vae.trace(x).latents[0].prior."
            )
        return over_steps(self.layer(self.params(states)))

    def params(self, states: tf.Tensor) -> tf.Tensor:
        """Return the parameters of z_t, [..., *params], given states [..., n] before."""
        rows = tf.reshape(states, [-1, states.shape[-1]])
        flat = tf.cast(self.network(rows), self.compute_dtype)
        leading = tf.shape(states)[:-1]
        params = tf.reshape(flat, tf.concat([leading, self.layer.params_shape], axis=0))
        params.set_shape([*states.shape[:-1], *self.layer.params_shape])
        return params

    def start(self, rows: tf.Tensor | int) -> tf.Tensor:
        """Return what is remembered before the first step, [R, m]: all of the cell's states."""
        return tf.zeros([rows, sum(self._sizes)], self.compute_dtype)

    def seen(self, memory: tf.Tensor) -> tf.Tensor:
        """Return the state h, [..., n], of what is remembered: the cell's output."""
        return memory[..., : self.cell.output_size]

    def before(self, memory: tf.Tensor) -> tf.Tensor:
        """Return the states before each step, [R, T, n], of what is remembered after it."""
        first = self.start(tf.shape(memory)[0])[:, None]
        return self.seen(tf.concat([first, memory[:, :-1]], axis=1))

    def follow(self, memory: tf.Tensor, features: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """Return what is remembered after a step, of features [R, k] of x_t and z_t [R, d]."""
        read = self.reader([features, z])
        _, new = self.cell(read, tf.split(memory, self._sizes, axis=-1))
        new = new if isinstance(new, list | tuple) else [new]
        return tf.concat([tf.cast(each, self.compute_dtype) for each in new], axis=-1)

    def states(self, z: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """Return the states before each step of paths z [..., T, d], of features [R, T, k]."""
        rows, leading = as_rows(z)

        def step(state: tuple[tf.Tensor, ...], now: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor]:
            return (self.follow(state[0], now[1], now[0]),)

        memory = scan(step, (self.start(tf.shape(rows)[0]),), [rows, features])
        return as_before(self.before(memory), leading)

    @property
    def _sizes(self) -> list[int]:
        sizes = self.cell.state_size
        return [
            size if isinstance(size, int) else math.prod(size)
            for size in (sizes if isinstance(sizes, list | tuple) else [sizes])
        ]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {"steps": self.steps}
