"""What is asked of a report or a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Say = Callable[[str], object]


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        samples: importance samples of each example.
        limit: only the first examples of the test set.
        seed: of everything random.
        data: where the data is now, if it has moved.
        weights: which of the run's.
        kinds: which pictures, of `tfvae.pictures.KINDS`; all by default.
        metrics: which measurements, of `tfvae.evaluate.MEASUREMENTS`, beside the bound; by default
            all but `SLOW`.
        progress: show progress, on standard error.
        say: where lines of text go.
    """

    samples: int = 100
    limit: int | None = None
    seed: int = 0
    data: str | None = None
    weights: str = "last"
    kinds: Sequence[str] | None = None
    metrics: str | Sequence[str] | None = None
    progress: bool = False
    say: Say = lambda line: None
