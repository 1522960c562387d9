"""A function of time steps, one after the other, as a loop: of any number of steps, one graph.

tf2onnx stacks what a loop writes in the order in which it is written, wherever it says that it
belongs. So the loop runs from the first step to the last, and where time runs backwards it is the
sequences that are turned around, before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

State = tuple[tf.Tensor, ...]


def scan(
    step: Callable[[State, State], State],
    state: State,
    sequences: Sequence[tf.Tensor],
    *,
    reverse: bool = False,
) -> tf.Tensor:
    """Return the first part of the state after each step, [B, T, n].

    Args:
        step: from the state before a step, and the sequences' values at it, to the state after.
        state: what to begin with, tensors [B, n].
        sequences: tensors [B, T, m], T known.
        reverse: begin with the last step.

    Example:
        >>> from tfvae.families.scan import scan
        >>> ones = tf.ones([1, 4, 1])
        >>> scan(lambda state, now: (state[0] + now[0],), (tf.zeros([1, 1]),), [ones])[0, :, 0]
        <tf.Tensor: ... numpy=array([1., 2., 3., 4.], dtype=float32)>
    """
    length = int(sequences[0].shape[1])
    order = -1 if reverse else 1
    # Read from arrays of steps: the gradient of a slice would be as large as the whole.
    arrays = [
        tf.TensorArray(each.dtype, length, element_shape=each.shape[:1] + each.shape[2:]).unstack(
            tf.transpose(each, [1, 0, 2])[::order]
        )
        for each in sequences
    ]
    shapes = [each.shape for each in state]

    def body(
        index: tf.Tensor, state: State, written: tf.TensorArray
    ) -> tuple[tf.Tensor, State, tf.TensorArray]:
        new = step(state, tuple(array.read(index) for array in arrays))
        new = tuple(tf.ensure_shape(each, shape) for each, shape in zip(new, shapes, strict=True))
        return index + 1, new, written.write(index, new[0])

    _, _, written = tf.while_loop(
        lambda index, *_: index < length,
        body,
        (tf.constant(0), state, tf.TensorArray(state[0].dtype, length, element_shape=shapes[0])),
        maximum_iterations=length,
    )
    return tf.ensure_shape(
        tf.transpose(written.stack()[::order], [1, 0, 2]), [shapes[0][0], length, shapes[0][1]]
    )
