"""A study of latent dimensions: Kingma and Welling's Figure 2, for any data.

::

    studies/latent-dim/
      study.json  bounds.csv     what was found; a row for each value and epoch
      bounds.png                 the bound against training samples, a panel for each value
      sweep.json  sweep.csv      the sweep that it is made of
      latent-dim=2/  ...         an ordinary run folder for each value

Stopped at any moment, it goes on when it is started again: runs that are complete are kept.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvae import charts, extras, files
from tfvae.data import Examples, Records
from tfvae.progress import announce
from tfvae.run_config import RunConfig, RunError, read_text
from tfvae.run_setup import build, load_data
from tfvae.runs import Run
from tfvae.sweep import check_folder, combinations, sweep

__all__ = ["LatentDim", "LatentStudy", "study_latent_dim"]

DOCUMENT, TABLE, PICTURE = "study.json", "bounds.csv", "bounds.png"

ACTIVE = 0.01
"""Nats of KL, mean over examples, from which on a latent counts as used."""


@dataclass(frozen=True)
class LatentDim:
    """One number of latents.

    Curves have a point for each epoch. A training bound is the mean over an epoch, at the weights
    of each of its steps, and stands in the middle of it; a held-out bound is at its end. The final
    bounds are those of the trained model, by the same estimate on either set.

    Attributes:
        latent_dim: how many latents.
        run: the name of its run folder.
        samples: training samples seen at the end of each epoch.
        train: mean ELBO of the training set in each epoch, in nats.
        held_out: mean ELBO of the validation set at its end.
        train_bound: final, of the training set.
        train_error: its standard error.
        test_bound: final, of the test set.
        test_error: its standard error.
        train_difference: `train_bound` less that of the best value, the one with the highest
            test bound; and its standard error, of the same examples.
        test_difference: the same of `test_bound`.
        kl: final, of the test set.
        active: how many latents have a KL of more than `ACTIVE` nats on the test set; None where
            posterior or prior is not independent over latents, and of several groups of them.
    """

    latent_dim: int
    run: str
    samples: tuple[int, ...]
    train: tuple[float, ...]
    held_out: tuple[float, ...]
    train_bound: float
    train_error: float
    test_bound: float
    test_error: float
    train_difference: tuple[float, float]
    test_difference: tuple[float, float]
    kl: float
    active: int | None

    @property
    def gap(self) -> float:
        """How much better the training set is explained than the test set, in nats."""
        return self.train_bound - self.test_bound

    @property
    def gap_error(self) -> float:
        """The standard error of `gap`."""
        return math.hypot(self.train_error, self.test_error)


@dataclass(frozen=True)
class LatentStudy:
    """What :func:`study_latent_dim` found.

    Attributes:
        path: its folder.
        config: what all runs share.
        dims: by number of latents, ascending.
    """

    path: Path
    config: RunConfig
    dims: tuple[LatentDim, ...]

    @property
    def best(self) -> LatentDim:
        """The one with the highest bound on the test set."""
        return max(self.dims, key=lambda each: each.test_bound)

    @property
    def conclusion(self) -> str:
        """What the numbers say of superfluous latents; "clearly" is by two standard errors."""
        most, best = self.dims[-1], self.best
        found = (
            f"The test bound is highest with {best.latent_dim} latents, "
            f"{best.test_bound:.2f} ± {best.test_error:.2f} nats"
        )
        if most is best:
            return (
                f"{found}, the most there are: nothing here is superfluous, and nothing overfits."
            )
        (test, test_error), (train, train_error) = most.test_difference, most.train_difference
        versus = (
            f"With {most.latent_dim} it is {test:+.2f} ± {test_error:.2f} from that, the training "
            f"bound {train:+.2f} ± {train_error:.2f}; the gap between both is {most.gap:.2f} ± "
            f"{most.gap_error:.2f} where it was {best.gap:.2f} ± {best.gap_error:.2f}."
        )
        used = "" if most.active is None else f" It uses {most.active} of its {most.latent_dim}."
        if test > -2 * test_error:
            verdict = "Superfluous latents do not overfit: the test bound is not clearly lower."
        elif train > 2 * train_error:
            verdict = "They overfit: training is explained clearly better, the test set worse."
        elif train < -2 * train_error:
            verdict = (
                "That is not overfitting, for the training bound is clearly lower too: so many "
                "latents are harder to train."
            )
        else:
            verdict = (
                "Superfluous latents cost a little on the test set, and gain nothing clear in "
                "training."
            )
        return f"{found}. {versus}{used} {verdict}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return {
            "study": "latent-dim",
            "config": dataclasses.asdict(self.config),
            "dims": [
                dataclasses.asdict(each) | {"gap": each.gap, "gap_error": each.gap_error}
                for each in self.dims
            ],
            "conclusion": self.conclusion,
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LatentStudy:
        """Read a study's folder.

        Raises:
            FileNotFoundError: if there is no study.
            RunError: if it is damaged, or another kind of study.
        """
        folder = Path(path)
        text = read_text(folder / DOCUMENT)
        try:
            document = json.loads(text)
            names = [field.name for field in dataclasses.fields(LatentDim)]
            dims: list[dict[str, Any]] = [
                {k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k in names}
                for row in document["dims"]
            ]
            config = RunConfig(**document["config"])
            return cls(folder, config, tuple(LatentDim(**each) for each in dims))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"Expected {folder / DOCUMENT} of a study of latent dimensions. It is damaged."
            ) from error

    def write(self) -> None:
        """Write the document, the table and the picture."""
        files.replace_json(self.path / DOCUMENT, self.to_dict())
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["latent_dim", "epoch", "samples", "train_bound", "held_out_bound"])
        for each in self.dims:
            rows = zip(each.samples, each.train, each.held_out, strict=True)
            table.writerows([each.latent_dim, i, *row] for i, row in enumerate(rows, 1))
        files.replace_text(self.path / TABLE, text.getvalue())
        charts.bounds(
            {each.latent_dim: (each.samples, each.train, each.held_out) for each in self.dims},
            self.path / PICTURE,
        )


def study_latent_dim(
    config: RunConfig,
    values: Iterable[int],
    out: str | os.PathLike[str],
    *,
    samples: int | None = None,
    draws: int = 16,
    limit: int = 10_000,
    overwrite: bool = False,
    verbose: bool = True,
) -> LatentStudy:
    """Train with several numbers of latents, and see whether superfluous ones overfit.

    Args:
        config: what all runs share; ``validation`` holds out what the curves are judged on.
        values: numbers of latents.
        out: the folder of the study. Where it holds this study, complete runs are kept.
        samples: training samples to see, rounded to whole epochs; ``config.epochs`` by default.
        draws: posterior draws of each example for the final bounds.
        limit: examples of the training set that its final bound is of, at most.
        overwrite: train all again, whatever is there.
        verbose: show progress, on standard error.

    Returns:
        The study, which is also in the folder.

    Raises:
        RunError: for values, options or data that do not fit. Nothing is written.
        FileExistsError: if `out` holds something else, or runs of another configuration.
        Interrupted: at Ctrl-C.

    Example:
        >>> config = RunConfig(binarize="threshold", validation=0.1, options={"hidden": (500,)})
        >>> study = study_latent_dim(config, [2, 10, 50], "studies/m")  # doctest: +SKIP
        >>> print(study.conclusion)  # doctest: +SKIP

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114 (Figure 2).
    """
    extras.check(*extras.MATPLOTLIB)
    asked = list(values)
    for value in asked:
        if type(value) is not int or value < 1:
            raise RunError(
                "Expected `values` to be whole numbers of at least 1, of latents. Received: "
                f"{value!r}."
            )
    if not config.validation:
        raise RunError(
            "Expected `validation`, examples to hold out. Received: none. Pass a share, as in "
            "RunConfig(validation=0.1)."
        )
    for name, count in (("samples", samples), ("draws", draws), ("limit", limit)):
        if count is not None and (type(count) is not int or count < 1):
            raise RunError(f"Expected `{name}` to be at least 1. Received: {name}={count!r}.")
    # What does not fit is found before data are read, and what has no bound before all training.
    planned = combinations(config, {"latent_dim": asked})
    check_folder(out, planned)  # before TensorFlow is imported, to build a model
    dataset = load_data(config)
    if obstacle := build(next(iter(planned.values())).config, dataset).score_obstacle():
        raise RunError(f"{obstacle} The study compares bounds.")
    if samples is not None:
        epochs = max(1, round(samples / len(dataset.train)))
        config = dataclasses.replace(config, epochs=epochs)
    found = sweep(config, {"latent_dim": sorted(asked)}, out, overwrite=overwrite, verbose=verbose)
    trials = [trial for trial in found.trials if trial.status == "complete"]
    if not trials:
        _ = found.best  # says why there is none
    trials.sort(key=lambda trial: trial.values["latent_dim"])
    if verbose:
        announce("Judging the trained models")
    sets = [_examples(dataset.train, limit), _examples(dataset.test, None)]
    judged = [_judged(trial.run, sets, draws, trial.values["latent_dim"]) for trial in trials]
    best = max(judged, key=lambda each: float(each.test.mean()))
    size = len(dataset.train)
    dims = []
    for trial, each in zip(trials, judged, strict=True):
        history = trial.run.history
        (train, train_error), (test, test_error) = _mean(each.train), _mean(each.test)
        dims.append(
            LatentDim(
                trial.values["latent_dim"],
                trial.path.name,
                tuple(size * epoch for epoch in range(1, trial.epochs + 1)),
                tuple(history["elbo"]),
                tuple(history["val_elbo"]),
                train,
                train_error,
                test,
                test_error,
                _mean(each.train - best.train),
                _mean(each.test - best.test),
                each.kl,
                each.active,
            )
        )
    study = LatentStudy(Path(out), config.resolved(dataset.fingerprint), tuple(dims))
    study.write()
    return study


@dataclass(frozen=True)
class _Judged:
    """A trained model's ELBO of each example, and what it makes of its latents."""

    train: npt.NDArray[Any]
    test: npt.NDArray[Any]
    kl: float
    active: int | None


def _judged(run: Run, sets: list[Examples], draws: int, latent_dim: int) -> _Judged:
    from tfvae.evaluate.batches import read

    model = run.model()
    parts = [read(model, each, None, "study_latent_dim") for each in sets]
    train, test = (
        model.score(
            part.values, samples=draws, seed=run.config.seed, condition=part.beside
        ).elbo.numpy()
        for part in parts
    )
    totals, each_kl = [], []
    for rows in parts[1].parts(1024):
        batch = parts[1].rows(rows)
        trace = model.trace(batch.seen, condition=batch.condition, mask=batch.mask)
        totals.append(trace.kl)
        # Of several groups, and of paths, there are more than the latents that were asked for.
        if len(trace.latents) == model.group_count == 1:
            with contextlib.suppress(TypeError):
                each_kl.append(trace.latents[0].kl_per_dimension)
    means = np.mean(np.concatenate(each_kl), axis=0) if each_kl else np.zeros(0)
    active = int(np.sum(means > ACTIVE)) if means.shape == (latent_dim,) else None
    return _Judged(train, test, float(np.mean(np.concatenate(totals))), active)


def _examples(part: Examples | Records, limit: int | None) -> Examples:
    if isinstance(part, Records):
        return part.examples(limit)
    return part if limit is None or limit >= len(part) else part.take(limit)


def _mean(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    values = values.astype(np.float64)
    error = values.std(ddof=min(1, len(values) - 1)) / math.sqrt(len(values))
    return float(values.mean()), float(error)
