"""Mutual information between codes and factors, both of few values, in nats."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfvae.disentanglement.checking import Floats, Integers, checked_codes

BINS = 20


def discretised(codes: Any, bins: int = BINS) -> Integers:
    """Divide each dimension of codes into bins of one width, from its least to its greatest value.

    Locatello et al. (2019) do so with 20 bins; scores change with their number.

    Args:
        codes: [N, D].
        bins: how many.

    Returns:
        Numbers of bins [N, D]; a constant dimension is all in one.

    Example:
        >>> tfvae.disentanglement.discretised([[0.0], [0.4], [0.6], [1.0]], bins=2).T
        array([[0, 0, 1, 1]])
    """
    if type(bins) is not int or bins < 2:
        raise ValueError(f"Expected `bins` to be a whole number from 2 on. Received: bins={bins}.")
    found = checked_codes(codes)
    low, high = found.min(axis=0), found.max(axis=0)
    # Differences of numbers near the ends of float64 have no float64; halves have.
    width = high / 2 - low / 2
    width[width == 0] = 1.0
    share = (found / 2 - low / 2) / width
    places: Integers = np.minimum((share * bins).astype(np.int64), bins - 1)
    return places


def mutual_information(codes: Any, factors: Any) -> Floats:
    r"""Return the mutual information of each dimension of codes with each factor.

    .. math:: I(c; v) = \sum_{c, v} \hat p(c, v) \log \frac{\hat p(c, v)}{\hat p(c)\,\hat p(v)}

    Shares of the examples stand for probabilities, so that independent variables of a and b values
    have about :math:`(a - 1)(b - 1) / 2N` nats, and not 0.

    Args:
        codes: whole numbers [N, D], as :func:`discretised` makes them.
        factors: whole numbers [N, K].

    Returns:
        Nats [D, K], not negative.

    Example:
        >>> codes = [[0, 0], [0, 1], [1, 0], [1, 1]]
        >>> tfvae.disentanglement.mutual_information(codes, [0, 0, 1, 1]).round(3).T
        array([[0.693, 0.   ]])
    """
    first, second = _values(codes), _values(factors)
    if len(first) != len(second):
        raise ValueError(
            f"Expected a row of `factors` for each row of `codes`. Received: {len(second)} for "
            f"{len(first)}."
        )
    found = np.empty((first.shape[1], second.shape[1]))
    for d, code in enumerate(first.T):
        for k, factor in enumerate(second.T):
            counts = np.bincount(code * (factor.max() + 1) + factor)
            joint = _entropy(counts)
            found[d, k] = _entropy(np.bincount(code)) + _entropy(np.bincount(factor)) - joint
    return np.maximum(found, 0.0)


def entropy(factors: Any) -> Floats:
    """Return the entropy of the values of each factor [N, K], in nats [K].

    Example:
        >>> tfvae.disentanglement.entropy([0, 1, 2, 3]).round(4)
        array([1.3863])
    """
    return np.array([_entropy(np.bincount(column)) for column in _values(factors).T])


def _values(given: Any) -> Integers:
    found = np.asarray(given)
    found = found[:, None] if found.ndim == 1 else found
    return np.stack([np.unique(column, return_inverse=True)[1] for column in found.T], axis=1)


def _entropy(counts: Integers) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
