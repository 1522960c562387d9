"""Progress of training: a line for each epoch, and a bar on a terminal.

On standard error, so that standard output holds results alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

# Of long trainings not every epoch gets a line.
_LINES = 25
_COLUMNS = ("elbo", "log_likelihood", "kl", "perplexity", "val_elbo")


class Progress:
    """Shows epochs as they pass; its methods are Keras callbacks.

    Args:
        epochs: how many there will be.
        steps: steps in each.
        bar: where to show the running epoch.
        examples: how many there are in an epoch.
    """

    def __init__(self, epochs: int, steps: int, bar: Bar, examples: int) -> None:
        self._epochs = epochs
        self._steps = steps
        self._every = math.ceil(epochs / _LINES)
        self._bar = bar
        self._task = bar.add_task("starting", total=epochs * steps)
        self._done = 0
        self._examples = examples
        self._printed = False
        self._started = self._epoch_started = time.monotonic()

    def begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch: not the first, where a run is resumed."""
        self._done = epoch
        self._epoch_started = time.monotonic()

    def step(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Advance the bar."""
        share = (batch + 1) / self._steps
        rate = share * self._examples / max(time.monotonic() - self._epoch_started, 1e-9)
        elbo = f"  elbo {float(logs['elbo']):.1f}" if logs and "elbo" in logs else ""
        self._bar.update(
            self._task,
            completed=self._done * self._steps + batch + 1,
            description=f"epoch {self._done + 1}/{self._epochs}{elbo}  {rate:,.0f} examples/s",
        )

    def epoch(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Print a line."""
        self._done = epoch + 1
        logs = logs or {}
        # Without an ELBO, as of an autoencoder, the loss is what there is to watch.
        columns = _COLUMNS if "elbo" in logs else ("loss", "log_likelihood", "val_loss")
        names = [name for name in columns if name in logs]
        now = time.monotonic()
        rate = f"{self._examples / max(now - self._epoch_started, 1e-9):,.0f}"
        self._epoch_started = now
        widths = [5, *map(len, names), 7, 10]
        if not self._printed:
            self._print(["epoch", *names, "seconds", "examples/s"], widths)
        if self._done % self._every == 0 or self._done == self._epochs or not self._printed:
            numbers = [f"{float(logs[name]):.2f}" for name in names]
            seconds = f"{now - self._started:.1f}"
            self._print([str(self._done), *numbers, seconds, rate], widths)
        self._printed = True

    def _print(self, cells: list[str], widths: list[int]) -> None:
        line = "  ".join(
            cell.rjust(max(8, width)) for cell, width in zip(cells, widths, strict=True)
        )
        self._bar.console.print(line, highlight=False, soft_wrap=True)


def announce(line: str) -> None:
    """Print a line above the progress."""
    console = Console(stderr=True, markup=False, emoji=False)
    console.print(line, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def show_progress(epochs: int, steps: int, show: bool, examples: int) -> Iterator[Progress | None]:
    """Show progress within a block, or not."""
    if not show:
        yield None
        return
    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=4,
        disable=not console.is_terminal,
    )
    with bar:
        yield Progress(epochs, steps, bar, examples)
