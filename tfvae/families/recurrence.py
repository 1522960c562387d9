"""Recurrent inference: what a network makes of a sequence, forwards and backwards in time."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.families.scan import scan


@keras.saving.register_keras_serializable("tfvae")
class Recurrent(keras.layers.Layer):
    """A recurrent cell over the steps of which something was observed.

    At the others its state stays as it is: what comes after the end of a sequence, or was not
    observed within it, changes nothing. Unlike ``keras.layers.RNN`` it can be exported without
    loops.

    Args:
        cell: a Keras cell, such as ``keras.layers.GRUCell(64)``.
        backwards: begin with the last step.
        name: the layer's name.

    Raises:
        TypeError: if `cell` is none.

    Example:
        >>> layer = tfvae.families.Recurrent(keras.layers.GRUCell(4))
        >>> layer(tf.ones([2, 5, 3]), tf.ones([2, 5])).shape
        TensorShape([2, 5, 4])
    """

    slow_under_xla = True

    def __init__(self, cell: Any, *, backwards: bool = False, **kwargs: Any) -> None:
        if not hasattr(cell, "state_size") or not hasattr(cell, "get_initial_state"):
            raise TypeError(
                "Expected `cell` to be a recurrent cell, such as keras.layers.GRUCell(64). "
                f"Received: cell={cell!r}."
            )
        super().__init__(**kwargs)
        self.cell = cell
        self.backwards = backwards

    def build(self, values_shape: Any, observed_shape: Any) -> None:
        """Build the cell for values [B, T, n]."""
        if not self.cell.built:  # Keras has built the cell of a model that it loads
            self.cell.build((None, values_shape[-1]))
        self.built = True

    def compute_output_shape(self, values_shape: Any, observed_shape: Any) -> tuple[Any, ...]:
        """Return [B, T, units]."""
        return (*values_shape[:2], self.cell.output_size)

    def call(self, values: tf.Tensor, observed: tf.Tensor) -> tf.Tensor:
        """Return the cell's state after each step, [B, T, units].

        Args:
            values: [B, T, n].
            observed: [B, T], not 0 where a step is to be read.
        """
        values = tf.convert_to_tensor(values)
        there = tf.cast(tf.convert_to_tensor(observed)[..., None] != 0, values.dtype)

        def step(state: tuple[tf.Tensor, ...], now: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            value, read = now
            _, new = self.cell(value, list(state))
            new = new if isinstance(new, list | tuple) else [new]
            return tuple(
                tf.where(read > 0, tf.cast(each, old.dtype), old)
                for each, old in zip(new, state, strict=True)
            )

        sizes = self.cell.state_size
        sizes = sizes if isinstance(sizes, list | tuple) else [sizes]
        batch = values.shape[0] if values.shape[0] is not None else tf.shape(values)[0]
        state = tuple(tf.zeros([batch, size], values.dtype) for size in sizes)
        return scan(step, state, [values, there], reverse=self.backwards)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        cell = keras.saving.serialize_keras_object(self.cell)
        return {**super().get_config(), "cell": cell, "backwards": self.backwards}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Recurrent:
        """Rebuild a layer from :meth:`get_config`."""
        return cls(**config | {"cell": keras.saving.deserialize_keras_object(config["cell"])})


@keras.saving.register_keras_serializable("tfvae")
class Observed(keras.layers.Layer):
    """Which steps of a mask [B, T, *step] hold an observed value: [B, T]."""

    def call(self, mask: Any) -> Any:
        """Return 1 where there is one, else 0."""
        axes = list(range(2, len(mask.shape)))
        return keras.ops.max(mask, axis=axes) if axes else mask


@keras.saving.register_keras_serializable("tfvae")
class Gate(keras.layers.Layer):
    """``gate * proposed + (1 - gate) * kept``, of three inputs."""

    def call(self, inputs: Any) -> Any:
        """Return the mean of two values, by weights."""
        gate, proposed, kept = inputs
        return kept + gate * (proposed - kept)
