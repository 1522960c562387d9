"""Where a distribution puts its mass: what data and latents are checked against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt


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
            axes that are positive and sum to 1.
        open: whether the end points are left out.
        moving: draws lie in a smaller interval, whose ends the network sets.

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
    kind: Literal["interval", "integers", "simplex"] = "interval"
    open: bool = False
    moving: bool = False

    REAL: ClassVar[Support]
    POSITIVE: ClassVar[Support]
    NONNEGATIVE: ClassVar[Support]
    UNIT: ClassVar[Support]
    OPEN_UNIT: ClassVar[Support]
    MOVING: ClassVar[Support]
    BINARY: ClassVar[Support]
    COUNTS: ClassVar[Support]
    SIMPLEX: ClassVar[Support]

    @classmethod
    def above(cls, low: float) -> Support:
        """Return the real numbers from `low` on."""
        return cls(f"[{low:g}, inf)", low=low)

    @classmethod
    def integers(cls, high: int) -> Support:
        """Return the integers from 0 to `high`."""
        return cls(f"the integers 0 to {high}", 0.0, float(high), "integers")

    @property
    def discrete(self) -> bool:
        """Whether the base measure counts points."""
        return self.kind == "integers"

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest interval that contains the support."""
        return self.low, self.high

    def __le__(self, other: Support) -> bool:
        """Whether this set, with its base measure, is contained in the other's."""
        within = other.low <= self.low and self.high <= other.high
        # The ends of a moving interval are not known here: nothing is known to lie in it.
        return self == other or (self.kind == other.kind and within and not other.moving)

    def __lt__(self, other: Support) -> bool:
        """Whether this set is contained in the other's and misses a part of it."""
        return self <= other and not other <= self

    def outside(self, values: npt.ArrayLike) -> int:
        """Count the values that are not in the support; NaN never is."""
        array = np.asarray(values)
        inside = np.isfinite(array)
        if self.open:
            inside &= (array > self.low) & (array < self.high)
        else:
            inside &= (array >= self.low) & (array <= self.high)
        if self.kind == "integers":
            inside &= np.where(inside, array, 0.5) % 1 == 0
        if self.kind == "simplex":
            total = np.sum(array, axis=-1, keepdims=True, dtype=np.float64)
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
