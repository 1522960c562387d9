"""Judging several runs on the same test examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfvae.examples import some
from tfvae.reporting.comparison import Comparison, Judged
from tfvae.reporting.facts import PICTURED, drawn
from tfvae.reporting.request import Request
from tfvae.reporting.scoring import part, score
from tfvae.run_config import RunError
from tfvae.runs import Run

if TYPE_CHECKING:
    from tfvae.data import Dataset

_SAME = ("binarize", "scale")


def gather(runs: Sequence[Run], request: Request) -> Comparison:
    """Judge runs on the same test examples: those of the data that all were trained on.

    Raises:
        RunError: for fewer than two runs, one that is there twice, or runs of different data
            where no data are given.
        ValueError: for data that cannot be read.
    """
    check(runs, request)
    request = dataclasses.replace(
        request,
        kinds=PICTURES if request.kinds is None else request.kinds,
        metrics=METRICS if request.metrics is None else request.metrics,
    )
    first = runs[0]
    if request.data is None:
        dataset = first.data()
    else:
        given = dataclasses.replace(first.config, data=request.data, fingerprint=None)
        dataset = Run(first.path, given, {}, {}, first.status).data()
    test = part(dataset, request)
    shown = some(test, PICTURED)
    judged = tuple(
        _judge(name, run, test, shown, dataset, request)
        for name, run in zip(named(runs), runs, strict=True)
    )
    warnings = _warnings(judged, dataset)
    return Comparison(judged, request, dataset.name, dataset.fingerprint, warnings)


def check(runs: Sequence[Run], request: Request) -> None:
    """Refuse runs that cannot be compared, before any work."""
    if len(runs) < 2:
        raise RunError(f"Expected two runs or more to compare. Received: {len(runs)}.")
    places = [run.path.resolve() for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise RunError(f"Expected different runs. Received: {place} twice.")
    prints = {run.path: run.config.fingerprint for run in runs}
    if len(set(prints.values())) > 1 and request.data is None:
        what = ", ".join(
            f"{path} ({run.config.data}, {(mark or 'unknown')[:12]}…)"
            for (path, mark), run in zip(prints.items(), runs, strict=True)
        )
        raise RunError(
            f"Expected runs of the same data, by their fingerprints. Received: {what}. Judge all "
            "on data that you name: --data (`data`)."
        )
    for name in _SAME:
        values = [getattr(run.config, name) for run in runs]
        if any(value != values[0] for value in values):
            raise RunError(
                f"Expected runs that see their data alike, for densities of different data cannot "
                f"be compared. Received: {name}="
                + ", ".join(map(repr, dict.fromkeys(values)))
                + ". Compare those that agree."
            )


def named(runs: Sequence[Run]) -> list[str]:
    """Name runs as briefly as tells them apart: by their folders, or their paths."""
    folders = [run.path.resolve().name for run in runs]
    return folders if len(set(folders)) == len(runs) else [str(run.path) for run in runs]


def _judge(
    name: str, run: Run, test: Any, shown: Any, dataset: Dataset, request: Request
) -> Judged:
    from tfvae import description

    request.say(f"Loading {run.path} …")
    model = run.model(request.weights)
    scored = score(model, test, dataset, request)
    pictures, _ = drawn(model, shown, run, dataset, request)
    likelihood = type(model.likelihood).__name__, str(model.likelihood.support.value)
    return Judged(name, run, likelihood, description.parameters(model), scored, pictures)


METRICS = ("active_units", "codes", "reconstruction")
"""What is measured beside the bound, where nothing else is asked for."""

PICTURES = ("samples", "reconstructions")
"""The kinds of pictures that stand side by side, where no others are asked for."""


def _warnings(judged: Sequence[Judged], dataset: Dataset) -> tuple[str, ...]:
    found = []
    supports = dict.fromkeys(each.likelihood for each in judged)
    if len({support for _, support in supports}) > 1:
        said = "; ".join(f"{name} of {support}" for name, support in supports)
        found.append(
            "Likelihoods with different supports: their log-probabilities and densities count "
            f"different things, and no difference between them means anything. {said}."
        )
    for each in judged:
        if each.run.status != "complete":
            epochs = f"{each.run.epochs} of {each.run.config.epochs} epochs"
            found.append(f"{each.name} is {each.run.status}, {epochs}.")
        if each.run.unrecorded:
            found.append(f"{each.name} has no history, whose file is missing: nor has it a curve.")
        if each.run.config.fingerprint not in (None, dataset.fingerprint):
            found.append(
                f"{each.name} was trained on other data, fingerprint "
                f"{(each.run.config.fingerprint or '')[:12]}…: some of these test examples may "
                "have been among those that it was trained on."
            )
    return tuple(found)
