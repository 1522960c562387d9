"""What metrics are given, checked: codes, and factors with few values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_LEAST = 2


class FactorsError(ValueError):
    """Factors that are not there, or such that no score can be made of them."""


def checked(codes: Any, factors: Any, *, least: int = _LEAST) -> tuple[Floats, Integers]:
    """Return codes [N, D], and factors [N, K] whose values are numbered 0, 1, ....

    Args:
        codes: numbers [N, D]; [N] is one dimension.
        factors: whole numbers [N, K], or names; [N] is one factor.
        least: how many examples there must be.

    Raises:
        ValueError: for codes that are not finite, and factors of another length.
        FactorsError: for factors that are continuous, or that have one value; for fewer examples
            than `least`.
    """
    found, values = checked_codes(codes), numbered(factors)
    check_lengths(found, values, least)
    return found, values


def check_lengths(codes: Array, factors: Array, least: int = _LEAST) -> None:
    """Refuse codes and factors of which there are not as many of one as of the other, or too few.

    Raises:
        ValueError: for other lengths.
        FactorsError: for fewer than `least`.
    """
    if len(codes) != len(factors):
        raise ValueError(
            f"Expected a row of `factors` for each row of `codes`. Received: {len(factors)} for "
            f"{len(codes)}."
        )
    if len(codes) < least:
        raise FactorsError(
            f"Expected at least {least} examples. Received: {len(codes)}. Scores of few examples "
            "say little: take some thousands."
        )


def checked_codes(codes: Any) -> Floats:
    """Return codes [N, D].

    Raises:
        ValueError: unless they are finite numbers.
    """
    found = np.asarray(codes)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or found.dtype.kind not in "biuf" or not found.size:
        raise ValueError(
            f"Expected `codes` to be numbers [N, D], a row for each example. Received: "
            f"{found.dtype} of shape {found.shape}. Flatten them: codes.reshape(len(codes), -1)."
        )
    found = found.astype(np.float64)
    bad = ~np.isfinite(found).all(axis=1)
    if bad.any():
        raise ValueError(
            f"Expected finite `codes`. Received: NaN or infinity in {bad.sum()} of {len(found)} "
            f"rows, the first in row {int(bad.argmax())}."
        )
    return found


def numbered(factors: Any, names: Sequence[str] = ()) -> Integers:
    """Return factors [N, K] with the values of each numbered 0, 1, ... in their order.

    Raises:
        FactorsError: for a factor that is continuous, or that has one value.
    """
    found = as_columns(factors)
    columns = []
    for k, column in enumerate(found.T):
        name = f"factor {names[k] if names else k}"
        if column.dtype.kind == "f" and not np.array_equal(column, np.floor(column)):
            wrong = column[column != np.floor(column)][0]
            raise FactorsError(
                f"Expected whole numbers, the values of a discrete factor. Received: {wrong:g} in "
                f"{name}. Divide it into bins: tfvae.disentanglement.binned(factors, bins=20)."
            )
        values, places = np.unique(column, return_inverse=True)
        if len(values) < 2:
            raise FactorsError(
                f"Expected factors that vary. Received: {name}, which is {values[0]} in all "
                f"{len(column)} examples. Leave it out."
            )
        if 2 * len(values) > len(column) and len(values) > 2:
            raise FactorsError(
                f"Expected several examples of each value of a factor. Received: {name} with "
                f"{len(values)} values in {len(column)} examples. Take more examples, or divide "
                "it into bins: tfvae.disentanglement.binned(factors, bins=20)."
            )
        columns.append(places.astype(np.int64))
    return np.stack(columns, axis=1)


def as_columns(factors: Any) -> Array:
    """Return factors [N, K], as they are."""
    found = np.asarray(factors)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or found.dtype.kind not in "biufUS" or not found.size:
        raise FactorsError(
            "Expected `factors` to be whole numbers [N, K], a column for each factor. Received: "
            f"{found.dtype} of shape {found.shape}."
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise FactorsError("Expected `factors` that are known. Received: NaN or infinity.")
    return found


def several(factors: Integers, metric: str) -> None:
    """Refuse one factor where factors are told apart."""
    if factors.shape[1] < 2:
        raise FactorsError(
            f"Expected at least two factors, which {metric} tells apart. Received: one. Of one "
            "factor there are mig, sap and explicitness."
        )


def binned(factors: Any, bins: int = 20) -> Integers:
    """Divide continuous factors into bins with as many examples each, as far as ties let them.

    Args:
        factors: numbers [N, K], or [N].
        bins: how many.

    Returns:
        Numbers of bins, of the shape of `factors`.

    Raises:
        ValueError: for fewer than two bins, or factors that are no finite numbers.

    Example:
        >>> tfvae.disentanglement.binned([0.1, 2.5, 0.3, 7.0], bins=2)
        array([0, 1, 0, 1])
    """
    found = np.asarray(factors)
    if type(bins) is not int or bins < 2:
        raise ValueError(f"Expected `bins` to be a whole number from 2 on. Received: bins={bins}.")
    if found.dtype.kind not in "biuf" or found.ndim not in (1, 2) or not np.isfinite(found).all():
        raise ValueError(
            f"Expected `factors` to be finite numbers [N, K]. Received: {found.dtype} of shape "
            f"{found.shape}."
        )
    edges = np.quantile(found, np.arange(1, bins) / bins, axis=0)
    columns = zip(found.reshape(len(found), -1).T, edges.reshape(bins - 1, -1).T, strict=True)
    places = [np.searchsorted(edge, column, side="right") for column, edge in columns]
    return np.stack(places, axis=1).reshape(found.shape).astype(np.int64)
