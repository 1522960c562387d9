"""DCI: disentanglement, completeness and informativeness, of how much latents matter to models."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from tfvae.disentanglement.checking import Floats, several
from tfvae.disentanglement.fits import Report, Split, quiet, reported, split, state

Importance = Literal["boosted_trees", "random_forest", "lasso"]
IMPORTANCES: tuple[str, ...] = get_args(Importance)

_DEPTHS = (2, 4, 8, 12)
_HELD_OUT = 5


@dataclass(frozen=True, eq=False)
class DCI:
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: whether each latent matters to one factor alone, from 0 to 1.
        completeness: whether each factor needs one latent alone, from 0 to 1.
        informativeness: how well the factors are predicted on the test set: accuracy, or R^2 of
            the lasso.
        informativeness_train: the same, on what was fitted to.
        importance: how much each latent matters to each factor [D, K]: of trees, its share of
            what their splits gain, so that columns sum to 1; of the lasso, absolute weights.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    informativeness_train: float
    importance: Floats


def dci(
    codes: Any,
    factors: Any,
    test: tuple[Any, Any] | None = None,
    *,
    importance: Importance = "boosted_trees",
    seed: int = 0,
    progress: Report | None = None,
) -> DCI:
    r"""Return disentanglement, completeness and informativeness.

    A model predicts each factor from all latents; R says how much each latent matters to it. With
    :math:`p_{dk} = R_{dk} / \sum_k R_{dk}` and :math:`\tilde p_{dk} = R_{dk} / \sum_d R_{dk}`,

    .. math::
        D &= \sum_d \rho_d \Bigl(1 + \sum_k p_{dk} \log_K p_{dk}\Bigr), \qquad
            \rho_d = \frac{\sum_k R_{dk}}{\sum_{dk} R_{dk}} \\
        C &= \sum_k \tau_k \Bigl(1 + \sum_d \tilde p_{dk} \log_D \tilde p_{dk}\Bigr), \qquad
            \tau_k = \frac{\sum_d R_{dk}}{\sum_{dk} R_{dk}}

    Implementations differ in the model. ``"boosted_trees"`` is scikit-learn's
    GradientBoostingClassifier as it is, as in disentanglement_lib, whose published numbers these
    are; it fits 100 trees for each value of each factor, which takes minutes for 10,000 examples.
    ``"random_forest"`` and ``"lasso"`` are the paper's: a forest of 100 trees whose depth is chosen
    on a fifth that is held out; and a linear regression of the factor's number on standardised
    latents with an L1 penalty chosen by five-fold cross-validation, whose importance is the
    absolute weight. Completeness is weighed by importance as in disentanglement_lib; of a single
    latent it is 1. Scores of different models are not to be compared. All are to be read beside
    informativeness: of codes that tell nothing, the lasso keeps few weights, by chance, and few
    look disentangled.

    Args:
        codes: [N, D].
        factors: whole numbers [N, K], of at least two factors.
        test: other codes and factors, to be predicted; without it a third of the examples.
        importance: the model, one of `IMPORTANCES`.
        seed: of the split and of the trees.
        progress: called with the number of factors that are done and that of all.

    Returns:
        The scores, and what they are made of.

    Raises:
        ValueError: for codes that are not finite, factors that are continuous, constant or alone,
            or an unknown model.

    References:
        Eastwood and Williams (2018), A framework for the quantitative evaluation of disentangled
        representations, ICLR. Locatello et al. (2019), arXiv:1811.12359.
    """
    check_importance(importance)
    both = split(codes, factors, test, seed)
    several(both.factors, "dci")
    fit = {"boosted_trees": _boosted, "random_forest": _forest, "lasso": _lasso}[importance]
    count = both.factors.shape[1]
    report = reported(progress, count)
    found = []
    # Trees grow outside of Python's lock.
    pool = ThreadPoolExecutor(min(count, os.cpu_count() or 1))
    with quiet():
        try:
            for result in pool.map(lambda k: fit(both, k, state(seed)), range(count)):
                found.append(result)
                report()
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for those that grow, not for all
    columns, train, tested = zip(*found, strict=True)
    return of_importance(np.stack(columns, axis=1), float(np.mean(tested)), float(np.mean(train)))


def check_importance(importance: str) -> None:
    """Refuse an unknown model."""
    if importance not in IMPORTANCES:
        raise ValueError(
            f"Expected `importance` to be one of {', '.join(IMPORTANCES)}. Received: "
            f"{importance!r}."
        )


def of_importance(
    importance: Floats, informativeness: float = math.nan, train: float = math.nan
) -> DCI:
    """Return the scores of importances [D, K] that are known."""
    latents, factors = importance.shape
    by_latent = 1 - _entropy(importance, axis=1) / math.log(factors)
    by_factor = 1 - _entropy(importance, axis=0) / math.log(latents) if latents > 1 else 1.0
    total = importance.sum()
    # Where nothing matters to anything, nothing is disentangled.
    weights = importance / total if total > 0 else np.zeros_like(importance)
    return DCI(
        float((by_latent * weights.sum(axis=1)).sum()),
        float((by_factor * weights.sum(axis=0)).sum()),
        informativeness,
        train,
        importance,
    )


def _entropy(importance: Floats, axis: int) -> Floats:
    """Return the entropy of the shares along an axis, in nats."""
    total = importance.sum(axis=axis, keepdims=True)
    share = importance / np.where(total > 0, total, 1.0)
    found: Floats = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=axis)
    return found


_Fitted = tuple[Floats, float, float]
"""Importances [D], and how well the factor is predicted: of what was fitted to, and of tests."""


def _boosted(both: Split, factor: int, seed: int) -> _Fitted:
    from sklearn.ensemble import GradientBoostingClassifier

    return _of_trees(GradientBoostingClassifier(random_state=seed), both, factor)


def _forest(both: Split, factor: int, seed: int) -> _Fitted:
    from sklearn.ensemble import RandomForestClassifier

    x, y = both.codes, both.factors[:, factor]
    held_out = np.arange(len(x)) % _HELD_OUT == 0

    def forest(depth: int) -> Any:
        # Each split sees all latents, or those that tell nothing would matter.
        return RandomForestClassifier(100, max_depth=depth, max_features=None, random_state=seed)

    watched = [
        float(forest(depth).fit(x[~held_out], y[~held_out]).score(x[held_out], y[held_out]))
        for depth in _DEPTHS
    ]
    return _of_trees(forest(_DEPTHS[int(np.argmax(watched))]), both, factor)


def _of_trees(model: Any, both: Split, factor: int) -> _Fitted:
    y, truth = both.factors[:, factor], both.test_factors[:, factor]
    model.fit(both.codes, y)
    # What a split gains, summed over trees. A tree that cannot split gains nothing: NaN in some.
    gains = np.nan_to_num(np.abs(model.feature_importances_))
    return gains, float(model.score(both.codes, y)), float(model.score(both.test_codes, truth))


def _lasso(both: Split, factor: int, seed: int) -> _Fitted:
    from sklearn.linear_model import LassoCV

    seen, tests = both.scaled
    y, truth = (each[:, factor].astype(np.float64) for each in (both.factors, both.test_factors))
    mean, deviation = y.mean(), y.std()
    y, truth = (y - mean) / deviation, (truth - mean) / deviation
    model = LassoCV(cv=5, random_state=seed).fit(seen, y)
    return np.abs(model.coef_), float(model.score(seen, y)), float(model.score(tests, truth))
