"""Samplers: codes of examples that share the value of a factor, as FactorVAE and β-VAE scores ask.

Others of the factors are drawn as they come. `Pool` draws among codes that there are; `Fresh` has
images made and encoded for each draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfvae.disentanglement.checking import Floats, Integers, checked, checked_codes, several

ROWS = 1 << 11
"""Images that are made and encoded at once."""


class Sampler(Protocol):
    """Codes of examples that share the value of a factor."""

    @property
    def factors(self) -> int:
        """How many factors there are."""

    def codes(self, count: int, rng: np.random.Generator) -> Floats:
        """Return codes [count, D] of examples of any factors."""

    def fixed(self, factor: Integers, size: int, rng: np.random.Generator) -> Floats:
        """Return codes [B, size, D]: in each of B batches all share a value of ``factor[b]``."""

    def pairs(self, factor: Integers, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return codes [B, size, D] twice: one and the other share each its value of the factor."""


class Pool:
    """Examples that there are, grouped by the values of their factors.

    A batch is drawn with replacement from all examples with the value; the two of a pair are
    different examples. Where factors depend on each other in the data, so they do in the batches.

    Args:
        codes: [N, D].
        factors: whole numbers [N, K], of at least two factors.

    Raises:
        ValueError: for codes that are not finite, factors that are continuous, constant or alone,
            or a factor with values that most examples have alone.
    """

    def __init__(self, codes: Any, factors: Any) -> None:
        self._codes, values = checked(codes, factors)
        several(values, "a sampler")
        self.factors: int = values.shape[1]
        # Of each factor: rows in the order of its values, where each row's value starts, and how
        # many rows have it.
        self._orders, self._starts, self._counts, self._rows = [], [], [], []
        for column in values.T:
            counts = np.bincount(column)
            self._orders.append(np.argsort(column, kind="stable"))
            self._starts.append((np.cumsum(counts) - counts)[column])
            self._counts.append(counts[column])
            # What has no other of its value makes no pair and no variance.
            self._rows.append(np.flatnonzero(counts[column] > 1))

    def codes(self, count: int, rng: np.random.Generator) -> Floats:
        """Return codes [count, D]; all that there are, if they are not more."""
        if count >= len(self._codes):
            return self._codes
        return self._codes[rng.choice(len(self._codes), count, replace=False)]

    def fixed(self, factor: Integers, size: int, rng: np.random.Generator) -> Floats:
        """Return codes [B, size, D]: in each of B batches all share a value of ``factor[b]``."""
        found = np.empty((len(factor), size, self._codes.shape[1]))
        for k, mine in _by_factor(factor):
            like = rng.choice(self._rows[k], (len(mine), 1))
            found[mine] = self._codes[self._same(k, like, rng.random((len(mine), size)))]
        return found

    def pairs(self, factor: Integers, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return codes [B, size, D] twice: one and the other share each its value of the factor."""
        first = np.empty((len(factor), size, self._codes.shape[1]))
        second = np.empty_like(first)
        for k, mine in _by_factor(factor):
            rows = rng.choice(self._rows[k], (len(mine), size))
            first[mine] = self._codes[rows]
            second[mine] = self._codes[self._other(k, rows, rng.random(rows.shape))]
        return first, second

    def _same(self, k: int, rows: Integers, share: npt.NDArray[np.float64]) -> Integers:
        """Return rows with the same value of factor k, uniform as `share` is."""
        places = self._starts[k][rows] + (share * self._counts[k][rows]).astype(np.int64)
        found: Integers = self._orders[k][places]
        return found

    def _other(self, k: int, rows: Integers, share: npt.NDArray[np.float64]) -> Integers:
        """Return other rows with the same value of factor k."""
        start, count = self._starts[k][rows], self._counts[k][rows]
        place = np.empty(len(self._codes), np.int64)
        place[self._orders[k]] = np.arange(len(place))
        further = 1 + (share * (count - 1)).astype(np.int64)
        found: Integers = self._orders[k][start + (place[rows] - start + further) % count]
        return found


class Fresh:
    """Images made for each draw, and encoded.

    Args:
        images: a function of factors [B, K] to images [B, *data].
        encode: a function of images to codes [B, D].
        sizes: how many values each factor has; they are independent and uniform.

    Raises:
        ValueError: for fewer than two factors that vary.

    Example:
        >>> shapes = tfvae.shapes.Shapes(16)
        >>> brightness = lambda x: x.reshape(len(x), -1).mean(axis=1, keepdims=True)
        >>> sampler = tfvae.disentanglement.Fresh(shapes.images, brightness, shapes.sizes)
        >>> sampler.codes(5, np.random.default_rng(0)).shape
        (5, 1)
    """

    def __init__(
        self,
        images: Callable[[Integers], Any],
        encode: Callable[[Any], Any],
        sizes: Sequence[int],
    ) -> None:
        if len(sizes) < 2 or min(sizes) < 2:
            raise ValueError(
                "Expected `sizes` of at least two factors, each with at least two values. "
                f"Received: sizes={tuple(sizes)}."
            )
        self.factors = len(sizes)
        self._images, self._encode = images, encode
        self._sizes = np.array(sizes)

    def codes(self, count: int, rng: np.random.Generator) -> Floats:
        """Return codes [count, D] of examples of any factors."""
        return self._encoded(self._drawn((count,), rng))

    def fixed(self, factor: Integers, size: int, rng: np.random.Generator) -> Floats:
        """Return codes [B, size, D]: in each of B batches all share a value of ``factor[b]``."""
        rows = self._drawn((len(factor), size), rng)
        each = np.arange(len(factor))
        rows[each, :, factor] = rows[each, :1, factor]
        return self._encoded(rows)

    def pairs(self, factor: Integers, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return codes [B, size, D] twice: one and the other share each its value of the factor."""
        first, second = (self._drawn((len(factor), size), rng) for _ in range(2))
        each = np.arange(len(factor))
        second[each, :, factor] = first[each, :, factor]
        return self._encoded(first), self._encoded(second)

    def _drawn(self, shape: tuple[int, ...], rng: np.random.Generator) -> Integers:
        return rng.integers(0, self._sizes, (*shape, len(self._sizes)))

    def _encoded(self, factors: Integers) -> Floats:
        rows = factors.reshape(-1, len(self._sizes))
        parts = [
            checked_codes(self._encode(self._images(rows[start : start + ROWS])))
            for start in range(0, len(rows), ROWS)
        ]
        return np.concatenate(parts).reshape(*factors.shape[:-1], -1)


def _by_factor(factor: Integers) -> list[tuple[int, Integers]]:
    return [(int(k), np.flatnonzero(factor == k)) for k in np.unique(factor)]
