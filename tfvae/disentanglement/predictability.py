"""SAP: how well a single latent predicts a factor."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfvae.disentanglement.checking import (
    Floats,
    Integers,
    as_columns,
    check_lengths,
    checked_codes,
)
from tfvae.disentanglement.fits import Report, Split, quiet, reported, split
from tfvae.disentanglement.mutual import Gap

_STRENGTH = 0.01
"""C of the support vector machine, as in disentanglement_lib."""


def sap(
    codes: Any,
    factors: Any,
    test: tuple[Any, Any] | None = None,
    *,
    continuous: bool = False,
    seed: int = 0,
    progress: Report | None = None,
) -> Gap:
    r"""Return the separated attribute predictability: the gap between the two best latents.

    .. math:: \frac 1 K \sum_k \bigl(S_{(1) k} - S_{(2) k}\bigr)

    S is how well a latent alone predicts a factor on the test set: the accuracy of a linear
    support vector machine (C = 0.01, classes weighed so that each counts the same), as in
    disentanglement_lib; or, of continuous factors, the squared correlation, which is R^2 of the
    linear regression, on all examples. A line cannot tell all of many values, so that even the
    ideal code scores well below 1 for them; compare scores of one data set only. Of a single
    latent, the gap is to one that tells nothing: the share of the test set's most frequent value
    among the predictions, or 0.

    Args:
        codes: [N, D].
        factors: whole numbers [N, K], or [N]; any numbers if they are continuous.
        test: other codes and factors, to be predicted; without it a third of the examples.
        continuous: whether factors are continuous.
        seed: of the split.
        progress: called with the number of fits that are done and that of all.

    Returns:
        The score, and what it is made of.

    Raises:
        ValueError: for codes that are not finite, or factors that are constant.

    References:
        Kumar, Sattigeri and Balakrishnan (2018), Variational inference of disentangled latent
        concepts from unlabeled observations, arXiv:1711.00848, section 3.
    """
    if continuous:
        return _of_correlations(codes, factors, test)
    both = split(codes, factors, test, seed)
    matrix = np.empty((both.codes.shape[1], both.factors.shape[1]))
    report = reported(progress, matrix.size)
    for d in range(matrix.shape[0]):
        for k in range(matrix.shape[1]):
            matrix[d, k] = _accuracy(both, d, k)
            report()
    return Gap.of(matrix, _commonest(both.test_factors))


def _commonest(factors: Integers) -> Floats:
    """Return the share of each factor's most frequent value, [K]."""
    return np.array([np.bincount(column).max() / len(column) for column in factors.T])


def _accuracy(both: Split, latent: int, factor: int) -> float:
    """Return the share of the test set that a machine predicts of one latent."""
    from sklearn.svm import LinearSVC

    seen, tests = both.codes[:, [latent]], both.test_codes[:, [latent]]
    machine = LinearSVC(C=_STRENGTH, class_weight="balanced", dual=False)
    with quiet():
        machine.fit(seen, both.factors[:, factor])
    return float(np.mean(machine.predict(tests) == both.test_factors[:, factor]))


def _of_correlations(codes: Any, factors: Any, test: tuple[Any, Any] | None) -> Gap:
    if test is not None:
        raise ValueError(
            "Expected no `test` where factors are continuous: correlations need no other set. "
            "Received: one."
        )
    found, values = checked_codes(codes), as_columns(factors).astype(np.float64)
    check_lengths(found, values, 3)
    if (np.ptp(values, axis=0) == 0).any():
        raise ValueError("Expected factors that vary. Received: one that is constant.")
    found, values = found - found.mean(axis=0), values - values.mean(axis=0)
    variance = (found**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = (found.T @ values) ** 2 / np.outer(variance, (values**2).sum(axis=0))
    # As in disentanglement_lib, what hardly varies predicts nothing.
    dead = variance / (len(found) - 1) <= 1e-12
    return Gap.of(np.where(dead[:, None], 0.0, matrix))
