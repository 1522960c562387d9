"""Where a distribution puts its mass: what data and latents are checked against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tfvae.text.tokeniser import EOS, PAD

_PART = 1 << 16  # values


@dataclass(frozen=True)
class Support:
    """The set of values a distribution layer can produce, element by element.

    ``Support.UNIT <= Support.REAL`` reads "is contained in", up to end points, on which no
    density puts mass. Sets of different kinds carry different base measures and are never
    contained in one another: a density on one says nothing of the other.

    Attributes:
        value: the set in words, for messages.
        low: the least value.
        high: the greatest value.
        kind: ``"interval"`` has lengths, ``"integers"`` counts points, ``"simplex"`` holds last
            axes that are positive and sum to 1, ``"one-hot"`` its corners, ``"sphere"`` last axes
            of unit length, ``"codes"`` the rows of a codebook, ``"levels"`` evenly spaced values
            such as the grey levels of an image, ``"tokens"`` last axes that are sentences.
        open: whether the end points are left out.
        moving: draws lie in a smaller interval, whose ends the network sets.
        points: how many ``"levels"`` there are.

    Example:
        >>> from tfvae.layers import Support
        >>> Support.UNIT <= Support.REAL, Support.BINARY <= Support.UNIT
        (True, False)
        >>> Support.above(2.0) < Support.POSITIVE
        True
    """

    value: str
    low: float = -math.inf
    high: float = math.inf
    kind: Literal[
        "interval", "integers", "simplex", "one-hot", "sphere", "codes", "levels", "tokens"
    ] = "interval"
    open: bool = False
    moving: bool = False
    points: int = 0

    REAL: ClassVar[Support]
    POSITIVE: ClassVar[Support]
    NONNEGATIVE: ClassVar[Support]
    UNIT: ClassVar[Support]
    OPEN_UNIT: ClassVar[Support]
    MOVING: ClassVar[Support]
    BINARY: ClassVar[Support]
    COUNTS: ClassVar[Support]
    SIMPLEX: ClassVar[Support]
    ONE_HOT: ClassVar[Support]
    SPHERE: ClassVar[Support]
    CODES: ClassVar[Support]

    @classmethod
    def above(cls, low: float) -> Support:
        """Return the real numbers from `low` on."""
        return cls(f"[{low:g}, inf)", low=low)

    @classmethod
    def integers(cls, high: int) -> Support:
        """Return the integers from 0 to `high`."""
        return cls(f"the integers 0 to {high}", 0.0, float(high), "integers")

    @classmethod
    def levels(cls, points: int) -> Support:
        """Return the `points` evenly spaced values from 0 to 1, such as 256 grey levels."""
        value = f"the {points} levels 0, 1/{points - 1}, ..., 1"
        return cls(value, 0.0, 1.0, "levels", points=points)

    @classmethod
    def tokens(cls, vocabulary: int) -> Support:
        """Return rows of tokens below `vocabulary`, up to an <eos>, and <pad> after it."""
        value = (
            f"rows of tokens from {EOS} to {vocabulary - 1}, up to the first {EOS} (<eos>), with "
            f"{PAD} (<pad>) after it"
        )
        return cls(value, float(PAD), float(vocabulary - 1), "tokens")

    @property
    def discrete(self) -> bool:
        """Whether the base measure counts points."""
        return self.kind in ("integers", "one-hot", "codes", "levels", "tokens")

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest interval that contains the support."""
        return self.low, self.high

    def __le__(self, other: Support) -> bool:
        """Whether this set, with its base measure, is contained in the other's."""
        within = other.low <= self.low and self.high <= other.high
        # The ends of a moving interval are not known here: nothing is known to lie in it.
        alike = self.kind == other.kind and self.points == other.points
        return alike and within and not other.moving

    def __lt__(self, other: Support) -> bool:
        """Whether this set is contained in the other's and misses a part of it."""
        return self <= other and not other <= self

    def outside(self, values: npt.ArrayLike) -> int:
        """Count the values that are not in the support; NaN never is."""
        array = np.atleast_1d(np.asarray(values))
        # Parts that stay in the processor's cache: some five times as fast as the whole at once.
        rows = max(1, _PART // max(1, array[:1].size))
        return sum(
            self._outside(array[start : start + rows]) for start in range(0, len(array), rows)
        )

    def _outside(self, array: npt.NDArray[Any]) -> int:
        if (self.kind, self.low, self.high) == ("integers", 0.0, 1.0):
            return int(array.size - np.count_nonzero((array == 0) | (array == 1)))
        inside = np.isfinite(array)
        if self.open:
            inside &= (array > self.low) & (array < self.high)
        else:
            inside &= (array >= self.low) & (array <= self.high)
        if self.kind in ("integers", "one-hot", "tokens"):
            inside &= np.rint(array) == array
        if self.kind == "tokens":
            ends = array == EOS
            ended = np.cumsum(ends, axis=-1) - ends > 0
            inside &= np.where(ended, array == PAD, array >= EOS)
        if self.kind == "levels":
            steps = np.where(inside, array, 0.0).astype(np.float64) * (self.points - 1)
            # Of a step, and what rounding to float32 can move a value by.
            slack = 1e-4 + 1e-7 * (self.points - 1)
            inside &= np.abs(steps - np.rint(steps)) < slack
        if self.kind in ("simplex", "one-hot", "sphere"):
            power = array**2 if self.kind == "sphere" else array
            total = np.sum(power, axis=-1, keepdims=True, dtype=np.float64)
            inside &= np.abs(total - 1.0) < 1e-4
        return int(array.size - np.count_nonzero(inside))

    def check(self, values: npt.ArrayLike, argument: str = "x", fix: str = "") -> None:
        """Raise a ``ValueError`` that says what was expected unless every value is inside.

        Args:
            values: the array to check.
            argument: its name, for the message.
            fix: what to do about it, for the message.
        """
        array = np.asarray(values)
        wrong = self.outside(array)
        if not wrong:
            return
        broken = array.size - int(np.count_nonzero(np.isfinite(array)))
        if broken:
            raise ValueError(
                f"Expected `{argument}` to be finite. Received: {broken} of {array.size} values "
                "are NaN or infinite. Drop or impute them before training."
            )
        raise ValueError(
            f"Expected the values of `{argument}` to lie in {self.value}. Received: {wrong} of "
            f"{array.size} values outside, in a range from {array.min():.6g} to "
            f"{array.max():.6g}." + (f" {fix}" if fix else "")
        )


Support.REAL = Support("real numbers")
Support.POSITIVE = Support("the positive numbers", low=0.0, open=True)
Support.NONNEGATIVE = Support("[0, inf)", low=0.0)
Support.UNIT = Support("[0, 1]", 0.0, 1.0)
Support.OPEN_UNIT = Support("(0, 1)", 0.0, 1.0, open=True)
Support.MOVING = Support("an interval of real numbers that the network sets", moving=True)
Support.BINARY = Support("{0, 1}", 0.0, 1.0, "integers")
Support.COUNTS = Support("the counts 0, 1, 2, ...", low=0.0, kind="integers")
Support.SIMPLEX = Support(
    "the simplex (positive values that sum to 1 over the last axis)", 0.0, 1.0, "simplex", open=True
)
Support.ONE_HOT = Support("one-hot vectors along the last axis", 0.0, 1.0, "one-hot")
Support.SPHERE = Support("the unit sphere along the last axis", -1.0, 1.0, "sphere")
Support.CODES = Support("the rows of a codebook", kind="codes")
