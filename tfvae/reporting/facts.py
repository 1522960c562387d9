"""What is known of a run: read, measured and drawn, before any of it is written down."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tfvae
from tfvae import markup, measures
from tfvae.export.manifest import Manifest
from tfvae.measures import Measures, Row
from tfvae.pictures import kinds as pictures_of
from tfvae.reporting.blocks import Picture
from tfvae.runs import EVALUATION, Run

if TYPE_CHECKING:
    from tfvae.data import Dataset
    from tfvae.evaluate import PerExample

Say = Callable[[str], object]

# What a user is told of, where a picture or a figure is not to be had.
_REFUSALS = (ValueError, TypeError, NotImplementedError)
SLOW = ("ais", "calibration")
"""What a report measures only where it is asked for: it takes minutes."""

NOTHING = measures.Measures({}, {}, 0, 0)
_TRAINING = 10_000
_MOST = 16

# Of the largest difference that rounding makes, see `tfvae.export.comparisons`.
_SAME = 1e-4


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
        metrics: which measurements, of `tfvae.measures.MEASUREMENTS`, beside the bound; by default
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
    dataset, problem = None, ""
    try:
        dataset = run.data(request.data)
    except (OSError, ValueError) as error:
        if request.data is not None:
            raise
        problem = str(error)
    test = None if dataset is None else part(dataset, request)
    scored = None
    if dataset is not None:
        scored = score(model, test, training_part(dataset), request)
    pictures, undrawn = drawn(model, test, run, dataset, request)
    exported = None
    if version is not None and manifest is not None:
        from tfvae.export.verification import changes

        same = computes_the_same(model, version, manifest)
        exported = Exported(version, manifest, changes(version, manifest), same)
    return Facts(
        run, request, model, dataset, problem, scored, recorded_evaluation(run),
        pictures, undrawn, written(model, test, request.seed), exported,
    )  # fmt: skip


def part(dataset: Dataset, request: Request) -> Any:
    """Return the examples of the test set that are asked for."""
    test = dataset.test
    return test if request.limit is None else test.take(min(request.limit, len(test)))


def training_part(dataset: Dataset) -> Any:
    """Return training examples, enough to find a feature space by."""
    return dataset.train.take(min(_TRAINING, len(dataset.train)))


def score(model: tfvae.VAE, test: Any, train: Any, request: Request) -> Scored:
    """Measure what there is to measure of a model on a test set.

    Args:
        model: the model.
        test: what it is measured on.
        train: what a feature space for samples is found by.
        request: what was asked for.
    """
    from tfvae import evaluate

    request.say(f"Evaluating {len(test):,} test examples …")
    found, problem, judged = None, "", {}
    try:
        found = evaluate.per_example(
            model, test, request.samples, request.seed, progress=request.progress
        )
    except _REFUSALS as error:
        problem = str(error)
        with contextlib.suppress(*_REFUSALS):
            judged = model.evaluate(test, verbose=0, return_dict=True)
    results: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name in names(request):
        request.say(f"Measuring {name} …")
        try:
            one = measures.measure(
                model,
                test,
                [name],
                train=train,
                samples=request.samples,
                seed=request.seed,
                progress=request.progress,
            )
            results |= one.results
        except _REFUSALS as error:
            left_out[name] = str(error)
    measured = measures.Measures(results, left_out, len(test), request.seed)
    return Scored(len(test), found, problem, judged, measured)


def names(request: Request) -> tuple[str, ...]:
    """Return what is measured beside the bound, which is measured example by example.

    Raises:
        ValueError: for names of nothing.
    """
    asked = measures.check_names("all" if request.metrics is None else request.metrics)
    skipped = {"bound", *(SLOW if request.metrics is None else ())}
    return tuple(name for name in asked if name not in skipped)


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
            undrawn[kind] = obstacle
        elif about.trains:
            undrawn[kind] = f"it trains models: `tfvae plot {run.path} {kind}`"
        else:
            request.say(f"Drawing {kind} …")
            try:
                figure = pictures_of.draw(kind, model, test, **known)
                found[kind] = Picture.of(figure, about.description)
            except _REFUSALS as error:
                undrawn[kind] = str(error)
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


def recorded_evaluation(run: Run, weights: str | None = None) -> dict[str, Any]:
    """Return what ``tfvae evaluate`` last wrote of a run as it is; nothing of an earlier one.

    Args:
        run: the run.
        weights: those that it is to be of; any by default.
    """
    try:
        document = json.loads((run.path / EVALUATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("epochs") != run.epochs:
        return {}
    if weights is not None and document.get("weights", "last") != weights:
        return {}
    return document


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
    except (OSError, KeyError, *_REFUSALS):
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
        yield f"{', '.join(kinds)}: {reason}."


def flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by names with dots."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def recorded_figures(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers, and short lists of numbers, of what ``tfvae evaluate`` wrote."""
    nested = flat(recorded.get("measures", {}))
    own = {name: value for name, value in recorded.items() if name not in _ABOUT}
    # The bound stands in both.
    every = own | {name: each for name, each in nested.items() if not name.startswith("bound.")}
    return {name: value for name, value in every.items() if _is_figure(value)}


_ABOUT = ("run", "epochs", "weights", "seed", "examples", "samples", "weight_draws")


def _is_figure(value: Any) -> bool:
    if isinstance(value, list):
        return 0 < len(value) <= _MOST and all(isinstance(each, int | float) for each in value)
    return isinstance(value, int | float) and not isinstance(value, bool)
