"""What metrics are given, checked before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def features(argument: str, given: Any, least: int = 1) -> Array:
    """Return features as float64 [N, d].

    Raises:
        ValueError: unless they are finite numbers of at least `least` examples.
    """
    array = np.asarray(given)
    if array.ndim != 2 or array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(
            f"Expected `{argument}` to be features [N, d], a row for each example. Received: "
            f"{argument} of shape {array.shape} and dtype {array.dtype}. Flatten the values of "
            "each example, or compute features of them."
        )
    if len(array) < least:
        raise ValueError(
            f"Expected `{argument}` to hold at least {least} examples. Received: {len(array)}."
        )
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"Expected `{argument}` to be finite. Received: NaN or infinity among its features."
        )
    return array


def two_sets(
    x: Any, y: Any, least: int = 2, names: tuple[str, str] = ("x", "y")
) -> tuple[Array, Array]:
    """Return the features of two sets, float64 [N, d] and [M, d].

    Raises:
        ValueError: as :func:`features`, and for sets of different features.
    """
    first, second = (features(name, each, least) for name, each in zip(names, (x, y), strict=True))
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"Expected `{names[0]}` and `{names[1]}` to have the same features. Received: "
            f"{first.shape[1]} and {second.shape[1]} of them."
        )
    return first, second


def squared_distances(x: Array, y: Array) -> Array:
    """Return ‖x_i - y_j‖², [N, M], of float64 rows."""
    # Around one centre, since what all rows have in common is lost to rounding.
    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    products = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2 * (x @ y.T)
    distances: Array = np.maximum(products, 0)
    return distances
