"""The kernel distance between two sets of examples: an unbiased maximum mean discrepancy."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tfvae.metrics.arrays import Array, two_sets


class KernelDistance(NamedTuple):
    """A squared maximum mean discrepancy, and its standard error.

    Attributes:
        distance: the mean over blocks; around 0, and so at times below it, for equal
            distributions.
        error: its standard error, from the spread over blocks.
    """

    distance: float
    error: float


def kernel_distance(
    x: Any, y: Any, *, degree: int = 3, blocks: int = 10, seed: int = 0
) -> KernelDistance:
    r"""Return the squared maximum mean discrepancy between two sets, without bias.

    .. math:: \mathrm E\, k(x, x') + \mathrm E\, k(y, y') - 2\, \mathrm E\, k(x, y), \qquad
        k(a, b) = \Bigl(\frac{a^\top b}{d} + 1\Bigr)^{p}

    Unlike the Fréchet distance it has the same mean whatever the number of examples, and of p = 3
    it sees the first three moments. It is the mean over blocks of examples that share none, so
    that its standard error holds even where both distributions are the same.

    Args:
        x: features [N, d].
        y: features [M, d].
        degree: p.
        blocks: how many; fewer where there are not two examples of each set for each.
        seed: of which examples make up a block.

    Returns:
        The distance and its standard error, NaN of one block.

    Raises:
        ValueError: unless both are finite features of the same length, of two examples or more,
            and `degree` and `blocks` are at least 1.

    Example:
        >>> x, y, z = np.random.default_rng(0).normal(size=(3, 500, 4))
        >>> same, other = (tfvae.metrics.kernel_distance(x, each) for each in (y, z + 1.0))
        >>> abs(same.distance) < 4 * same.error, other.distance > 4 * other.error
        (True, True)

    References:
        Gretton et al. (2012), A kernel two-sample test. Bińkowski, Sutherland, Arbel and Gretton
        (2018), Demystifying MMD GANs, arXiv:1801.01401 (the kernel).
    """
    x, y = two_sets(x, y)
    for name, value in (("degree", degree), ("blocks", blocks)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(
                f"Expected `{name}` to be a whole number of at least 1. Received: {name}={value!r}."
            )
    blocks = min(blocks, len(x) // 2, len(y) // 2)
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, 0], np.uint64)))
    parts = [np.array_split(each[rng.permutation(len(each))], blocks) for each in (x, y)]
    found = [_discrepancy(a, b, degree) for a, b in zip(*parts, strict=True)]
    error = float(np.std(found, ddof=1) / math.sqrt(blocks)) if blocks > 1 else math.nan
    return KernelDistance(float(np.mean(found)), error)


def _discrepancy(x: Array, y: Array, degree: int) -> float:
    within = sum(_others(each @ each.T / x.shape[1], degree) for each in (x, y))
    between = float(np.mean((x @ y.T / x.shape[1] + 1) ** degree))
    return within - 2 * between


def _others(products: Array, degree: int) -> float:
    """Return the mean kernel of pairs of different examples."""
    kernel = (products + 1) ** degree
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
