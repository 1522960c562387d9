"""What a model makes of a test set: the bound, example by example, and all other measurements."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tfvae
from tfvae import markup
from tfvae.evaluate.measuring import LEARNED, Measures, check_names, learns, measure
from tfvae.evaluate.results import Row
from tfvae.examples import Examples, some
from tfvae.reporting.request import Request
from tfvae.sources import DataError

if TYPE_CHECKING:
    from tfvae.data import Dataset
    from tfvae.evaluate import PerExample
    from tfvae.records import Records

SLOW = ("ais", "calibration")
"""What a report measures only where it is asked for: it takes minutes."""

REFUSALS = (ValueError, TypeError, NotImplementedError)
"""How what has no meaning for a model is refused: the reason is shown in its place."""

NOTHING = Measures({}, {}, 0, 0)


@dataclass(frozen=True)
class Scored:
    """What a model makes of a test set.

    Attributes:
        examples: how many.
        per_example: the bound and its terms of each, or None.
        problem: why there are none.
        judged: what `vae.evaluate` says, where there is no bound.
        measured: everything else.
    """

    examples: int
    per_example: PerExample | None
    problem: str = ""
    judged: dict[str, float] = field(default_factory=dict)
    measured: Measures = NOTHING

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Figures for a table: their names, their values with their errors, what they are."""
        found: dict[str, Any] = dict(self.judged)
        if self.per_example is not None:
            means = self.per_example.means()
            found |= means._asdict()
            found["log_marginal"] = markup.with_error(means.log_marginal, means.log_marginal_error)
            for name in ("log_marginal_error", "examples", "samples"):
                del found[name]
            if len(means.kl_per_latent) == 1:
                del found["kl_per_latent"]
        first = [
            (name, markup.number(value), markup.MEANINGS.get(name, ""))
            for name, value in found.items()
        ]
        rows = [row for each in self.measured.rows().values() for row in each]
        return first + [(row.name, _written(row), row.meaning) for row in rows]

    @property
    def figures(self) -> dict[str, Any]:
        """Every figure by its name."""
        found: dict[str, Any] = dict(self.judged)
        if self.per_example is not None:
            found |= self.per_example.means()._asdict()
        rows = [row for each in self.measured.rows().values() for row in each]
        return found | {row.name: row.value for row in rows if row.name}


def _written(row: Row) -> str:
    if isinstance(row.value, float) and row.error is not None:
        return markup.with_error(row.value, row.error)
    return markup.number(row.value)


def part(dataset: Dataset, request: Request) -> Examples | Records:
    """Return the examples of the test set that are asked for, read once.

    Where they are too many for the memory they stay on disk: some measurements stream them, and
    others say that they cannot.

    Raises:
        DataError: if even so many as are asked for cannot be read.
    """
    test = dataset.test
    if isinstance(test, Examples):
        return test if request.limit is None else test.take(min(request.limit, len(test)))
    try:
        return test.examples(request.limit)
    except DataError:
        if request.limit is not None:
            raise
        return test


def score(model: tfvae.VAE, test: Any, dataset: Dataset, request: Request) -> Scored:
    """Measure what there is to measure of a model on a test set.

    Args:
        model: the model.
        test: what it is measured on.
        dataset: whose training examples are read where something is fitted to them.
        request: what was asked for.
    """
    from tfvae import evaluate

    request.say(f"Evaluating {len(test):,} test examples …")
    found, problem, judged = None, "", {}
    try:
        found = evaluate.per_example(
            model, test, request.samples, request.seed, progress=request.progress
        )
    except REFUSALS as error:
        problem = str(error)
        with contextlib.suppress(*REFUSALS):
            judged = model.evaluate(test, verbose=0, return_dict=True)
    results: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    train = None
    for name in names(request):
        request.say(f"Measuring {name} …")
        try:
            if train is None and learns(name):
                train = some(dataset.train, LEARNED)
            one = measure(
                model,
                test,
                [name],
                train=train,
                samples=request.samples,
                seed=request.seed,
                progress=request.progress,
            )
            results |= one.results
        except REFUSALS as error:
            left_out[name] = str(error)
    measured = Measures(results, left_out, len(test), request.seed)
    return Scored(len(test), found, problem, judged, measured)


def names(request: Request) -> tuple[str, ...]:
    """Return what is measured beside the bound, which is measured example by example.

    Raises:
        ValueError: for names of nothing.
    """
    asked = check_names("all" if request.metrics is None else request.metrics)
    skipped = {"bound", *(SLOW if request.metrics is None else ())}
    return tuple(name for name in asked if name not in skipped)
