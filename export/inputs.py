"""What an endpoint is given, as its runtime takes it, or what is wrong with it in our own words."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import did_you_mean
from .manifest import EndpointRecord, Tensor

Arrays = dict[str, npt.NDArray[Any]]


def checked(
    record: EndpointRecord, inputs: Mapping[str, npt.ArrayLike], classes: Sequence[str] = ()
) -> Arrays:
    """Return an endpoint's inputs as contiguous arrays of its shapes and dtypes.

    Integers and floats are widened and narrowed within their kind; a float never becomes an
    integer. An input with a default may be left out.

    Args:
        record: the endpoint.
        inputs: arrays, or what NumPy makes arrays of, by name.
        classes: names that may stand for their indices in ``condition``.

    Raises:
        TypeError: if `inputs` is no dictionary.
        ValueError: for missing or unknown inputs, a wrong shape or dtype, values that are not
            finite, out of bounds or between steps, an unknown class, or an empty batch.

    Example:
        >>> z = Tensor("z", (None, 2), "float32")
        >>> record = EndpointRecord("decode", "", (z,), (), (), "")
        >>> checked(record, {"z": [[1, 2]]})["z"].dtype
        dtype('float32')
        >>> checked(record, {"z": [1, 2]})
        Traceback (most recent call last):
            ...
        ValueError: Expected `z` of shape [B, 2]. Received: shape [2]. Add a batch dimension.
    """
    if not isinstance(inputs, Mapping):
        raise TypeError(
            "Expected `inputs` to be a dictionary of arrays by name. "
            f"Received: {type(inputs).__name__}."
        )
    needed = {spec.name for spec in record.inputs if spec.default is None}
    known = [spec.name for spec in record.inputs]
    if not needed <= set(inputs) <= set(known):
        asked = "condition" in needed - set(inputs)
        fix = " Pass `condition` too (--condition), one for all or for each row." if asked else ""
        raise ValueError(
            f"Expected the inputs {', '.join(known)} for {record.name!r}. "
            f"Received: {', '.join(inputs) or 'none'}.{fix}"
        )
    arrays = {
        spec.name: _array(spec, _numbered(spec.name, inputs[spec.name], classes))
        for spec in record.inputs
        if spec.name in inputs
    }
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"Expected inputs with one batch size. Received: batch sizes {sizes}.")
    for spec in record.inputs:
        if spec.name not in arrays:
            row = [size for size in spec.shape if size is not None]
            arrays[spec.name] = np.full([*set(sizes.values()), *row], spec.default, spec.dtype)
    return arrays


def _numbered(name: str, value: npt.ArrayLike, classes: Sequence[str]) -> npt.NDArray[Any]:
    """Make an array, of class names their indices."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"Expected `{name}` to be an array. Received: rows of several lengths."
        ) from error
    if name != "condition" or not classes or array.dtype.kind != "U":
        return array
    index = {each: number for number, each in enumerate(classes)}
    unknown = sorted(set(array.ravel().tolist()) - index.keys())
    if unknown:
        raise ValueError(
            f"Expected `condition` to be among the classes {', '.join(classes)}, or their "
            f"indices. Received: {unknown[0]!r}.{did_you_mean(unknown[0], classes)}"
        )
    return np.array([index[each] for each in array.ravel().tolist()], np.int64).reshape(array.shape)


def _array(spec: Tensor, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shape = ", ".join("B" if size is None else str(size) for size in spec.shape)
    if array.ndim != len(spec.shape) or array.shape[1:] != spec.shape[1:]:
        raise ValueError(
            f"Expected `{spec.name}` of shape [{shape}]. Received: shape {list(array.shape)}."
            + (" Add a batch dimension." if array.shape == spec.shape[1:] else "")
        )
    if not len(array):
        raise ValueError(f"Expected `{spec.name}` with at least one row. Received: an empty batch.")
    _check_kind(spec, array.dtype)
    if array.dtype.kind in "iu" and np.issubdtype(spec.dtype, np.integer):
        limits = np.iinfo(spec.dtype)
        _check_bounds(spec, array, limits.min, limits.max)
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, spec.dtype)
    if not np.isfinite(cast).all():
        raise ValueError(
            f"Expected `{spec.name}` to be finite in {spec.dtype}. Received: NaN or infinity."
        )
    _check_bounds(spec, cast, *spec.bounds)
    _check_step(spec, cast)
    return cast


def _check_kind(spec: Tensor, given: np.dtype[Any]) -> None:
    wanted = np.dtype(spec.dtype).kind
    # Floats take integers; integers take integers, of any width that holds the values.
    if given.kind not in {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[wanted]:
        bytes_wanted = spec.dtype == "uint8" and given.kind == "f"
        raise ValueError(
            f"Expected `{spec.name}` of dtype {spec.dtype}. Received: dtype {given}."
            + (" Send bytes, 0 to 255: the export scales them itself." if bytes_wanted else "")
        )


def _check_bounds(
    spec: Tensor, array: npt.NDArray[Any], low: float | None, high: float | None
) -> None:
    least, greatest = array.min(), array.max()
    beyond = operator.le if spec.open else operator.lt
    if (low is not None and beyond(least, low)) or (high is not None and beyond(high, greatest)):
        ends = f"{'-inf' if low is None else low}, {'inf' if high is None else high}"
        raise ValueError(
            f"Expected `{spec.name}` in {f'({ends})' if spec.open else f'[{ends}]'}. "
            f"Received: values from {least} to {greatest}."
        )


def _check_step(spec: Tensor, array: npt.NDArray[Any]) -> None:
    if spec.step is None:
        return
    low, high = spec.bounds
    start = next((end for end in (low, high) if end is not None), 0.0)
    steps = (array.astype(np.float64) - start) / spec.step
    # Of a step, and what rounding to float32 can move a value by.
    between = np.abs(steps - np.rint(steps)) > 1e-4 + 1e-7 * np.abs(steps)
    if between.any():
        raise ValueError(
            f"Expected `{spec.name}` in steps of {spec.step:g} from {start:g}, for there are "
            f"no values between them. Received: {np.count_nonzero(between)} of {array.size} "
            f"values between, such as {array[between][0]:g}. Round or binarise them."
        )
