"""Fits of probes: simple classifiers, whose settings are chosen on labels that are held out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PROBES = ("linear", "knn")

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_NEIGHBOURS = (1, 3, 5, 10, 20)
_LEAST = 5
"""Labels of each class from which on a fifth of them is held out to choose by."""
_SMALL = 1 << 20
"""Values of the examples that one thread fits a probe to."""
# Chosen without such a choice: one neighbour, scikit-learn's own strength.
_DEFAULT = {"linear": 1.0, "knn": 1.0}


def balanced(y: Array, count: int, seed: int, draw: int = 0) -> Array:
    """Return `count` rows, of each class as many as of any other, as long as it has some.

    Args:
        y: classes 0, 1, ... [N].
        count: how many rows.
        seed: of the order.
        draw: which draw.

    Returns:
        Rows [count]. Those for a smaller count are the first ones.
    """
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, draw], np.uint64)))
    order = rng.permutation(len(y))
    return order[np.argsort(_places(y[order]), kind="stable")][:count]


def _places(y: Array) -> Array:
    """Return how many of its class stand before each, [N]."""
    places = np.empty(len(y), np.int64)
    for label in np.unique(y):
        mine = np.flatnonzero(y == label)
        places[mine] = np.arange(len(mine))
    return places


class Features(NamedTuple):
    """What probes see of both sets, [N, d], centred and scaled as a whole, and its deviations."""

    train: Array
    test: Array
    deviation: Array


def centred(train: Array, test: Array) -> Features:
    """Subtract the means of the training set, and divide by the root of the mean variance."""
    mean = train.mean(axis=0, dtype=np.float64)
    deviation = train.std(axis=0, dtype=np.float64)
    scale = math.sqrt(float(np.mean(deviation**2))) or 1.0
    seen, tests = (((each - mean) / scale).astype(np.float32) for each in (train, test))
    deviation = np.where(deviation > 0, deviation / scale, 1.0)
    return Features(seen, tests, deviation.astype(np.float32))


def fitted(
    name: str, seen: Features, rows: Array, y: Array, truth: Array, classes: int
) -> tuple[float, float]:
    """Choose a probe's settings and fit it to rows; return its accuracy and what was chosen."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    # Of small fits, threads that wait for each other take ten times as long as the work.
    small = len(rows) * seen.train.shape[1] < _SMALL
    with threadpool_limits(1 if small else None):
        return _fitted(name, seen, rows, y, truth, classes)


def _fitted(
    name: str, seen: Features, rows: Array, y: Array, truth: Array, classes: int
) -> tuple[float, float]:
    predict = {"linear": _linear, "knn": _nearest}[name]
    settings = {"linear": _STRENGTHS, "knn": _NEIGHBOURS}[name]
    x, y = seen.train[rows], y[rows]
    best, setting, scale = -math.inf, _DEFAULT[name], np.ones_like(seen.deviation)
    if np.bincount(y, minlength=classes).min() >= _LEAST:
        watched = _places(y) % _LEAST == 0
        for each in (scale, seen.deviation):
            inputs = x / each
            found = predict(inputs[~watched], y[~watched], inputs[watched], settings, classes)
            for candidate, scores in found.items():
                merit = _merit(name, scores, y[watched])
                if merit > best:
                    best, setting, scale = merit, candidate, each
    (scores,) = predict(x / scale, y, seen.test / scale, (setting,), classes).values()
    return float(np.mean(scores.argmax(axis=1) == truth)), float(setting)


def _merit(name: str, scores: Array, y: Array) -> float:
    """Return what settings are chosen by: of log-probabilities their mean, of votes accuracy."""
    if name == "linear":
        return float(np.mean(scores[np.arange(len(y)), y]))
    return float(np.mean(scores.argmax(axis=1) == y))


def _linear(
    x: Array, y: Array, tests: Array, strengths: Sequence[float], classes: int
) -> dict[float, Array]:
    """Return log-probabilities [n, classes] of logistic regression, for each strength."""
    from scipy.special import log_softmax
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # From strong penalties to weak ones, each from where the last one ended.
    model = LogisticRegression(warm_start=True, max_iter=300)
    found = {}
    with warnings.catch_warnings():
        # A fit that ends early is one more way to regularise, and judged as the others are.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in sorted(strengths):
            logits = model.set_params(C=strength).fit(x, y).decision_function(tests)
            if classes == 2:  # of which there is one logit
                logits = np.stack([np.zeros_like(logits), logits], axis=1)
            found[strength] = log_softmax(logits, axis=1)
    return found


def _nearest(
    x: Array, y: Array, tests: Array, neighbours: Sequence[float], classes: int
) -> dict[float, Array]:
    """Return the votes [n, classes] of the nearest neighbours, for each number of them."""
    from sklearn.neighbors import NearestNeighbors

    numbers = [int(number) for number in neighbours if number <= len(x)] or [len(x)]
    model = NearestNeighbors(n_neighbors=max(numbers), algorithm="brute").fit(x)
    near = y[model.kneighbors(tests, return_distance=False)]
    votes = np.zeros((len(tests), classes), np.int32)
    found = {}
    for place in range(max(numbers)):
        votes[np.arange(len(tests)), near[:, place]] += 1
        if place + 1 in numbers:
            found[float(place + 1)] = votes.copy()
    return found
