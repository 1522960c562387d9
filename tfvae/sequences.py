"""Sequences of several lengths, and with values that are missing, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def pad(
    sequences: Sequence[npt.ArrayLike], steps: int | None = None, *, value: float = 0.0
) -> tuple[Array, npt.NDArray[np.int64]]:
    r"""Put sequences of several lengths side by side.

    Args:
        sequences: arrays [t, \*step], t from 1 on, their other axes the same.
        steps: the length to pad to, T; that of the longest by default.
        value: what to pad with: any that the likelihood takes. It is never looked at.

    Returns:
        The array [N, T, \*step], floats, and the lengths [N]: what ``fit(x, lengths)`` takes.

    Raises:
        ValueError: if there are none, one is empty or longer than `steps`, or values of steps
            differ in shape.

    Example:
        >>> x, lengths = tfvae.sequences.pad([[[1.0], [2.0], [3.0]], [[4.0]]])
        >>> x.shape, lengths.tolist()
        ((2, 3, 1), [3, 1])
    """
    arrays = [np.asarray(each) for each in sequences]
    if not arrays:
        raise ValueError("Expected `sequences` to hold at least one. Received: none.")
    for index, array in enumerate(arrays):
        if array.ndim < 2 or not array.size:
            raise ValueError(
                "Expected `sequences` to be arrays [steps, values] with at least one step. "
                f"Received: shape {array.shape} at {index}. Drop what is empty; give one value a "
                "step an axis of its own: x[:, None]."
            )
        if array.dtype.kind not in "biuf" or array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"Expected `sequences` of numbers, each step of shape {arrays[0].shape[1:]} as in "
                f"the first. Received: shape {array.shape} and dtype {array.dtype} at {index}."
            )
    lengths = np.array([len(each) for each in arrays], np.int64)
    steps = int(lengths.max()) if steps is None else steps
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < lengths.max():
        raise ValueError(
            f"Expected `steps` to be at least {lengths.max()}, the longest sequence. "
            f"Received: steps={steps!r}. Cut sequences, or give more."
        )
    dtype = np.result_type(np.float32, *arrays)
    x = np.full((len(arrays), steps, *arrays[0].shape[1:]), value, dtype)
    for row, array in zip(x, arrays, strict=True):
        row[: len(array)] = array
    return x, lengths


def split_missing(x: npt.ArrayLike, *, value: float = 0.0) -> tuple[Array, npt.NDArray[np.bool_]]:
    r"""Split data with NaN for what is missing into values and a mask.

    Args:
        x: [N, T, \*step].
        value: what to put in place of NaN: any that the likelihood takes. It is never looked at.

    Returns:
        x with the value in place of NaN, and the mask of what was observed, both [N, T, \*step]:
        what ``fit(x, mask)`` takes.

    Example:
        >>> x, mask = tfvae.sequences.split_missing([[[1.0], [np.nan], [3.0]]])
        >>> x[0, :, 0].tolist(), mask[0, :, 0].tolist()
        ([1.0, 0.0, 3.0], [True, False, True])
    """
    array = np.asarray(x, np.result_type(np.float32, np.asarray(x)))
    mask = ~np.isnan(array)
    return np.where(mask, array, np.asarray(value, array.dtype)), mask


def check(x: Any, argument: str = "x") -> None:
    """Refuse a ragged list, and NaN in place of what is missing: say what takes them.

    Raises:
        ValueError: for either.
    """
    if isinstance(x, list | tuple) and len({np.shape(each)[:1] for each in x if _sized(each)}) > 1:
        raise ValueError(
            f"Expected `{argument}` to be an array, all sequences padded to one length. Received: "
            "a list of several lengths. Pad it, and pass the lengths: "
            "x, lengths = tfvae.sequences.pad(x); vae.fit(x, lengths)."
        )
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and np.isnan(x).any():
        raise ValueError(
            f"Expected `{argument}` without NaN, and beside it what was observed. Received: "
            f"{np.count_nonzero(np.isnan(x))} NaN. Split them off: "
            "x, mask = tfvae.sequences.split_missing(x); vae.fit(x, mask)."
        )


def _sized(value: Any) -> bool:
    return hasattr(value, "__len__")


def check_observed(
    x: Array, observed: Any, data_shape: tuple[int, ...], argument: str = "observed"
) -> Array:
    r"""Return what was observed of x as an array, checked.

    Args:
        x: [N, T, \*step].
        observed: lengths [N], steps [N, T] or values [N, T, \*step].
        data_shape: (T, \*step).
        argument: what the caller calls it. What is called y may be labels by mistake, and is
            looked at with more suspicion.

    Raises:
        ValueError: for another shape, lengths that are not 1 to T, padding that is not one value,
            masks of values other than 0 and 1, or a sequence of which nothing was observed.
    """
    array = np.asarray(observed)
    steps = data_shape[0]
    shapes = [(), (steps,), data_shape]
    if array.shape[:1] != x.shape[:1] or array.shape[1:] not in shapes:
        listed = " or ".join(str(["N", *shape]) for shape in shapes)
        raise ValueError(
            f"Expected `{argument}` to say what was observed: lengths, or a mask, of shape "
            f"{listed}. Received: shape {list(array.shape)} for {len(x)} sequences. {_LABELS}"
        )
    if array.ndim == 1:
        _check_lengths(x, array, steps, argument)
        return array.astype(np.int32)
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"Expected `{argument}` to be a mask, 1 where a value was observed and 0 where not. "
            f"Received: dtype {array.dtype} with other values. {_LABELS}"
        )
    empty = np.flatnonzero(~array.reshape(len(array), -1).any(axis=1))
    if len(empty):
        raise ValueError(
            f"Expected `{argument}` to leave something of each sequence. Received: a mask of "
            f"nothing but 0 at {empty[0]}, and at {len(empty)} in all. Drop those."
        )
    return array.astype(np.float32)


def check_without_gaps(observed: Array, argument: str = "observed") -> None:
    r"""Refuse what was not observed before the last step that was.

    Args:
        observed: lengths [N], or a mask, of steps [N, T] or of values [N, T, \*step].
        argument: what the caller calls it.

    Raises:
        ValueError: for a gap, or a step of which some values are missing.
    """
    if observed.ndim == 1:
        return
    seen = observed.reshape(*observed.shape[:2], -1) != 0
    before = np.logical_or.accumulate(seen.any(axis=-1)[:, ::-1], axis=1)[:, ::-1]
    gaps = np.flatnonzero((before & ~seen.all(axis=-1)).any(axis=1))
    if gaps.size:
        raise ValueError(
            f"Expected `{argument}` without gaps, for a VRNN reads every step whole up to the last "
            f"that was observed. Received: gaps in {gaps.size} of {len(observed)} sequences, the "
            f"first of them at {gaps[0]}. Use a deep_markov_model, whose bound leaves out what is "
            "missing; or cut sequences at their gaps, or fill these in."
        )


_LABELS = "If y are labels, build the model with ragged=False (--no-ragged)."


def _check_lengths(x: Array, lengths: Array, steps: int, argument: str) -> None:
    whole = lengths.dtype.kind in "iu" or (
        lengths.dtype.kind == "f" and bool(np.all(lengths == np.floor(lengths)))
    )
    if not whole or lengths.min() < 1 or lengths.max() > steps:
        raise ValueError(
            f"Expected `{argument}` to be lengths, whole numbers from 1 to {steps}. Received: "
            f"values from {lengths.min()} to {lengths.max()} of dtype {lengths.dtype}. {_LABELS}"
        )
    # Of labels that pass for lengths the data would say so.
    flat = np.asarray(x).reshape(len(x), steps, -1)
    beyond = flat[np.arange(steps) >= lengths[:, None]]
    if argument == "y" and beyond.size and np.any(beyond != beyond.flat[0]):
        raise ValueError(
            f"Expected `x` to be padding, of one value, beyond the lengths in `{argument}`. "
            "Received: other values there. Pad with tfvae.sequences.pad; to leave out steps that "
            f"are there, pass a mask [N, {steps}]. {_LABELS}"
        )
