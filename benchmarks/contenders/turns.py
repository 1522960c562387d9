"""Contenders in turns, and what is said of them."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from contenders import Task
from contenders.process import Block, Contender, ContenderError

HEAD = ("model", "against", "ours, samples/s", "other", "speed-up", "aim", "verdict")


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison: median samples per second, and the quartiles of their ratio."""

    task: str
    against: str
    ours: float
    other: float
    lower: float
    speedup: float
    upper: float
    aim: float | None

    @classmethod
    def of_rates(
        cls,
        task: str,
        against: str,
        ours: Sequence[float],
        other: Sequence[float],
        aim: float | None,
    ) -> Row:
        """Compare samples per second, round by round."""
        ratios = [mine / theirs for mine, theirs in zip(ours, other, strict=True)]
        quartiles = statistics.quantiles(ratios, method="inclusive")
        medians = (statistics.median(rates) for rates in (ours, other))
        return cls(task, against, *medians, *quartiles, aim)

    @property
    def verdict(self) -> str:
        """Whether the aim is met, if the middle half of the rounds agrees."""
        if self.aim is None:
            return ""
        if self.lower >= self.aim:
            return "met"
        return "missed" if self.upper < self.aim else "within the noise"

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, under `HEAD`."""
        ratio = f"{self.speedup:.2f} ({self.lower:.2f} to {self.upper:.2f})"
        aim = "" if self.aim is None else f"{self.aim}"
        rates = (f"{self.ours:,.0f}", f"{self.other:,.0f}")
        return (self.task, self.against, *rates, ratio, aim, self.verdict)


def in_turns(
    entries: Mapping[str, tuple[str, Task]], data: Path | Mapping[str, Path], rounds: int
) -> dict[str, list[Block]]:
    """Let contenders take turns, in an order that rotates; who fails is left out, with a word.

    Args:
        entries: of what each is called here, which contender it is, and its task.
        data: what they are given, or what each is given.
        rounds: how many count. One more warms up.

    Returns:
        The blocks of each, one a round.
    """
    blocks: dict[str, list[Block]] = {label: [] for label in entries}
    with contextlib.ExitStack() as stack:
        running = {
            label: stack.enter_context(
                Contender(name, task, data if isinstance(data, Path) else data[label])
            )
            for label, (name, task) in entries.items()
        }
        for number in range(rounds + 1):
            labels = list(running)
            turn = number % len(labels)
            for label in labels[turn:] + labels[:turn]:
                try:
                    blocks[label].append(running[label].run())
                except ContenderError as error:
                    print(f"{entries[label][1].name}: {label} failed: {error}", flush=True)
                    del running[label], blocks[label]
    return {label: each[1:] for label, each in blocks.items()}


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *body)]
