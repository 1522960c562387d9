"""A function of time steps, one after the other: as a loop, or unrolled for exports."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

State = tuple[tf.Tensor, ...]

_UNROLLED = contextvars.ContextVar("unrolled", default=False)


@contextlib.contextmanager
def unrolled() -> Iterator[None]:
    """Have what is traced within a block hold no loops, which not every ONNX runtime compiles."""
    token = _UNROLLED.set(True)
    try:
        yield
    finally:
        _UNROLLED.reset(token)


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
    if _UNROLLED.get():
        columns = [tf.unstack(each, axis=1) for each in sequences]
        times = list(zip(*columns, strict=True))
        seen = []
        for now in reversed(times) if reverse else times:
            state = step(state, now)
            seen.append(state[0])
        return tf.stack(seen[::-1] if reverse else seen, axis=1)
    # Read from arrays of steps: the gradient of a slice would be as large as the whole.
    arrays = [
        tf.TensorArray(each.dtype, length, element_shape=each.shape[:1] + each.shape[2:]).unstack(
            tf.transpose(each, [1, 0, 2])
        )
        for each in sequences
    ]
    shapes = [each.shape for each in state]

    def body(
        index: tf.Tensor, state: State, written: tf.TensorArray
    ) -> tuple[tf.Tensor, State, tf.TensorArray]:
        time = length - 1 - index if reverse else index
        new = step(state, tuple(array.read(time) for array in arrays))
        new = tuple(tf.ensure_shape(each, shape) for each, shape in zip(new, shapes, strict=True))
        return index + 1, new, written.write(time, new[0])

    _, _, written = tf.while_loop(
        lambda index, *_: index < length,
        body,
        (tf.constant(0), state, tf.TensorArray(state[0].dtype, length, element_shape=shapes[0])),
        maximum_iterations=length,
    )
    return tf.ensure_shape(
        tf.transpose(written.stack(), [1, 0, 2]), [shapes[0][0], length, shapes[0][1]]
    )
