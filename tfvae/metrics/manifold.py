"""Whether samples lie where data do, and whether they lie wherever data do."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfvae.metrics.arrays import Array, squared_distances, two_sets

_VALUES = 1 << 23
"""Distances in memory at a time."""


class Manifolds(NamedTuple):
    """What :func:`precision_recall` says: shares, all 1 at best but the density, which may exceed.

    Attributes:
        precision: of the samples, those within a ball around some real example.
        recall: of the real examples, those within a ball around some sample.
        density: in how many of the real examples' balls a sample lies, over k; 1 in expectation
            where both distributions are the same.
        coverage: of the real examples, those whose ball holds a sample.
        neighbours: k.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    neighbours: int


def precision_recall(real: Any, samples: Any, neighbours: int = 5) -> Manifolds:
    r"""Compare where samples lie with where data lie, by balls around both.

    The ball around an example reaches to its k-th nearest neighbour of its own set. Precision and
    recall are misled by single examples far from all others, whose balls are large; density and
    coverage, which count balls around real examples only, are not.

    Args:
        real: features [N, d], N > k.
        samples: features [M, d], M > k.
        neighbours: k.

    Raises:
        ValueError: unless both are finite features of the same length, of more than k examples.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(2, 400, 2))
        >>> found = tfvae.metrics.precision_recall(x, 0.2 * y)  # well within, and no more
        >>> found.precision > 0.95, found.recall < 0.5
        (True, True)

    References:
        Kynkäänniemi, Karras, Laine, Lehtinen and Aila (2019), Improved precision and recall
        metric for assessing generative models, arXiv:1904.06991. Naeem, Oh, Uh, Choi and Yoo
        (2020), Reliable fidelity and diversity metrics for generative models, arXiv:2002.09797.
    """
    if isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 1:
        raise ValueError(
            "Expected `neighbours` to be a whole number of at least 1. "
            f"Received: neighbours={neighbours!r}."
        )
    real, samples = two_sets(real, samples, neighbours + 1, ("real", "samples"))
    real_radii, sample_radii = (_radii(each, neighbours) for each in (real, samples))
    recalled = np.empty(len(real), bool)
    covered = np.empty(len(real), bool)
    balls = np.zeros(len(samples), np.int64)
    for rows in _parts(len(real), len(samples)):
        distances = squared_distances(real[rows], samples)
        held = distances <= real_radii[rows, None]
        balls += held.sum(axis=0)
        covered[rows] = held.any(axis=1)
        recalled[rows] = (distances <= sample_radii).any(axis=1)
    return Manifolds(
        precision=float(np.mean(balls > 0)),
        recall=float(np.mean(recalled)),
        density=float(np.mean(balls) / neighbours),
        coverage=float(np.mean(covered)),
        neighbours=neighbours,
    )


def _radii(x: Array, neighbours: int) -> Array:
    """Return the squared distance of each row to its k-th nearest other, [N]."""
    radii = np.empty(len(x))
    for rows in _parts(len(x), len(x)):
        distances = squared_distances(x[rows], x)
        # Not by distance 0, which twins have too, but by place.
        distances[np.arange(len(distances)), np.arange(len(x))[rows]] = np.inf
        radii[rows] = np.partition(distances, neighbours - 1, axis=1)[:, neighbours - 1]
    return radii


def _parts(rows: int, columns: int) -> list[slice]:
    size = max(1, _VALUES // columns)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
