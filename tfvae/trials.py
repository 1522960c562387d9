"""What a sweep has found: its trials, ranked, and their table on disk."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfvae import files
from tfvae.run_config import RunError, read_text
from tfvae.runs import Run

DOCUMENT, TABLE = "sweep.json", "sweep.csv"
MEASURES = ("val_elbo", "elbo", "val_loss", "loss")
"""What trials are ranked by: the first of these that all complete ones have."""


@dataclass(frozen=True)
class Trial:
    """One combination of a sweep.

    Attributes:
        values: what was swept: an option's name to its value.
        path: the run folder.
        status: ``"pending"``, ``"complete"`` or ``"failed"``.
        epochs: completed epochs.
        seconds: that they took.
        figures: each column of the history in the last epoch.
        message: why it failed.
    """

    values: dict[str, Any]
    path: Path
    status: str = "pending"
    epochs: int = 0
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    message: str = ""

    @classmethod
    def of(cls, values: dict[str, Any], run: Run) -> Trial:
        """Return the trial of a run that is complete.

        Raises:
            RunError: if its history is lost.
        """
        run.check_history()
        last = {name: column[-1] for name, column in run.history.items() if name != "seconds"}
        seconds = round(sum(run.history.get("seconds", ())), 3)
        return cls(values, run.path, run.status, run.epochs, seconds, last)

    @property
    def run(self) -> Run:
        """The run, loaded."""
        return Run.load(self.path)


@dataclass(frozen=True)
class Sweep:
    """What a sweep has found so far. Made by :func:`tfvae.sweep.sweep` and :meth:`load`.

    Attributes:
        path: the folder.
        trials: of all combinations, best first; those that are not complete come last.
    """

    path: Path
    trials: tuple[Trial, ...]

    @property
    def measure(self) -> str:
        """What the trials are ranked by, one of `MEASURES`: the highest ELBO, the lowest loss."""
        return measure(self.trials)

    @property
    def best(self) -> Trial:
        """The best trial.

        Raises:
            RunError: if none is complete.
        """
        if not self.trials or self.trials[0].status != "complete":
            raise RunError(
                f"Expected a complete run in {self.path}. Received: none yet. "
                "Start the sweep again, or see why its runs failed in sweep.csv."
            )
        return self.trials[0]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sweep:
        """Read a sweep's folder, at any time after it was started.

        Raises:
            FileNotFoundError: if there is no sweep.
            RunError: if its table is damaged.
        """
        folder = Path(path)
        text = read_text(folder / DOCUMENT)
        try:
            trials = tuple(_trial(folder, row) for row in json.loads(text)["trials"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"Expected {folder / DOCUMENT} of a sweep. It is damaged.") from error
        return cls(folder, trials)

    def write(self) -> None:
        """Replace both forms of the table."""
        rows = [_row(trial) for trial in self.trials]
        files.replace_json(self.path / DOCUMENT, {"measure": self.measure, "trials": rows})
        flat = [
            {name: value for name, value in row.items() if name not in ("values", "figures")}
            | {name: written(value) for name, value in row["values"].items()}
            | row["figures"]
            for row in rows
        ]
        names = dict.fromkeys(itertools.chain(["run"], *(t.values for t in self.trials), *flat))
        text = io.StringIO()
        table = csv.DictWriter(text, [*names], lineterminator="\n")
        table.writeheader()
        table.writerows(flat)
        files.replace_text(self.path / TABLE, text.getvalue())


def measure(trials: Iterable[Trial]) -> str:
    """Return the first of `MEASURES` that all complete trials have."""
    done = [trial.figures for trial in trials if trial.status == "complete"]
    common = (name for name in MEASURES if done and all(name in figures for figures in done))
    return next(common, MEASURES[-1])


def ranked(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Return trials best first; then those without a finite figure, then those not complete."""
    given = tuple(trials)
    name = measure(given)
    sign = 1 if name.endswith("loss") else -1

    def rank(trial: Trial) -> tuple[int, float]:
        value = trial.figures.get(name, math.nan)
        if trial.status != "complete":
            return 2, 0.0
        return (0, sign * value) if math.isfinite(value) else (1, 0.0)

    return tuple(sorted(given, key=rank))


def written(value: Any) -> str:
    """Write a value as the command line takes it, several joined by an x.

    Example:
        >>> written(4.0), written(1e-05), written((512, 256))
        ('4', '1e-05', '512x256')
    """
    if isinstance(value, tuple):
        return "x".join(map(written, value))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "run": trial.path.name,
        "values": trial.values,
        "status": trial.status,
        "epochs": trial.epochs,
        "seconds": trial.seconds,
        "figures": {
            name: value if math.isfinite(value) else None for name, value in trial.figures.items()
        },
        "message": trial.message,
    }


def _trial(folder: Path, row: dict[str, Any]) -> Trial:
    figures = {
        name: math.nan if value is None else float(value) for name, value in row["figures"].items()
    }
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in row["values"].items()
    }
    kept = {name: row[name] for name in ("status", "epochs", "seconds", "message")}
    return Trial(values, folder / row["run"], figures=figures, **kept)
