"""The Fréchet distance between two sets of examples, each taken for a Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfvae.metrics.arrays import Array, two_sets


def frechet_distance(x: Any, y: Any) -> float:
    r"""Return the squared Fréchet distance between the Gaussians of the moments of two sets.

    .. math:: \|\mu_x - \mu_y\|^2 + \operatorname{tr}\bigl(\Sigma_x + \Sigma_y
        - 2 (\Sigma_x \Sigma_y)^{1/2}\bigr)

    It is 0 where means and covariances agree, whatever else does not. The estimate is too large,
    the more so the fewer examples there are to a feature: compare values of sets of one size.
    Known as the Fréchet inception distance only where the features are those of one certain
    network.

    Args:
        x: features [N, d] of at least two examples.
        y: features [M, d] of at least two examples.

    Returns:
        In squared units of the features.

    Raises:
        ValueError: unless both are finite features of the same length.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(1000, 3))
        >>> round(tfvae.metrics.frechet_distance(x, x + 2.0), 6)  # three features, each 2 apart
        12.0

    References:
        Dowson and Landau (1982), The Fréchet distance between multivariate normal distributions.
        Heusel et al. (2017), arXiv:1706.08500.
    """
    x, y = two_sets(x, y)
    moments = [(each.mean(axis=0), np.atleast_2d(np.cov(each, rowvar=False))) for each in (x, y)]
    return frechet_of_moments(*moments[0], *moments[1])


def frechet_of_moments(mean_x: Any, cov_x: Any, mean_y: Any, cov_y: Any) -> float:
    """Return the squared Fréchet distance of two Gaussians, from means [d] and covariances [d, d].

    Raises:
        ValueError: for shapes that do not fit, and matrices that are not symmetric.
    """
    means = [np.asarray(each, np.float64) for each in (mean_x, mean_y)]
    matrices = [np.asarray(each, np.float64) for each in (cov_x, cov_y)]
    size = means[0].size
    for mean, matrix in zip(means, matrices, strict=True):
        if mean.shape != (size,) or matrix.shape != (size, size):
            raise ValueError(
                f"Expected means [d] and covariances [d, d] of one d. Received: {mean.shape} and "
                f"{matrix.shape}."
            )
        if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-9 * np.abs(matrix).max()):
            raise ValueError("Expected covariances that are symmetric. Received: one that is not.")
    # tr (AB)^½ is the sum of the roots of the eigenvalues of A^½ B A^½, which is symmetric.
    root = _root(matrices[0])
    values = np.linalg.eigvalsh(root @ matrices[1] @ root)
    cross = np.sum(np.sqrt(np.maximum(values, 0)))
    apart = np.sum((means[0] - means[1]) ** 2)
    spread = np.trace(matrices[0]) + np.trace(matrices[1]) - 2 * cross
    return float(max(apart + spread, 0.0))


def _root(matrix: Array) -> Array:
    """Return the root of a symmetric matrix whose eigenvalues are not negative."""
    values, vectors = np.linalg.eigh(matrix)
    root: Array = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root
