"""What scores share that fit something: a split, silence about convergence, news of progress."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tfvae.disentanglement.checking import (
    FactorsError,
    Floats,
    Integers,
    check_lengths,
    checked_codes,
    numbered,
)

Report = Callable[[int, int], object]

HELD_OUT = 3
"""One of so many is a test."""


class Split(NamedTuple):
    """Codes and factors to fit to, and others to test with; values are numbered alike.

    Attributes:
        codes: [N, D].
        factors: [N, K].
        test_codes: [M, D].
        test_factors: [M, K].
    """

    codes: Floats
    factors: Integers
    test_codes: Floats
    test_factors: Integers

    @property
    def scaled(self) -> tuple[Floats, Floats]:
        """Both codes, each dimension with mean 0 and variance 1 in what is fitted to."""
        mean, deviation = self.codes.mean(axis=0), self.codes.std(axis=0)
        # A constant is at its mean up to rounding.
        deviation[deviation <= 1e-12 * np.abs(mean)] = 1.0
        return (self.codes - mean) / deviation, (self.test_codes - mean) / deviation


def split(codes: Any, factors: Any, test: tuple[Any, Any] | None, seed: int) -> Split:
    """Return what is fitted to and what is tested with: given, or two thirds and one.

    A value that is there in the test set alone cannot be told: it counts as a mistake wherever it
    is tested, as in disentanglement_lib.

    Raises:
        ValueError: for what :func:`checked` refuses, and a test set of other dimensions.
        FactorsError: for a factor that is constant in either.
    """
    found = checked_codes(codes)
    if test is None:
        values = numbered(factors)
        check_lengths(found, values, 2 * HELD_OUT)
        order = generator(seed, 0).permutation(len(found))
        cut = len(found) // HELD_OUT
        tests, seen = order[:cut], order[cut:]
        return _varied(Split(found[seen], values[seen], found[tests], values[tests]))
    others = checked_codes(test[0])
    # Together, so that a value has one number.
    seen_values, test_values = np.asarray(factors), np.asarray(test[1])
    if seen_values.shape[1:] != test_values.shape[1:] or found.shape[1:] != others.shape[1:]:
        raise ValueError(
            f"Expected `test` to be codes and factors like those before. Received: codes "
            f"{others.shape} and factors {test_values.shape} beside {found.shape} and "
            f"{seen_values.shape}."
        )
    values = numbered(np.concatenate([seen_values, test_values]))
    cut = len(seen_values)
    seen, tests = values[:cut], values[cut:]
    check_lengths(found, seen)
    check_lengths(others, tests)
    return _varied(Split(found, seen, others, tests))


def _varied(both: Split) -> Split:
    for what, factors in (("is fitted to", both.factors), ("is tested with", both.test_factors)):
        for k, column in enumerate(factors.T):
            if (column == column[0]).all():
                raise FactorsError(
                    f"Expected factors that vary in what {what}. Received: factor {k}, which is "
                    "constant there. Take more examples, or leave it out."
                )
    return both


def generator(seed: int, stream: int) -> np.random.Generator:
    """Return random numbers that are a function of a seed and a stream.

    Raises:
        ValueError: unless the seed is a whole number that is not negative.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ValueError(
            f"Expected seed to be an integer from 0 to 2**63 - 1. Received: seed={seed!r}; "
            "pass one."
        )
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], np.uint64)))


def state(seed: int) -> int:
    """Return a seed as scikit-learn takes it."""
    return int(generator(seed, 9).integers(2**31))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out what scikit-learn says of fits that are near enough, and threads that only wait."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def reported(progress: Report | None, total: int) -> Callable[[], None]:
    """Return what counts the steps of work, and tells of them."""
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return report
