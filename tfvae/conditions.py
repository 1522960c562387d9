"""Conditions: what networks may be given beside x or z, as a second input."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

Spec = tuple[tuple[int, ...], str]
"""The shape of one condition, and its dtype."""


def takes_condition(network: Any) -> bool:
    """Say whether a network has a second input, which is the condition.

    Of a subclassed model, which does not list its inputs, an attribute ``conditional`` says so.
    """
    inputs = getattr(network, "inputs", None)
    return len(inputs) == 2 if inputs else bool(getattr(network, "conditional", False))


def spec_of(network: Any) -> Spec:
    """Return what a network takes as its condition.

    Raises:
        NotImplementedError: if it does not list its inputs.
    """
    inputs = getattr(network, "inputs", None)
    if not inputs:
        raise NotImplementedError(f"{type(network).__name__} does not say what its condition is.")
    return tuple(inputs[1].shape[1:]), keras.backend.standardize_dtype(inputs[1].dtype)


def classes_of(network: Any) -> int | None:
    """Return how many classes a network embeds its condition's labels of; None for vectors."""
    # Of a subclassed network's layers it is not known what they are given.
    for layer in network.layers if getattr(network, "inputs", None) else []:
        if isinstance(layer, keras.layers.Embedding) and layer.input is network.inputs[1]:
            return int(layer.input_dim)
    return None


def check_labels(labels: npt.NDArray[Any], classes: int, taker: str) -> None:
    """Refuse labels that an embedding would read as another class, or as none, in silence.

    Raises:
        ValueError: unless all are whole numbers from 0 to classes - 1.
    """
    if labels.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected labels to be whole numbers from 0 to {classes - 1}, as the {taker} asks. "
            f"Received: dtype {labels.dtype}. Number them: "
            "names, y = np.unique(y, return_inverse=True)."
        )
    wrong = labels[(labels < 0) | (labels >= classes) | (labels != np.floor(labels))]
    if wrong.size:
        raise ValueError(
            f"Expected labels to be whole numbers from 0 to {classes - 1}, as the {taker} asks. "
            f"Received: {wrong.size} others of {labels.size}, such as {wrong.flat[0]:g}. Mend or "
            "drop those rows, or build the model with more classes."
        )


def run(
    network: Any, value: tf.Tensor, condition: tf.Tensor | None, training: bool = False
) -> tf.Tensor:
    """Run a network on x or z [B, ...], and on the condition [B, ...] if it takes one.

    Raises:
        ValueError: if it takes one and there is none; and eagerly, for labels of no class.
    """
    if not takes_condition(network):
        return network(value, training=training)
    if condition is None:
        raise ValueError(
            f"Expected a `condition`, which is the second input of the {network.name}. Received: "
            "None. Pass it: as y of vae.fit(x, y), as condition= elsewhere."
        )
    condition = tf.convert_to_tensor(condition)
    if tf.executing_eagerly() and (classes := classes_of(network)) is not None:
        check_labels(condition.numpy(), classes, network.name)
    with contextlib.suppress(NotImplementedError):
        condition = tf.cast(condition, spec_of(network)[1])
    return network([value, condition], training=training)


def run_samples(
    network: Any,
    value: tf.Tensor,
    shape: tuple[int, ...],
    emitted: tuple[int, ...],
    condition: tf.Tensor | None = None,
    training: bool = False,
) -> tf.Tensor:
    """Run a network on draws [..., B, *shape], as many as there are: [..., B, *emitted]."""
    rank = len(shape)
    if value.shape.rank == rank + 1:
        return run(network, value, condition, training)
    leading = tf.shape(value)[:-rank]
    rows = tf.reshape(value, [-1, *shape])
    if takes_condition(network):
        condition = for_samples(condition, leading)
    flat = run(network, rows, condition, training)
    params = tf.reshape(flat, tf.concat([leading, tf.constant(emitted)], axis=0))
    params.set_shape([*value.shape[:-rank], *emitted])
    return params


def for_samples(condition: tf.Tensor | None, leading: tf.Tensor) -> tf.Tensor | None:
    """Repeat a condition [B, ...] for draws of leading shape [..., B], as rows [prod, ...]."""
    if condition is None:
        return None
    condition = tf.convert_to_tensor(condition)
    rest = tf.shape(condition)[1:]
    whole = tf.broadcast_to(condition, tf.concat([leading, rest], axis=0))
    return tf.reshape(whole, [-1, *condition.shape[1:]])
