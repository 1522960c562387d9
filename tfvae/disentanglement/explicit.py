"""Explicitness: how well a linear classifier on all latents tells each value of a factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfvae.disentanglement.checking import Floats, Integers
from tfvae.disentanglement.fits import Report, quiet, reported, split


@dataclass(frozen=True, eq=False)
class Explicitness:
    """Areas under the curves of one value of a factor against the others.

    Attributes:
        score: the mean over the factors, on the test set.
        train_score: on what was fitted to.
        per_factor: of each factor, on the test set [K].
    """

    score: float
    train_score: float
    per_factor: Floats


def explicitness(
    codes: Any,
    factors: Any,
    test: tuple[Any, Any] | None = None,
    *,
    seed: int = 0,
    progress: Report | None = None,
) -> Explicitness:
    r"""Return the explicitness: whether factors can be read off the code by a linear map.

    For each factor, a multinomial logistic regression (C = 1) on all latents, scaled to unit
    variance; of its probabilities, the area under the ROC curve of each value against the others;
    the mean over values, then over factors. Chance is 0.5, and 1 is perfect, as in
    disentanglement_lib. Values that the test set lacks are left out of its mean.

    Args:
        codes: [N, D].
        factors: whole numbers [N, K], or [N].
        test: other codes and factors, to be told; without it a third of the examples.
        seed: of the split.
        progress: called with the number of fits that are done and that of all.

    Returns:
        The scores.

    Raises:
        ValueError: for codes that are not finite, or factors that are continuous or constant.

    References:
        Ridgeway and Mozer (2018), Learning deep disentangled embeddings with the F-statistic loss,
        arXiv:1802.05312.
    """
    from sklearn.linear_model import LogisticRegression

    both = split(codes, factors, test, seed)
    seen, tests = both.scaled
    report = reported(progress, both.factors.shape[1])
    found = []
    for y, truth in zip(both.factors.T, both.test_factors.T, strict=True):
        with quiet():
            model = LogisticRegression(max_iter=200).fit(seen, y)
        found.append(
            [
                _area(model.predict_proba(x), model.classes_, v)
                for x, v in ((seen, y), (tests, truth))
            ]
        )
        report()
    train, tested = np.array(found).T
    return Explicitness(float(tested.mean()), float(train.mean()), tested)


def _area(scores: Floats, classes: Integers, truth: Integers) -> float:
    """Return the mean area under the ROC curves of the classes that are there."""
    from sklearn.metrics import roc_auc_score

    areas = [
        roc_auc_score(truth == label, column)
        for label, column in zip(classes, scores.T, strict=True)
        if 0 < np.count_nonzero(truth == label) < len(truth)
    ]
    return float(np.mean(areas)) if areas else 0.5
