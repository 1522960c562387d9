"""Contenders that take turns, and what is said of them: shared by benchmarks of ratios.

Each contender of a question runs for a while after a pause in which threads of the one before go
to sleep, round after round. A ratio is the median over rounds of the ratio within a round, so
that what slows the machine for a while slows both.
"""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfvae.export.manifest import package_versions

Call = Callable[[], object]

PAUSE = 0.03  # seconds
COLUMNS = ("question", "of", "against", "ours ms", "other ms", "ratio", "aim", "verdict")
WIDTHS = (12, 16, 15, 9, 9, 21, 5, 0)


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: milliseconds a call of ours and of the other, and their ratio's quartiles."""

    question: str
    of: str
    against: str
    ours: float
    other: float
    ratio: float
    lower: float
    upper: float
    aim: float

    @classmethod
    def of_times(
        cls, times: Sequence[Sequence[float]], question: str, of: str, against: str, aim: float
    ) -> Row:
        """Compare, of each round, the first contender's seconds with the sum of the others'."""
        sums = [(first, sum(rest)) for first, *rest in times]
        ours, other = (1e3 * statistics.median(each) for each in zip(*sums, strict=True))
        ratios = [first / rest for first, rest in sums]
        lower, ratio, upper = statistics.quantiles(ratios, method="inclusive")
        return cls(question, of, against, ours, other, ratio, lower, upper, aim)

    @property
    def verdict(self) -> str:
        """Whether the aim is met, if the middle half of the rounds agrees."""
        if self.upper <= self.aim:
            return "met"
        return "missed" if self.lower > self.aim else "within the noise"

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        ratio = f"{self.ratio:.2f} ({self.lower:.2f} to {self.upper:.2f})"
        times = (f"{self.ours:.3f}", f"{self.other:.3f}")
        return (self.question, self.of, self.against, *times, ratio, f"{self.aim}", self.verdict)

    def __str__(self) -> str:
        """Return a line for a terminal."""
        pairs = zip(self.cells, WIDTHS, strict=True)
        return " ".join(cell.ljust(width) for cell, width in pairs)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    for cells in (COLUMNS, ("---",) * len(COLUMNS), *(row.cells for row in rows)):
        yield f"| {' | '.join(cells)} |"


def in_turns(calls: Sequence[Call], rounds: int, block: float) -> list[tuple[float, ...]]:
    """Return for each round the seconds that one call of each took."""
    repeats = []
    for call in calls:
        for _ in range(3):
            started = time.perf_counter()
            call()
        repeats.append(max(1, math.ceil(block / (time.perf_counter() - started))))
    return [
        tuple(mean_time(call, n) for call, n in zip(calls, repeats, strict=True))
        for _ in range(rounds)
    ]


def mean_time(call: Call, repeats: int) -> float:
    time.sleep(PAUSE)
    call()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def describe_machine() -> dict[str, Any]:
    """Describe what the figures belong to, and how busy it is before they are taken."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [text for text in info.read_text().splitlines() if text.startswith("model name")]
        cpu = names[0].partition(": ")[2] if names else cpu
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    cores = os.cpu_count()
    return {"cpu": cpu, "cores": cores, "load": load, "versions": package_versions()}
