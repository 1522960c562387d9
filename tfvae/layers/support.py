"""Where a distribution puts its mass: what data and latents are checked against."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt


class Support(enum.Enum):
    """The set of values a distribution layer can produce, element by element.

    ``Support.UNIT <= Support.REAL`` reads "is contained in". Discrete sets carry a counting
    measure and are never contained in a continuous one: a density on one says nothing of the
    other.

    Example:
        >>> Support.UNIT <= Support.REAL, Support.BINARY <= Support.UNIT
        (True, False)
    """

    REAL = "real numbers"
    UNIT = "[0, 1]"
    BINARY = "{0, 1}"

    @property
    def discrete(self) -> bool:
        """Whether the base measure counts points."""
        return self is Support.BINARY

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest interval that contains the support."""
        return (-np.inf, np.inf) if self is Support.REAL else (0.0, 1.0)

    def __le__(self, other: Support) -> bool:
        """Whether this set, with its base measure, is contained in the other's."""
        return self is other or (self is Support.UNIT and other is Support.REAL)

    def outside(self, values: npt.ArrayLike) -> int:
        """Count the values that are not in the support; NaN never is."""
        array = np.asarray(values)
        if self is Support.REAL:
            inside = np.isfinite(array)
        elif self is Support.UNIT:
            inside = (array >= 0) & (array <= 1)
        else:
            inside = (array == 0) | (array == 1)
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
