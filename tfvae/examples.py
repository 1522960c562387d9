"""Examples in memory: arrays in the range a model sees, with their labels, weights, binarisation.

Whatever is random here is a function of a seed and of the example's index, never of global state.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from tfvae.sources import Array, DataError, permutation

Binarize = Literal["none", "threshold", "dynamic"]

SOME_BYTES = 1 << 30
"""What :func:`some` reads, at most."""

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
        check_binarize(self.binarize)
        check_seed(self.seed)
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
            and is_number(self.weight)
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
        check_rows(n, len(self))
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
        size = held_out_count("held_out", held_out, len(self))
        rest, chosen = choose_rows(len(self), size, seed)
        return self[rest], self[chosen]

    def __getitem__(self, rows: slice | Array) -> Examples:
        """The examples of a slice or of an array of indices."""
        return replace(
            self,
            x=self.x[rows],
            y=None if self.y is None else self.y[rows],
            weight=None if self.weight is None else self.weight[rows],
        )


def choose_rows(n: int, count: int, seed: int) -> tuple[Array, Array]:
    """Rows that stay and rows that are held out, both ascending."""
    check_seed(seed)
    order = permutation(n, seed)
    return np.sort(order[:-count]), np.sort(order[-count:])


def some(part: Any, most: int) -> Examples:
    """Return the first of Examples or Records, in memory: `most`, or as many as fit a gigabyte.

    That they are float64 is assumed. For what needs some examples and no particular number.
    """
    fit = SOME_BYTES // (8 * max(1, math.prod(part.shape)))
    chosen: Examples = part.take(max(1, min(most, fit, len(part))))
    return chosen


def check_rows(n: int, there: int) -> None:
    """Refuse a number of examples that there are not."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= there:
        raise DataError(
            f"Expected n between 1 and the {there} examples there are. Received: n={n!r}; "
            "ask for fewer."
        )


def held_out_count(argument: str, size: float, n: int) -> int:
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


def is_number(array: Array) -> bool:
    """Booleans, integers or floats."""
    return array.dtype.kind in "biuf"


def divisor(name: str, dtypes: Sequence[np.dtype[Any]], low: float, high: float) -> float:
    """What automatic scaling divides by, decided on all parts of a data set together.

    Args:
        name: Of the data set.
        dtypes: Of its parts.
        low: Their least value.
        high: Their greatest.

    Raises:
        DataError: They are integers of no known range.
    """
    if all(np.issubdtype(dtype, np.floating) for dtype in dtypes) or (low >= 0 and high <= 1):
        return 1.0
    if all(dtype == np.uint8 for dtype in dtypes):
        return 255.0
    raise DataError(
        f"Expected uint8, bool, float or 0/1 values in {name}. Received: {dtypes[0]} from "
        f"{low} to {high}; pass scale= with the number to divide by (1 to keep them)."
    )


def divided(array: Array, by: float) -> Array:
    """Floats, divided."""
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    return array if by == 1 else array / array.dtype.type(by)


def check_seed(seed: int) -> None:
    """Refuse what is no seed."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise DataError(
            f"Expected seed to be an integer from 0 to 2**63 - 1. Received: seed={seed!r}; "
            "pass one."
        )


def check_scale(scale: float | str) -> None:
    """Refuse what is neither "auto" nor a number to divide by."""
    if scale != "auto" and (
        isinstance(scale, (bool, str)) or not math.isfinite(scale) or not scale > 0
    ):
        raise DataError(
            f"Expected scale to be 'auto' or a positive number. Received: scale={scale!r}; "
            "pass what to divide by."
        )


def check_binarize(binarize: str) -> None:
    """Refuse an unknown binarisation, and suggest the nearest."""
    known = get_args(Binarize)
    if binarize not in known:
        near = difflib.get_close_matches(str(binarize).lower(), known, n=1)
        fix = f"did you mean {near[0]!r}?" if near else "choose one of them."
        raise DataError(
            f"Expected binarize to be one of {', '.join(known)}. Received: "
            f"binarize={binarize!r}; {fix}"
        )


def check_range(binarize: str, low: float, high: float) -> None:
    """Refuse to binarise what is not probabilities."""
    if binarize != "none" and not (low >= 0 and high <= 1):
        raise DataError(
            f"Expected values in [0, 1] for binarize={binarize!r}. Received: x from "
            f"{low:g} to {high:g}; pass scale= to load with the number to divide by."
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
    low, high = x.min(), x.max()  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = np.isfinite(x)
        first = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), x.shape))
        raise DataError(
            f"Expected finite values in x. Received: {x.size - int(finite.sum())} of {x.size} "
            f"NaN or infinite, the first at x[{', '.join(map(str, first))}] in example "
            f"{first[0]}; drop or mend those examples."
        )
    check_range(binarize, low, high)
