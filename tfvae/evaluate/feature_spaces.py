"""Spaces in which sets of examples are compared: features, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvae.evaluate.batches import UndefinedError

Array = npt.NDArray[Any]

COMPONENTS = 50
WIDTHS = (128, 64)
"""Hidden layers of the default classifier; the last of them is the features."""
_EPOCHS = 20
_EXAMPLES = 10_000
_BATCH = 1024
_CLASSES = 1000


@dataclass(frozen=True)
class FeatureSpace:
    """A map from examples to features.

    Attributes:
        name: where it comes from; it belongs beside every number that is measured in it.
        function: examples [N, *data] to features [N, d], in float64.
    """

    name: str
    function: Callable[[Array], Array]

    def __call__(self, x: Any) -> Array:
        """Return the features of examples, [N, d], a batch at a time.

        Raises:
            ValueError: if the function does not return a row of finite numbers for each.
        """
        x = np.asarray(x)
        parts = []
        for start in range(0, len(x), _BATCH):
            rows = x[start : start + _BATCH]
            found = np.asarray(self.function(rows), np.float64)
            if found.ndim < 1 or len(found) != len(rows) or not np.all(np.isfinite(found)):
                raise ValueError(
                    f"Expected `features` to return finite numbers, a row for each of {len(rows)} "
                    f"examples. Received: {self.name}, which returns shape {found.shape}."
                )
            parts.append(found.reshape(len(rows), -1))
        return np.concatenate(parts)


def principal_components(x: Any, components: int = COMPONENTS, seed: int = 0) -> FeatureSpace:
    """Return the space of principal components of x, scaled to a mean variance of 1.

    Args:
        x: examples [N, *data] to find them by: training data.
        components: how many, at most; no more than there are values and examples.
        seed: of the algorithm.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 6, 6))
        >>> space = tfvae.evaluate.feature_spaces.principal_components(x, 5)
        >>> space.name, space(x).shape, round(float(space(x).var(axis=0, ddof=1).mean()), 2)
        ('5 principal components', (100, 5), 1.0)
    """
    from sklearn.decomposition import PCA

    flat = _flat(x)
    count = min(components, *flat.shape)
    pca = PCA(count, random_state=seed).fit(flat)
    scale = math.sqrt(float(np.mean(pca.explained_variance_))) or 1.0
    return FeatureSpace(
        f"{count} principal components", lambda rows: pca.transform(_flat(rows)) / scale
    )


def classifier(x: Any, y: Any, seed: int = 0) -> FeatureSpace:
    """Return the last hidden layer of a small classifier that is trained here.

    A dense network of 128 and 64 units on at most 10,000 examples, for 20 epochs; the same on every
    run. Features are scaled to a mean square of 1 on its training data.

    Args:
        x: examples [N, *data].
        y: classes [N].
        seed: of its weights and the order of examples.

    Raises:
        ValueError: unless y are classes, two at least.
    """
    from sklearn.neural_network import MLPClassifier

    if reason := no_classes(y):
        raise UndefinedError(f"Expected classes as `y`. Received: {reason}.")
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, 1], np.uint64)))
    flat, labels = _flat(x), np.asarray(y)
    rows = rng.permutation(len(flat))[:_EXAMPLES]
    flat, labels = flat[rows], labels[rows]
    centre, spread = flat.mean(axis=0), math.sqrt(float(flat.var())) or 1.0
    network = MLPClassifier(WIDTHS, random_state=seed)
    names = np.unique(labels)
    for _ in range(_EPOCHS):  # partial_fit takes one pass, and does not warn of stopping early
        network.partial_fit((flat - centre) / spread, labels, classes=names)

    def hidden(rows: Array) -> Array:
        values = (_flat(rows) - centre) / spread
        for kernel, bias in list(zip(network.coefs_, network.intercepts_, strict=True))[:-1]:
            values = np.maximum(values @ kernel + bias, 0)
        return np.asarray(values)

    scale = math.sqrt(float(np.mean(hidden(flat) ** 2))) or 1.0
    return FeatureSpace(
        f"{WIDTHS[-1]} features of a small classifier of {len(names)} classes",
        lambda rows: hidden(rows) / scale,
    )


def no_classes(y: Any) -> str:
    """Say why labels are no classes, or nothing."""
    if y is None:
        return "none"
    array = np.asarray(y)
    if array.ndim != 1 or array.dtype.kind not in "biufUS":
        return f"y of shape {array.shape} and dtype {array.dtype}"
    if array.dtype.kind == "f" and np.any(array != np.floor(array)):
        return "numbers that are not whole"
    count = len(np.unique(array))
    if not 2 <= count <= min(_CLASSES, len(array) // 2):
        return f"{count} different ones of {len(array)} examples"
    return ""


def space(given: Any, x: Any, y: Any = None, seed: int = 0) -> FeatureSpace:
    """Return the space that is asked for.

    Args:
        given: a function or Keras model of examples [N, *data], or a FeatureSpace; ``"pca"`` or
            ``"classifier"``; None for the latter where there are classes and the former where not.
        x: training data for those that need some.
        y: their classes, or None.
        seed: of their training.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(given, FeatureSpace):
        return given
    if given is None:
        given = "pca" if no_classes(y) else "classifier"
    if isinstance(given, str) and given in ("pca", "classifier"):
        return principal_components(x, seed=seed) if given == "pca" else classifier(x, y, seed)
    if not callable(given):
        raise TypeError(
            "Expected `features` to be a function or Keras model of examples [N, *data], "
            f'"pca", "classifier" or None. Received: features={given!r}.'
        )
    predict = getattr(given, "predict_on_batch", given)
    name = getattr(given, "name", None) or getattr(given, "__name__", type(given).__name__)
    return FeatureSpace(str(name), predict)


def _flat(x: Any) -> Array:
    array = np.asarray(x)
    flat: Array = array.reshape(len(array), -1).astype(np.float64)
    return flat
