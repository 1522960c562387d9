"""What is asked of a model, and the lines of a table that answer it. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import tfvae

if TYPE_CHECKING:
    from tfvae.evaluate.batches import Estimate

Progress = Callable[[int, int], object]


class Row(NamedTuple):
    """A line of the table: a number with its unit, or words."""

    name: str
    value: float | int | str
    error: float | None = None
    meaning: str = ""
    digits: int = 2


def mean_row(name: str, found: Estimate, meaning: str, digits: int = 2) -> Row:
    """Return the line of a mean and its standard error."""
    return Row(name, found.mean, found.error, meaning, digits)


@dataclass(frozen=True)
class Asked:
    """What is to be measured, and with how much effort: the arguments of :func:`measure`."""

    vae: tfvae.VAE
    x: Any
    condition: Any
    train: Any
    samples: int
    seed: int
    features: Any
    weight_draws: int
    examples: int

    @property
    def given(self) -> dict[str, Any]:
        """What most functions take beside the model and the examples."""
        return {"condition": self.condition, "seed": self.seed}


@dataclass(frozen=True)
class Measurement:
    """One that can be asked for by name.

    Attributes:
        name: by which it is asked for.
        title: what it is, for progress and lists.
        run: computes a named tuple.
        rows: of that, the lines of the table.
        learns: whether something is first fitted to training data.
    """

    name: str
    title: str
    run: Callable[[Asked, bool], Any]
    rows: Callable[[Any], list[Row]]
    learns: bool = False


@contextlib.contextmanager
def bar(show: bool, title: str) -> Iterator[Progress | None]:
    """Yield what moves a progress bar, or None."""
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    # Standard output may be read by a program.
    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def undefined(reason: str) -> ValueError:
    """Return the error that what is asked for has no meaning."""
    from tfvae.evaluate.batches import UndefinedError

    return UndefinedError(reason)
