"""`Shapes`: factors, and the images that they make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvae.shapes.outlines import OUTLINES, SHAPES, Floats

Array = npt.NDArray[Any]

FACTORS = ("shape", "scale", "rotation", "x", "y", "colour")

_COUNTS = (4, 6, 10, 16, 16, 8)
_MOST = 256
_SCALES = (0.18, 0.30)
"""Square root of the area, in widths of the image."""
_PLACES = (0.30, 0.70)
"""Of the centroid. The triangle reaches furthest, 0.878 times the scale: all of it is inside."""
_TURN = 90.0
"""Degrees. Within them no shape comes to look as it did."""
_PALE = 0.25
"""The least of a colour's red, green and blue; the greatest is 1."""
_CHUNK = 1 << 21
"""Pixels that are drawn at once."""
_EXACT = 2.0**20
_STREAM = 2
"""Of Philox, under the seed; 0 and 1 are binarisations and permutations."""
_WORDS = 8
"""Set aside for each row."""
_TEST = 1 << 60
"""Number of the test set's first row: no training set comes so far."""


@dataclass(frozen=True)
class Shapes:
    r"""Images of one shape each, and the factors that they are made of.

    Factors are independent and uniform. All shapes of one scale have the same area, and x and y
    are those of the centroid, so that no factor tells of another. Rotation covers a quarter turn,
    in which none of the shapes repeats itself: two different rows of factors are two different
    images, with the default numbers of values at any size. Edges are antialiased: a pixel whose
    middle is at the signed distance d from an edge, in pixels and positive outside, has the
    coverage

    .. math:: \min(1, \max(0, \tfrac{1}{2} - d))

    Args:
        size: height and width in pixels, from 16 on.
        colour: red, green and blue with a sixth factor, the hue; or white without one.
        values: how many values a factor has, by its name, where it is not to have as many as by
            default.
        seed: of the factors that :meth:`factors` draws.

    Raises:
        ValueError: for a size below 16, an unknown factor, more shapes than there are, or a
            factor without values.

    Example:
        >>> shapes = tfvae.shapes.Shapes(size=32, values={"rotation": 5})
        >>> dict(zip(shapes.names, shapes.sizes))
        {'shape': 4, 'scale': 6, 'rotation': 5, 'x': 16, 'y': 16, 'colour': 8}
        >>> factors = shapes.factors(7)
        >>> shapes.images(factors).shape
        (7, 32, 32, 3)

    References:
        Matthey, Higgins, Hassabis and Lerchner (2017), dSprites: disentanglement testing sprites
        dataset, whose idea this follows.
    """

    size: int = 32
    colour: bool = True
    values: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 16 <= self.size <= 4096:
            raise ValueError(
                "Expected `size` to be a whole number of pixels from 16 to 4096. Received: "
                f"size={self.size!r}."
            )
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise ValueError(
                "Expected `seed` to be an integer from 0 to 2**63 - 1. Received: "
                f"seed={self.seed!r}."
            )
        object.__setattr__(self, "values", dict(self.values))
        for name, count in self.values.items():
            if name not in self.names:
                raise ValueError(
                    f"Expected `values` of the factors {', '.join(self.names)}. Received: {name!r}"
                    + (", which white shapes do not have." if name == "colour" else ".")
                )
            most = len(SHAPES) if name == "shape" else _MOST
            if type(count) is not int or not 1 <= count <= most:
                raise ValueError(
                    f"Expected from 1 to {most} values of {name}. Received: {name}={count!r}."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the factors."""
        return FACTORS if self.colour else FACTORS[:-1]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each factor has."""
        default = dict(zip(FACTORS, _COUNTS, strict=True))
        return tuple(self.values.get(name, default[name]) for name in self.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image."""
        return self.size, self.size, 3 if self.colour else 1

    def __len__(self) -> int:
        """How many different images there are."""
        return math.prod(self.sizes)

    def factors(self, n: int, *, start: int = 0, test: bool = False) -> npt.NDArray[np.int64]:
        """Draw factors; each row is a function of the seed and of its number alone.

        Args:
            n: how many rows.
            start: the number of the first one.
            test: whether of the test set, whose rows are others.

        Returns:
            Values [n, K], of factor k from 0 to ``sizes[k] - 1``.

        Raises:
            ValueError: if n or start is no whole number, or negative.
        """
        for name, value in (("n", n), ("start", start)):
            if type(value) is not int or not 0 <= value < _TEST:
                raise ValueError(
                    f"Expected `{name}` to be a whole number, not negative. Received: "
                    f"{name}={value!r}."
                )
        philox = np.random.Philox(key=np.array([self.seed, _STREAM], np.uint64))
        # Four words to a step of the counter.
        philox.advance((start + test * _TEST) * (_WORDS // 4))
        high = philox.random_raw(n * _WORDS).reshape(n, _WORDS) >> np.uint64(32)
        sizes = np.array(self.sizes, np.uint64)
        return ((high[:, : len(sizes)] * sizes) >> np.uint64(32)).astype(np.int64)

    def images(self, factors: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Draw the images of rows of factors.

        The bytes are the same on any machine: what is not exact arithmetic is rounded before it
        is used.

        Args:
            factors: [N, K], of factor k from 0 to ``sizes[k] - 1``.

        Returns:
            Bytes [N, size, size, 3], or [N, size, size, 1] of white shapes.

        Raises:
            ValueError: for factors that there are not.
        """
        rows = self._checked(factors)
        images = np.empty((len(rows), *self.shape), np.uint8)
        step = max(1, _CHUNK // self.size**2)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            coverage, drawn = self._coverage(part), images[start : start + step]
            for channel in range(self.shape[-1]):
                shades = self._colours[part[:, 5], channel] if self.colour else np.float32(1)
                level = coverage * np.reshape(shades * np.float32(255), (-1, 1, 1))
                # To add a half and cut is to round, in less time.
                drawn[..., channel] = (level + np.float32(0.5)).astype(np.uint8)
        return images

    def arrays(self, train: int, test: int) -> dict[str, Array]:
        """Draw a training and a test set, and the factors' names.

        Args:
            train: how many examples to train on.
            test: how many to test on.

        Returns:
            ``x_train``, ``y_train``, ``x_test``, ``y_test`` and ``factors``.
        """
        seen, held_out = self.factors(train), self.factors(test, test=True)
        return {
            "x_train": self.images(seen),
            "y_train": seen,
            "x_test": self.images(held_out),
            "y_test": held_out,
            "factors": np.array(self.names),
        }

    def meanings(self, factors: npt.ArrayLike) -> dict[str, Array]:
        """Say what factors [N, K] mean.

        Returns:
            By name, [N] each: the shape's name; the scale, which is the root of its area, and x
            and y of its centroid, from the left and from below, all in widths of the image; the
            rotation and the hue in degrees, counter-clockwise.

        Example:
            >>> shapes = tfvae.shapes.Shapes()
            >>> shapes.meanings([[2, 5, 3, 0, 15, 4]])["rotation"]
            array([27.])
        """
        rows = self._checked(factors)
        return {name: table[rows[:, k]] for k, (name, table) in enumerate(self._tables.items())}

    @cached_property
    def _tables(self) -> dict[str, Array]:
        """What each value of each factor means."""
        sizes = dict(zip(self.names, self.sizes, strict=True))
        found = {
            "shape": np.array(SHAPES[: sizes["shape"]]),
            "scale": _spread(*_SCALES, sizes["scale"]),
            "rotation": np.arange(sizes["rotation"]) * (_TURN / sizes["rotation"]),
            "x": _spread(*_PLACES, sizes["x"]),
            "y": _spread(*_PLACES, sizes["y"]),
        }
        if self.colour:
            found["colour"] = np.arange(sizes["colour"]) * (360.0 / sizes["colour"])
        return found

    @cached_property
    def _colours(self) -> Floats:
        """Red, green and blue of each hue, [values, 3]."""
        hue = self._tables["colour"][:, None] / 60.0
        # Each channel is full within a sixth of the wheel of its own hue, and least beyond a third.
        away = np.abs((hue - np.array([0.0, 2.0, 4.0]) + 3.0) % 6.0 - 3.0)
        return _rounded(_PALE + (1.0 - _PALE) * np.clip(2.0 - away, 0.0, 1.0))

    def _coverage(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Return how much of each pixel is inside, [N, size, size]."""
        scale, turn, x, y = (
            self._tables[name][rows[:, k]][:, None, None]
            for k, name in enumerate(FACTORS[1:5], start=1)
        )
        place = (np.arange(self.size) + 0.5) / self.size
        # From the centroid, in roots of the area.
        unit = _rounded(1.0 / scale)
        across = _rounded(place - x) * unit
        up = _rounded((1.0 - y) - place).transpose(0, 2, 1) * unit
        cosine, sine = (_rounded(each(np.deg2rad(turn))) for each in (np.cos, np.sin))
        u = across * cosine + up * sine
        v = up * cosine - across * sine
        distance = np.empty_like(u)
        for number, outline in enumerate(OUTLINES.values()):
            mine = np.flatnonzero(rows[:, 0] == number)
            distance[mine] = outline(u[mine], v[mine])
        distance *= np.float32(self.size) / unit
        return np.clip(np.float32(0.5) - distance, 0, 1)

    def _checked(self, factors: npt.ArrayLike) -> npt.NDArray[np.int64]:
        rows = np.asarray(factors)
        count = len(self.sizes)
        if rows.ndim != 2 or rows.shape[1] != count or rows.dtype.kind not in "iu":
            raise ValueError(
                f"Expected `factors` to be whole numbers [N, {count}], of {', '.join(self.names)}. "
                f"Received: {rows.dtype} of shape {rows.shape}."
            )
        wrong = (rows < 0) | (rows >= np.array(self.sizes))
        if wrong.any():
            row, k = (int(each[0]) for each in np.nonzero(wrong))
            raise ValueError(
                f"Expected {self.names[k]} from 0 to {self.sizes[k] - 1}. Received: "
                f"{rows[row, k]}, in row {row} of `factors`."
            )
        return rows.astype(np.int64, copy=False)


def _spread(low: float, high: float, count: int) -> Array:
    """Return values from end to end; of one, the middle."""
    return np.linspace(low, high, count) if count > 1 else np.array([(low + high) / 2])


def _rounded(values: Array) -> Floats:
    """Round so that the last bits of a cosine, which machines differ in, do not matter."""
    return (np.round(values * _EXACT) / _EXACT).astype(np.float32)
