"""Data: arrays with their labels, weights and binarisation; and where they come from.

`load` turns a name or a file into a `Dataset` of `Examples`, in the range a likelihood expects.
Whatever is random here is a function of a seed and of the example's index, never of global state.
This module imports neither TensorFlow nor Keras until a Keras data set is asked for.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import os
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from tfvae.sources import TEST_SEED, Array, DataError, permutation, read, sources

__all__ = ["Binarize", "DataError", "Dataset", "Examples", "load", "sources"]

Binarize = Literal["none", "threshold", "dynamic"]

_TEST_FRACTION = 0.1
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples in the range a model sees, and what else is known about each of them.

    Args:
        x: Floats [N, *shape], all finite.
        y: Labels or conditions [N, ...], or None.
        weight: Non-negative importance of each example [N], or None.
        binarize: What a model sees of values in [0, 1]: "none", the values themselves;
            "threshold", x >= 1/2; "dynamic", draws of Bernoulli(x), fresh each epoch in training.
        seed: Seed of the draws.

    Raises:
        DataError: There are no examples, x is not finite floats, lengths differ, or values lie
            outside [0, 1] although they are to be binarised.

    Example:
        >>> examples = Examples(np.full((5, 4, 4), 0.5, np.float32), binarize="dynamic")
        >>> len(examples), examples.shape, np.unique(examples.values()).tolist()
        (5, (4, 4), [0.0, 1.0])
    """

    x: Array
    y: Array | None = None
    weight: Array | None = None
    binarize: Binarize = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_binarize(self.binarize)
        _check_seed(self.seed)
        for name in ("x", "y", "weight"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name)))
        _check_values(self.x, self.binarize)
        for name, array in (("y", self.y), ("weight", self.weight)):
            if array is not None and array.shape[:1] != (len(self),):
                raise DataError(
                    f"Expected {name} to have one entry per example. Received: {name} of shape "
                    f"{array.shape} with {len(self)} examples; pass {name} of the same length."
                )
        if self.weight is not None and not (
            self.weight.shape == (len(self),)
            and _is_number(self.weight)
            and np.all(np.isfinite(self.weight) & (self.weight >= 0))
        ):
            raise DataError(
                "Expected weight to be finite numbers of at least 0, one per example. Received: "
                f"weight of shape {self.weight.shape} and dtype {self.weight.dtype}; mend those."
            )

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.x.shape[1:])

    def values(self) -> Array:
        """The values an evaluation sees, [N, *shape] in the dtype of x.

        Under "dynamic" they are *one* draw, fixed by the seed: pixel p of example i is
        1[u(seed, i, p) < x_ip], where u is the upper 53 bits of word i·D + p of NumPy's Philox
        stream with key `seed`, D being the number of values per example. So the draw of an
        example does not depend on how many follow it: `take(n).values()` is `values()[:n]`.
        """
        if self.binarize == "none":
            return self.x
        if self.binarize == "threshold":
            return (self.x >= 0.5).astype(self.x.dtype)
        flat = self.x.reshape(-1)
        drawn = np.empty_like(flat)
        stream = np.random.Philox(key=np.array([self.seed, 0], np.uint64))
        for start in range(0, flat.size, _CHUNK):
            p = flat[start : start + _CHUNK]
            u = (stream.random_raw(p.size) >> np.uint64(11)) * 2.0**-53
            drawn[start : start + _CHUNK] = u < p
        return drawn.reshape(self.x.shape)

    def take(self, n: int) -> Examples:
        """The first n examples.

        Raises:
            DataError: n is not between 1 and the number of examples.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= len(self):
            raise DataError(
                f"Expected n between 1 and the {len(self)} examples there are. Received: n={n!r}; "
                "ask for fewer."
            )
        return self[: int(n)]

    def split(self, held_out: float, *, seed: int = 0) -> tuple[Examples, Examples]:
        """Two disjoint parts, each in the original order.

        Args:
            held_out: Size of the second part: a fraction in (0, 1) or a count.
            seed: Seed of the permutation that chooses it.

        Returns:
            What remains, and what is held out.

        Raises:
            DataError: Either part would be empty.

        Example:
            >>> rest, held_out = Examples(np.zeros((10, 2))).split(0.2)
            >>> len(rest), len(held_out)
            (8, 2)
        """
        count = _count("held_out", held_out, len(self))
        rest, chosen = _choose(len(self), count, seed)
        return self[rest], self[chosen]

    def __getitem__(self, rows: slice | Array) -> Examples:
        """The examples of a slice or of an array of indices."""
        return replace(
            self,
            x=self.x[rows],
            y=None if self.y is None else self.y[rows],
            weight=None if self.weight is None else self.weight[rows],
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in its parts, as `load` returns it.

    Args:
        name: Name of the source: its own, or the file's without its ending.
        train: What to learn from.
        validation: What to watch while learning, or None.
        test: What to report on.
        fingerprint: SHA-256 (hexadecimal) of the source's arrays as read, before scaling.
    """

    name: str
    train: Examples
    validation: Examples | None
    test: Examples
    fingerprint: str


def load(
    source: str | os.PathLike[str],
    *,
    binarize: Binarize = "none",
    validation: float = 0,
    seed: int = 0,
    scale: float | Literal["auto"] = "auto",
) -> Dataset:
    """Read a data set by name or from a file.

    Sources:
    - `digits`: scikit-learn's 1,797 handwritten digits, embedded, shape (8, 8, 1), divided by 16.
      After a fixed permutation the last 360 are the test set.
    - `mnist`, `fashion_mnist`, `cifar10`: through `keras.datasets`, downloaded once.
    - a path ending in `.npz`: arrays `x_train`, `x_test` and, if there, `y_train`, `y_test`. With
      `x_train` alone, or `x` (and `y`), a tenth of the examples, the same for every seed, is
      held out as the test set.
    - a path ending in `.npy`: one array, held out from likewise.

    Scaling, with scale="auto": uint8 is divided by 255, unless all it holds is 0 and 1; bool and
    other integers that are all 0 or 1 become floats; floats are left as they are.

    Args:
        source: A name or a path.
        binarize: See `Examples`.
        validation: Part of the training set to hold out: a fraction in (0, 1), a count, or 0.
        seed: Seed of the validation split and of the binarisation.
        scale: "auto", or a number to divide by, whatever the dtype.

    Returns:
        The data set. Shapes are the source's own: no channel axis is added to a file's images.

    Raises:
        DataError: The source is unknown, missing, broken, pickled or not numbers, or its numbers
            are not what `binarize` or `scale` say.

    Example:
        >>> digits = load("digits", validation=100)
        >>> len(digits.train), len(digits.validation), len(digits.test), digits.test.shape
        (1337, 100, 360, (8, 8, 1))
    """
    _check_binarize(binarize)
    _check_seed(seed)
    if scale != "auto" and (
        isinstance(scale, (bool, str)) or not math.isfinite(scale) or not scale > 0
    ):
        raise DataError(
            f"Expected scale to be 'auto' or a positive number. Received: scale={scale!r}; "
            "pass what to divide by."
        )
    name, raw = read(source)
    for key, array in raw.items():
        if key.startswith("x") and not _is_number(array):
            raise DataError(
                f"Expected numbers in {key!r} of {name}. Received: dtype {array.dtype}; save a "
                "float, integer or bool array."
            )
    parts = _test_split(name, raw)
    divide_by = 16.0 if name == "digits" and scale == "auto" else scale
    x_train, x_test = _scaled(name, parts["x_train"], parts["x_test"], divide_by)
    train = Examples(x_train, parts.get("y_train"), binarize=binarize, seed=seed)
    test = Examples(x_test, parts.get("y_test"), binarize=binarize, seed=seed)
    held_out = None
    if validation:
        count = _count("validation", validation, len(train))
        train, held_out = train.split(count, seed=seed)
    return Dataset(name, train, held_out, test, _fingerprint(raw))


def _test_split(name: str, raw: dict[str, Array]) -> dict[str, Array]:
    """`raw` with a test set: its own, or one held out of its examples."""
    if "x_test" in raw:
        if raw["x_test"].shape[1:] != raw["x_train"].shape[1:]:
            raise DataError(
                f"Expected x_train and x_test of {name} to hold examples of one shape. Received: "
                f"x_train {raw['x_train'].shape}, x_test {raw['x_test'].shape}; reshape one."
            )
        return raw
    x = raw.get("x_train", raw.get("x"))
    y = raw.get("y_train", raw.get("y"))
    assert x is not None  # `_members` saw to it
    if x.ndim < 2 or len(x) < 2 or not x.size:
        raise DataError(
            f"Expected {name} to hold at least 2 examples, [N, ...]. Received: shape {x.shape}; "
            "give x an axis of examples and one of values."
        )
    if y is not None and y.shape[:1] != x.shape[:1]:
        raise DataError(
            f"Expected the labels of {name} to match its examples. Received: y {y.shape}, "
            f"x {x.shape}; save as many labels as examples."
        )
    rest, test = _choose(len(x), _count("test", _TEST_FRACTION, len(x)), TEST_SEED)
    parts = {"x_train": x[rest], "x_test": x[test]}
    return parts if y is None else {**parts, "y_train": y[rest], "y_test": y[test]}


def _scaled(
    name: str, train: Array, test: Array, scale: float | Literal["auto"]
) -> tuple[Array, Array]:
    """Both parts as floats, decided on both together."""
    if scale != "auto":
        return _divided(train, float(scale)), _divided(test, float(scale))
    if all(np.issubdtype(part.dtype, np.floating) for part in (train, test)):
        return train, test
    binary = all(
        part.dtype == bool or not part.size or (part.min() >= 0 and part.max() <= 1)
        for part in (train, test)
    )
    if binary:
        return _floating(train), _floating(test)
    if train.dtype == test.dtype == np.uint8:
        return _divided(train, 255.0), _divided(test, 255.0)
    low, high = min(train.min(), test.min()), max(train.max(), test.max())
    raise DataError(
        f"Expected uint8, bool, float or 0/1 values in {name}. Received: {train.dtype} from "
        f"{low} to {high}; pass scale= with the number to divide by (1 to keep them)."
    )


def _floating(array: Array) -> Array:
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float32)


def _divided(array: Array, by: float) -> Array:
    array = _floating(array)
    scaled: Array = array / array.dtype.type(by)
    return scaled


def _choose(n: int, count: int, seed: int) -> tuple[Array, Array]:
    """Rows that stay and rows that are held out, both ascending."""
    _check_seed(seed)
    order = permutation(n, seed)
    return np.sort(order[:-count]), np.sort(order[-count:])


def _count(argument: str, size: float, n: int) -> int:
    """A fraction in (0, 1) or a count, as a count that leaves neither part empty."""
    if isinstance(size, (int, np.integer)) and not isinstance(size, bool):
        count = int(size)
    elif isinstance(size, (float, np.floating)) and 0 < size < 1:
        count = max(1, round(float(size) * n))
    else:
        count = 0
    if not 1 <= count < n:
        raise DataError(
            f"Expected {argument} to be a fraction in (0, 1) or a count from 1 to {n - 1}, with "
            f"{n} examples. Received: {argument}={size!r}; hold out fewer."
        )
    return count


def _fingerprint(raw: dict[str, Array]) -> str:
    digest = hashlib.sha256()
    for key in sorted(raw):
        array = np.ascontiguousarray(raw[key])
        digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size and array.dtype.kind in "biuf" else array.tobytes())
    return digest.hexdigest()


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "biuf"


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise DataError(
            f"Expected seed to be an integer from 0 to 2**63 - 1. Received: seed={seed!r}; "
            "pass one."
        )


def _check_binarize(binarize: str) -> None:
    known = get_args(Binarize)
    if binarize not in known:
        near = difflib.get_close_matches(str(binarize).lower(), known, n=1)
        fix = f"did you mean {near[0]!r}?" if near else "choose one of them."
        raise DataError(
            f"Expected binarize to be one of {', '.join(known)}. Received: "
            f"binarize={binarize!r}; {fix}"
        )


def _check_values(x: Array, binarize: str) -> None:
    if x.dtype.kind != "f":
        raise DataError(
            f"Expected x to be floats. Received: x of dtype {x.dtype}; scale it, as in "
            "x.astype('float32') / 255."
        )
    if x.ndim < 2 or not x.size:
        raise DataError(
            f"Expected x to be [N, ...] with at least one example and one value. Received: x of "
            f"shape {x.shape}; give it an axis of examples and one of values."
        )
    finite = np.isfinite(x)
    if not finite.all():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), x.shape))
        raise DataError(
            f"Expected finite values in x. Received: {x.size - int(finite.sum())} of {x.size} "
            f"NaN or infinite, the first at x[{', '.join(map(str, first))}] in example "
            f"{first[0]}; drop or mend those examples."
        )
    if binarize != "none" and not (x.min() >= 0 and x.max() <= 1):
        raise DataError(
            f"Expected values in [0, 1] for binarize={binarize!r}. Received: x from "
            f"{x.min():g} to {x.max():g}; pass scale= to load with the number to divide by."
        )
