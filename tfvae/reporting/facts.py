"""What is known of a run: read, measured and drawn, before any of it is written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tfvae
from tfvae.examples import some
from tfvae.export.manifest import Manifest
from tfvae.pictures import kinds as pictures_of
from tfvae.pictures.spelling import spelled
from tfvae.reporting.blocks import Picture
from tfvae.reporting.recorded import recorded_evaluation
from tfvae.reporting.request import Request
from tfvae.reporting.scoring import REFUSALS, Scored, names, part, score
from tfvae.runs import Run

if TYPE_CHECKING:
    from tfvae.data import Dataset

# Of the largest difference that rounding makes, see `tfvae.export.comparisons`.
_SAME = 1e-4

PICTURED = 10_000
"""Test examples that pictures are of, at most."""


@dataclass(frozen=True)
class Exported:
    """An export that is said to be of the run.

    Attributes:
        path: the version folder.
        manifest: what it says about itself.
        problems: files that are not as they were published.
        same: whether it computes what the run's model does; None where that was not compared.
    """

    path: Path
    manifest: Manifest
    problems: tuple[str, ...]
    same: bool | None


@dataclass(frozen=True)
class Facts:
    """All that a report says.

    Attributes:
        run: the run.
        request: what was asked for.
        model: the model.
        dataset: its data, or None.
        data_problem: why there are none.
        scored: what the model makes of the test set, or None.
        recorded: what ``tfvae evaluate`` last wrote of the run.
        pictures: by their kinds.
        undrawn: why other kinds were not drawn.
        sentences: of a model of text, some that it drew; and of the test set, pairs of an
            original and its reconstruction.
        exported: the export, or None.
    """

    run: Run
    request: Request
    model: tfvae.VAE
    dataset: Dataset | None
    data_problem: str
    scored: Scored | None
    recorded: dict[str, Any]
    pictures: dict[str, Picture]
    undrawn: dict[str, str]
    sentences: tuple[list[str], list[tuple[str, str]]]
    exported: Exported | None


def gather(run: Run, request: Request, export: str | Path | None = None) -> Facts:
    """Load a run, score it on its test set and draw it.

    Raises:
        RunError: if the run has no such weights.
        OSError: if its files cannot be read, or there is no such export.
        ExportError: if the export's manifest is damaged.
    """
    from tfvae.export.publish import resolve

    names(request)
    if request.kinds is not None:
        for kind in request.kinds:
            pictures_of.find(kind)
    version = None if export is None else resolve(export)
    manifest = None if version is None else Manifest.read(version)
    request.say(f"Loading {run.path} …")
    model = run.model(request.weights)
    dataset = test = shown = scored = None
    problem = ""
    try:
        found = run.data(request.data)
        test = part(found, request)
        dataset = found
        shown = some(test, PICTURED)
    except (OSError, ValueError) as error:
        if request.data is not None:
            raise
        problem = str(error)
    if dataset is not None:
        scored = score(model, test, dataset, request)
    pictures, undrawn = drawn(model, shown, run, dataset, request)
    exported = None
    if version is not None and manifest is not None:
        from tfvae.export.verification import changes

        same = computes_the_same(model, version, manifest)
        exported = Exported(version, manifest, changes(version, manifest), same)
    return Facts(
        run, request, model, dataset, problem, scored, recorded_evaluation(run),
        pictures, undrawn, written(model, shown, request.seed), exported,
    )  # fmt: skip


def drawn(
    model: tfvae.VAE, test: Any, run: Run, dataset: Dataset | None, request: Request
) -> tuple[dict[str, Picture], dict[str, str]]:
    """Draw every kind of picture that is asked for; say of the others why not."""
    known: dict[str, Any] = {"history": run.history, "seed": request.seed}
    known["classes"] = () if dataset is None else dataset.classes
    found: dict[str, Picture] = {}
    undrawn: dict[str, str] = {}
    for kind, obstacle in pictures_of.available(model, test, **known).items():
        if request.kinds is not None and kind not in request.kinds:
            continue
        about = pictures_of.KINDS[kind]
        if obstacle is not None:
            undrawn[kind] = spelled(obstacle, about.options)
        elif about.trains:
            undrawn[kind] = f"it trains models: `tfvae plot {run.path} {kind}`"
        else:
            request.say(f"Drawing {kind} …")
            try:
                figure = pictures_of.draw(kind, model, test, **known)
                found[kind] = Picture.of(figure, about.description)
            except REFUSALS as error:
                undrawn[kind] = spelled(str(error), about.options)
    return found, undrawn


def written(
    model: tfvae.VAE, test: Any, seed: int, count: int = 8
) -> tuple[list[str], list[tuple[str, str]]]:
    """Have a model of text write sentences, and read some; of other models, nothing."""
    if not isinstance(model, tfvae.families.SentenceVAE):
        return [], []
    drawn = list(model.generate(count, seed=seed).text)
    if test is None:
        return drawn, []
    x = test.take(min(count, len(test))).values()
    decode = model.tokeniser.decode
    pairs = zip(decode(x), decode(np.asarray(model.reconstruct(x))), strict=True)
    return drawn, list(pairs)


def computes_the_same(model: tfvae.VAE, version: Path, manifest: Manifest) -> bool | None:
    """Say whether an export decodes its own test vectors as a model does; None if unknown."""
    record = manifest.endpoint("decode")
    floats = record is not None and all(
        each.dtype == "float32" for each in record.outputs if each.name == "mean"
    )
    if record is None or not floats or [each.name for each in record.inputs] != ["z"]:
        return None
    try:
        with np.load(version / manifest.test_vectors, allow_pickle=False) as vectors:
            z, theirs = vectors["decode/z"], vectors["decode/mean"]
        ours = np.asarray(model.likelihood.mean(model.decoder_params(z)))
    except (OSError, KeyError, *REFUSALS):
        return None
    if ours.shape != theirs.shape:
        return False
    scale = max(1.0, float(np.abs(theirs).max()))
    return bool(np.abs(ours - theirs).max() <= _SAME * scale)


def lines(obstacles: dict[str, str]) -> Iterator[str]:
    """Say why kinds of pictures are missing, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for kind, reason in obstacles.items():
        by_reason.setdefault(reason, []).append(kind)
    for reason, kinds in by_reason.items():
        yield f"{', '.join(kinds)}: {reason.rstrip('.')}."
