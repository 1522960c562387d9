"""Probes: how well simple classifiers do on codes, on raw values, and on principal components.

A probe is a classifier that is fitted to the labels and frozen features. A good representation
needs few labels; so accuracy is reported for several numbers of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvae import features, intake
from tfvae.data import Examples
from tfvae.examples import check_seed
from tfvae.model import VAE
from tfvae.probe_fits import PROBES, Features, balanced, centred, fitted
from tfvae.step import check_count

__all__ = ["FEATURES", "PROBES", "LabelsError", "Probe", "Probing", "check_counts", "probe"]

Array = npt.NDArray[Any]

FEATURES = ("codes", "pca", "raw")
"""What probes see: the posterior's means, as many principal components, and the values of x, which
are binarised where those that the encoder sees are."""


class LabelsError(ValueError):
    """Labels that are not there, or that are no classes to be told apart."""


@dataclass(frozen=True)
class Probe:
    """How one probe did on one kind of features with one number of labels.

    Attributes:
        features: one of `FEATURES`.
        probe: ``"linear"``, multinomial logistic regression with an L2 penalty; or ``"knn"``,
            the vote of the nearest neighbours.
        labels: how many labelled examples it was fitted to.
        accuracies: on the test set, one for each draw of the labelled examples.
        settings: what was chosen in each: the inverse strength of the penalty, C of
            scikit-learn's LogisticRegression, or the number of neighbours.
        tested: examples in the test set.
    """

    features: str
    probe: str
    labels: int
    accuracies: tuple[float, ...]
    settings: tuple[float, ...]
    tested: int

    @property
    def accuracy(self) -> float:
        """The mean over the draws."""
        return float(np.mean(self.accuracies))

    @property
    def error(self) -> float:
        """Its standard error over the draws; of one draw, that of a share of the test set."""
        if len(self.accuracies) > 1:
            return float(np.std(self.accuracies, ddof=1) / math.sqrt(len(self.accuracies)))
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.tested)


@dataclass(frozen=True)
class Probing:
    """What :func:`probe` found.

    Attributes:
        probes: for each number of labels, kind of features and probe, in this order.
        dimensions: how many values each kind of features has.
        classes: the labels there are.
        majority: accuracy of always guessing the training set's most frequent class.
    """

    probes: tuple[Probe, ...]
    dimensions: dict[str, int]
    classes: tuple[Any, ...]
    majority: float

    def of(self, features: str, probe: str = "linear", labels: int | None = None) -> Probe:
        """Return one probe; with the most labels, unless it is said with how many.

        Raises:
            KeyError: if there is none.
        """
        found = [
            each
            for each in self.probes
            if (each.features, each.probe) == (features, probe) and labels in (None, each.labels)
        ]
        if not found:
            raise KeyError(f"no {probe} probe of {features} with {labels} labels")
        return max(found, key=lambda each: each.labels)

    @property
    def labels(self) -> tuple[int, ...]:
        """The numbers of labels, ascending."""
        return tuple(sorted({each.labels for each in self.probes}))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return {
            "classes": [each.item() if hasattr(each, "item") else each for each in self.classes],
            "dimensions": self.dimensions,
            "majority": self.majority,
            "probes": [
                {
                    "features": each.features,
                    "probe": each.probe,
                    "labels": each.labels,
                    "accuracy": each.accuracy,
                    "error": each.error,
                    "accuracies": list(each.accuracies),
                    "settings": list(each.settings),
                }
                for each in self.probes
            ],
        }


def probe(
    vae: VAE,
    train: Any,
    test: Any,
    labels: Iterable[int] | None = None,
    *,
    repeats: int = 5,
    probes: Sequence[str] = PROBES,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Probing:
    """Fit linear and nearest-neighbour probes to the codes of a trained encoder.

    They are held against the same probes on the raw values of x and on as many principal
    components as the codes have dimensions. What needs no labels, principal components and scales,
    is taken from all of the training set, as the encoder was. Labelled examples are drawn so that
    classes are as even as they can be, the same for all features and probes; more labels are the
    same ones and others. From five of each class on, a fifth of the labels is held out to choose
    the strength of the penalty, the number of neighbours, and whether each feature is scaled to
    unit variance or all by one factor; the probe is then fitted to all of them.

    Args:
        vae: a trained model.
        train: Examples or Records with labels as y, or a tuple of arrays (x [N, *data], y [N]).
        test: the same, to report on.
        labels: numbers of labelled examples; by default powers of ten, and all.
        repeats: how often labelled examples are drawn; all are drawn once.
        probes: which, of `PROBES`.
        seed: of the draws.
        progress: called with the number of fits that are done and that of all.

    Returns:
        All accuracies, with their standard errors.

    Raises:
        LabelsError: without labels, with labels that are no classes, or only one; for fewer labels
            than classes or more than there are. It is a ValueError.
        ValueError: for an encoder that is told the labels, a model that reads something else in y,
            and data that do not fit.

    Example:
        >>> digits = tfvae.data.load("digits")
        >>> vae = tfvae.zoo.vae((8, 8, 1), 2, likelihood="ContinuousBernoulli", hidden=(16,))
        >>> found = tfvae.probes.probe(vae, digits.train, digits.test, [100], repeats=1)
        >>> found.dimensions
        {'codes': 2, 'pca': 2, 'raw': 64}

    References:
        Alain and Bengio (2017), Understanding intermediate layers using linear classifier probes,
        arXiv:1610.01644.
    """
    if "encoder" in vae.takers:
        raise ValueError(
            "Expected an encoder that sees x alone. Received: one that takes a condition, which "
            "may tell it the labels that its codes are to be probed for."
        )
    if vae.reads_y and not vae.conditional:
        raise ValueError(
            "Expected a model that leaves y to be labels. Received: one that reads in it what was "
            "observed. Build it with ragged=False (--no-ragged), with the same weights: "
            "vae.set_weights."
        )
    check_count("repeats", repeats)
    check_seed(seed)
    for name in probes:
        if name not in PROBES:
            raise ValueError(f"Expected `probes` to be of {', '.join(PROBES)}. Received: {name!r}.")
    if not probes:
        raise ValueError("Expected `probes` to name at least one. Received: none.")
    seen, held_out = (
        _labelled(vae, given, name) for given, name in ((train, "train"), (test, "test"))
    )
    classes, y = np.unique(_classes(seen, "train"), return_inverse=True)
    if len(classes) < 2:
        raise LabelsError(
            f"Expected labels of at least two classes in `train`. Received: {len(classes)}, "
            f"{classes[0]}."
        )
    known = _classes(held_out, "test")
    unknown = np.setdiff1d(known, classes)
    if unknown.size:
        raise LabelsError(
            "Expected the labels of `test` to be among those of `train`. Received: "
            f"{unknown[0]}, which is not."
        )
    truth = np.searchsorted(classes, known)
    counts = check_counts(labels, len(y), len(classes))
    kinds = _kinds(vae, seen, held_out, seed)
    share = np.bincount(y).argmax()
    draws = {count: 1 if count == len(y) else repeats for count in counts}
    total, done = sum(draws.values()) * len(kinds) * len(probes), 0
    found = []
    for count in counts:
        rows = [balanced(y, count, seed, draw) for draw in range(draws[count])]
        for kind, both in kinds.items():
            for name in probes:
                results = []
                for chosen in rows:
                    results.append(fitted(name, both, chosen, y, truth, len(classes)))
                    done += 1
                    if progress is not None:
                        progress(done, total)
                accuracies, settings = zip(*results, strict=True)
                found.append(Probe(kind, name, count, accuracies, settings, len(truth)))
    return Probing(
        tuple(found),
        {name: both.train.shape[1] for name, both in kinds.items()},
        tuple(classes.tolist()),
        float(np.mean(truth == share)),
    )


def check_counts(labels: Iterable[int] | None, examples: int, classes: int) -> list[int]:
    """Return numbers of labels, ascending: those given, or powers of ten and all.

    Raises:
        LabelsError: unless they are from the number of classes to that of examples.
        ValueError: unless they are whole numbers.

    Example:
        >>> check_counts(None, 1437, 10)
        [10, 100, 1000, 1437]
    """
    if labels is None:
        powers = (10**power for power in range(1, 20))
        given = [count for count in powers if classes <= count < examples] + [examples]
    else:
        given = list(labels)
    if not given:
        raise ValueError("Expected `labels` to hold at least one number. Received: none.")
    for count in given:
        check_count("labels", count)
        if not classes <= count <= examples:
            raise LabelsError(
                f"Expected `labels` from {classes}, one for each class, to {examples}, as many as "
                f"there are. Received: labels={count}."
            )
    return sorted({int(count) for count in given})


def _labelled(vae: VAE, given: Any, argument: str) -> Examples:
    x, y = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    examples = intake.examples(vae.likelihood, x, y, argument=argument)
    if examples.y is None:
        raise LabelsError(
            f"Expected labels in `{argument}`, one for each example. Received: x alone. Pass "
            "(x, y), or save the labels with the data, as y_train and y_test of an .npz file."
        )
    return examples


def _classes(examples: Examples, argument: str) -> Array:
    """Return labels [N] that are classes."""
    y = np.asarray(examples.y)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    numbers = y.dtype.kind == "f"
    if y.ndim != 1 or y.dtype.kind not in "biufUS" or (numbers and np.any(y != np.floor(y))):
        raise LabelsError(
            f"Expected one label for each example of `{argument}`, the number or the name of a "
            f"class. Received: y of shape {y.shape} and dtype {y.dtype}"
            + (", with values that are no whole numbers." if y.ndim == 1 and numbers else ".")
        )
    return y


def _kinds(vae: VAE, train: Examples, test: Examples, seed: int) -> dict[str, Features]:
    from sklearn.decomposition import PCA

    raw = [each.values().reshape(len(each), -1) for each in (train, test)]
    # More components than values or examples there cannot be.
    coded = [features.codes(vae, each) for each in (train, test)]
    pca = PCA(min(coded[0].shape[1], *raw[0].shape), random_state=seed)
    components = [pca.fit_transform(raw[0].astype(np.float64)), pca.transform(raw[1])]
    return {
        name: centred(*both) for name, both in zip(FEATURES, (coded, components, raw), strict=True)
    }
