"""Rank histograms: whether draws and what they are to be draws of are of one distribution."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class RankHistogram(NamedTuple):
    """Ranks among L draws, counted, and held against the uniform distribution on 0, ..., L.

    Attributes:
        counts: of each quantity, how many ranks there are in each bin, [d, bins].
        expected: how many there would be, [bins].
        statistic: chi-square of each quantity, [d].
        p_value: the probability of a statistic as large under uniform ranks, [d].
        bias: how far the mean rank is from the middle, in standard errors, [d]. Above 0, draws
            lie too low.
        spread: how far the variance of the ranks is from that of uniform ones, in standard
            errors, [d]. Above 0 (a histogram like a cup), draws are too narrow.
        draws: L.
    """

    counts: npt.NDArray[np.int64]
    expected: npt.NDArray[np.float64]
    statistic: npt.NDArray[np.float64]
    p_value: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    draws: int


def rank_histogram(ranks: Any, draws: int, bins: int | None = None) -> RankHistogram:
    r"""Count ranks, and say how far they are from uniform.

    The rank of a value among L draws is the number of draws below it. Where the value and the
    draws are exchangeable, it is uniform on the integers from 0 to L.

    .. math:: \chi^2 = \sum_b \frac{(n_b - e_b)^2}{e_b}

    Args:
        ranks: whole numbers from 0 to L, [N] or [N, d] of several quantities.
        draws: L.
        bins: of the histogram; by default as many as leave some ten ranks in each, 20 at most.

    Raises:
        ValueError: for ranks that are not whole numbers from 0 to L, and bins that are not from 2
            to L + 1.

    Example:
        >>> ranks = np.random.default_rng(0).integers(0, 100, 1000)
        >>> found = tfvae.metrics.rank_histogram(ranks, draws=99)
        >>> found.counts.shape, bool(found.p_value[0] > 0.001)
        ((1, 20), True)

    References:
        Talts, Betancourt, Simpson, Vehtari and Gelman (2018), Validating Bayesian inference
        algorithms with simulation-based calibration, arXiv:1804.06788.
    """
    array = np.asarray(ranks)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size or np.any(array != np.floor(array)):
        raise ValueError(
            "Expected `ranks` to be whole numbers, [N] or [N, d], of at least one. "
            f"Received: shape {np.shape(ranks)} and dtype {array.dtype}."
        )
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(
            f"Expected `draws` to be a whole number of at least 1. Received: draws={draws!r}."
        )
    if array.min() < 0 or array.max() > draws:
        raise ValueError(
            f"Expected `ranks` from 0 to {draws}, the number of draws. Received: some from "
            f"{array.min():g} to {array.max():g}."
        )
    count = len(array)
    if bins is None:
        bins = max(2, min(20, count // 10, draws + 1))
    if isinstance(bins, bool) or not isinstance(bins, int) or not 2 <= bins <= draws + 1:
        raise ValueError(
            f"Expected `bins` to be a whole number from 2 to {draws + 1}, the number of ranks. "
            f"Received: bins={bins!r}."
        )
    # Where the ranks do not divide evenly, some bins are one rank wider than others.
    place = np.arange(draws + 1) * bins // (draws + 1)
    expected = count * np.bincount(place) / (draws + 1)
    filled = place[array.astype(np.int64)]
    counts = np.stack([np.bincount(column, minlength=bins) for column in filled.T])
    statistic = np.sum((counts - expected) ** 2 / expected, axis=1)

    from scipy.special import chdtrc  # comes with scikit-learn

    return RankHistogram(
        counts,
        expected,
        statistic,
        np.asarray(chdtrc(bins - 1, statistic)),
        *_trends(array.astype(np.float64), draws),
        draws,
    )


def _trends(
    ranks: npt.NDArray[np.float64], draws: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean and the variance of ranks [N, d], as scores under uniform ranks, [d]."""
    count = len(ranks)
    centred = ranks - draws / 2
    size = draws + 1
    variance = (size**2 - 1) / 12
    fourth = (size**2 - 1) * (3 * size**2 - 7) / 240
    # Of ranks that are spread wider than uniform ones the mean is less sure than of those.
    wide = np.maximum(centred.var(axis=0), variance)
    bias = centred.mean(axis=0) * np.sqrt(count / wide)
    # Of a coin (L = 1) squares are all alike: of its spread nothing can be said.
    deviation = math.sqrt(max(fourth - variance**2, 0))
    spread = (np.mean(centred**2, axis=0) - variance) * math.sqrt(count)
    return bias, spread / deviation if deviation else np.zeros_like(spread)
