"""How the outputs of two runtimes are held against each other.

One function for each key of ``COMPARISONS``, which is what the manifest says of an output. Loaded
by its path in a process that has no tfvae: it imports the standard library and NumPy alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Of the output's scale. A float32 network of depth L and width n errs by about sqrt(L n) 6e-8 of
# its scale, whatever the order of summation: for L n = 10,000 that is 6e-6.
TOLERANCE = 1e-5

Arrays = dict[str, np.ndarray]
# Of an output's name, what a runtime computed, what Keras did, and the tolerance: a verdict. Of
# sums also the slack, in the output's own units.
Comparison = Callable[..., dict[str, Any]]


def repeated(arrays: Arrays, batch: int) -> Arrays:
    """Make a batch of the recorded rows, from the first, around again where they end."""
    return {name: rows[np.arange(batch) % len(rows)] for name, rows in arrays.items()}


def judge(
    specs: Sequence[dict[str, Any]],
    recorded: Arrays,
    results: Sequence[tuple[int, Arrays]],
    tolerance: float,
) -> list[dict[str, Any]]:
    """Compare the outputs of an endpoint over all batches.

    Args:
        specs: the manifest's entries of the outputs.
        recorded: what Keras computed, rows [N, ...] by output.
        results: sizes of batches of these rows, and what a runtime computed of each.
        tolerance: how far it may be off, of an output's scale.

    Returns:
        A verdict for each output: the worst over the batches.
    """
    judged = []
    for spec in specs:
        rows = []
        for batch, outputs in results:
            expected = repeated(recorded, batch)
            row = _misshapen(spec["name"], outputs, expected, tolerance)
            if row is None:
                # Where a draw was picked otherwise, all that follows from it differs.
                same = _picked_alike(specs, spec, outputs, expected, tolerance)
                pair = (outputs[spec["name"]][same], expected[spec["name"]][same])
                # A sum may be small where its terms are not, each of which has an error of its own.
                terms = spec.get("terms")
                sums = {"slack": tolerance * math.sqrt(terms)} if terms else {}
                row = COMPARISONS[spec["compare"]](spec["name"], *pair, tolerance, **sums)
            rows.append(row)
        failed = [row for row in rows if not row["ok"]]
        judged.append(max(failed or rows, key=lambda row: row["difference"]))
    return judged


def _misshapen(
    name: str, outputs: Arrays, expected: Arrays, tolerance: float
) -> dict[str, Any] | None:
    """Refuse an output that is missing, or of another shape or dtype."""
    actual, wanted = outputs.get(name), expected[name]
    if actual is not None and (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype):
        return None
    got = "nothing" if actual is None else f"{actual.dtype} {list(actual.shape)}"
    detail = f"expected {wanted.dtype} {list(wanted.shape)}, received {got}"
    return verdict(name, math.inf, tolerance, False, detail)


def _picked_alike(
    specs: Sequence[dict[str, Any]],
    spec: dict[str, Any],
    outputs: Arrays,
    expected: Arrays,
    tolerance: float,
) -> np.ndarray:
    """Return which rows agree in every other output that is compared by rows.

    All of them for an output that is compared so itself: two would excuse each other.
    """
    same = np.ones(len(expected[spec["name"]]), bool)
    if spec["compare"] == "rows":
        return same
    for other in specs:
        name = other["name"]
        if other is not spec and other["compare"] == "rows" and name in outputs:
            close = _close(outputs[name], expected[name], tolerance)
            same &= close.reshape(len(close), -1).all(axis=1)
    return same


def _close(
    actual: np.ndarray, expected: np.ndarray, tolerance: float, slack: float = 0.0
) -> np.ndarray:
    """Whether each value is within `tolerance` of itself or of what is usual, and finite.

    Or within `slack`, which is in the output's own units.
    """
    size = np.abs(expected.astype(np.float64))
    # Heavy tails have single values that dwarf the others: they excuse no other's error.
    usual = float(np.quantile(size, 0.9)) if size.size else 0.0
    difference = np.abs(actual.astype(np.float64) - expected)
    return np.asarray(
        difference <= np.maximum(slack, tolerance * np.maximum(size, max(1.0, usual)))
    )


def _by_scale(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float, slack: float = 0.0
) -> dict[str, Any]:
    """All values within `tolerance` of the output's scale: what a network's rounding leaves."""
    if not expected.size:
        return verdict(name, 0.0, tolerance, True)
    allowed = max(slack, tolerance * max(1.0, float(np.max(np.abs(expected)))))
    difference = float(np.max(np.abs(actual.astype(np.float64) - expected)))
    return verdict(name, difference, allowed, bool(difference <= allowed))  # NaN fails


def _by_value(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
    """Each value within `tolerance` of its own size: for draws, which may be heavy-tailed."""
    off = int(np.count_nonzero(~_close(actual, expected, tolerance)))
    size = np.maximum(np.abs(expected.astype(np.float64)), 1.0)
    difference = np.abs(actual.astype(np.float64) - expected) / size
    worst = float(np.max(difference, initial=0.0))
    return verdict(name, worst, tolerance, off == 0, "relative to each value")


def _by_flips(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float, slack: float = 0.0
) -> dict[str, Any]:
    """Few values that differ by more: for draws that noise picks among values apart."""
    flips, size = int(np.count_nonzero(~_close(actual, expected, tolerance, slack))), expected.size
    allowed = allowed_flips(size, tolerance)
    detail = f"{flips} of {size} values differ"
    return verdict(name, flips / max(1, size), allowed / max(1, size), flips <= allowed, detail)


def _by_rows(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float, slack: float = 0.0
) -> dict[str, Any]:
    """Few rows that differ: for latents that noise picks, of which one changes all of a row."""
    rows = len(expected)
    close = _close(actual, expected, tolerance, slack).reshape(rows, -1).all(axis=1)
    flips, allowed = int(np.count_nonzero(~close)), allowed_flips(expected.size, tolerance)
    detail = f"{flips} of {rows} rows differ"
    return verdict(name, flips / rows, allowed / rows, flips <= allowed, detail)


def _by_levels(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
    """All values within one level of a byte, where rounding may go either way."""
    levels = _levels(tolerance)
    difference = float(np.max(np.abs(actual.astype(np.float64) - expected), initial=0.0))
    return verdict(name, difference, levels, difference <= levels, "levels of a byte")


def _of_levels(compare: Callable[..., dict[str, Any]]) -> Comparison:
    """Make a comparison for bytes that were rounded: a level more or less is no difference."""

    def by_levels(
        name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float
    ) -> dict[str, Any]:
        return compare(name, actual, expected, tolerance, _levels(tolerance))

    return by_levels


def _levels(tolerance: float) -> float:
    return max(1.0, math.ceil(255 * tolerance))


COMPARISONS: dict[str, Comparison] = {
    "scale": _by_scale,
    "values": _by_value,
    "flips": _by_flips,
    "rows": _by_rows,
    "levels": _by_levels,
    "level flips": _of_levels(_by_flips),
    "level rows": _of_levels(_by_rows),
}


def allowed_flips(size: int, rate: float = TOLERANCE, alarm: float = 1e-6) -> int:
    """Return how many of `size` discrete values may differ between two runtimes.

    A value flips where its noise falls between the two runtimes' thresholds, which are at most
    `rate` apart: the number of flips is at most Poisson(rate * size). The smallest count that
    this exceeds with probability below `alarm`.

    Example:
        >>> [allowed_flips(n) for n in (1, 1_000, 50_000, 4_000_000)]
        [1, 2, 7, 73]
    """
    mean = rate * size
    if mean > 100:  # by Cornish and Fisher's expansion, within one of the exact count
        z = statistics.NormalDist().inv_cdf(1.0 - alarm)
        return math.ceil(mean + z * math.sqrt(mean) + (z * z - 1.0) / 6.0)
    count, term = 0, math.exp(-mean)
    tail = 1.0 - term
    while tail >= alarm:
        count += 1
        term *= mean / count
        tail -= term
    return count


def verdict(
    output: str, difference: float, tolerance: float, ok: bool, detail: str = ""
) -> dict[str, Any]:
    """Return what is said of an output: the fields of ``tfvae.export.Check`` that it fills."""
    return {
        "output": output,
        "difference": difference,
        "tolerance": tolerance,
        "ok": ok,
        "detail": detail,
    }
