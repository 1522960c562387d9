"""A study of estimators: how noisy each one's gradients are while a model trains.

::

    studies/estimators/
      study.json                 what was asked for, and all that was measured
      gradient-variance.csv      a row for each step, estimator and group of parameters
      gradient-variance.png

The model trains on the reparameterised gradient; at chosen steps the gradients of all estimators
are taken at its parameters, on one fixed batch.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfvae import charts, extras, files, startup
from tfvae.progress import announce
from tfvae.run_config import RunConfig, RunError
from tfvae.run_setup import build, load_data

if TYPE_CHECKING:
    from tfvae.gradients import GradientNoise

__all__ = ["EstimatorStudy", "Measurement", "study_estimators"]

DOCUMENT, TABLE, PICTURE = "study.json", "gradient-variance.csv", "gradient-variance.png"


@dataclass(frozen=True)
class Measurement:
    """The noise of all estimators at one moment of training.

    Attributes:
        step: steps of training taken.
        noise: by estimator.
    """

    step: int
    noise: dict[str, GradientNoise]

    def ratio(self, name: str, to: str) -> tuple[float, float]:
        """Return how many times as large one estimator's variance is as another's, with its error.

        Of the variational parameters; the error is to first order, of independent measurements.
        """
        above, below = (self.noise[each].variational for each in (name, to))
        if not below.variance:
            return float("nan"), float("nan")
        ratio = above.variance / below.variance
        relative = (above.error / max(above.variance, 1e-300)) ** 2
        relative += (below.error / below.variance) ** 2
        return ratio, ratio * relative**0.5


@dataclass(frozen=True)
class EstimatorStudy:
    """What :func:`study_estimators` found.

    Attributes:
        path: its folder.
        config: of the model, its data and its training.
        samples: posterior samples of each estimate.
        draws: of each gradient.
        measurements: by step, ascending.
    """

    path: Path
    config: RunConfig
    samples: int
    draws: int
    measurements: tuple[Measurement, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The estimators; the last of them is estimator B."""
        return tuple(self.measurements[0].noise)

    @property
    def conclusions(self) -> tuple[str, ...]:
        """What the numbers say, a sentence for each estimator but the last."""
        return tuple(self._conclusion(name) for name in self.names[:-1])

    def _conclusion(self, name: str) -> str:
        best = self.names[-1]
        ratios = [each.ratio(name, best) for each in self.measurements]
        low, high = min(ratios)[0], max(ratios)[0]
        # By two standard errors.
        above = sum(ratio - 2 * error > 1 for ratio, error in ratios)
        below = sum(ratio + 2 * error < 1 for ratio, error in ratios)
        return (
            f"{name}: variance {low:.3g} to {high:.3g} times that of {best}; clearly larger at "
            f"{above} of {len(ratios)} steps, clearly smaller at {below}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return the measurements as a flat table."""
        from tfvae.gradients import GROUPS

        return [
            {
                "step": each.step,
                "estimator": name,
                "parameters": group,
                **getattr(noise, group)._asdict(),
                "loss": noise.loss,
                "loss_error": noise.loss_error,
            }
            for each in self.measurements
            for name, noise in each.noise.items()
            for group in GROUPS
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return {
            "study": "estimators",
            "config": dataclasses.asdict(self.config),
            "samples": self.samples,
            "draws": self.draws,
            "measurements": self.rows(),
            "conclusions": list(self.conclusions),
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EstimatorStudy:
        """Read a study's folder.

        Raises:
            FileNotFoundError: if there is no study.
            RunError: if it is damaged, or another kind of study.
        """
        from tfvae.gradients import GradientNoise, Noise

        folder = Path(path)
        if not (folder / DOCUMENT).is_file():
            raise FileNotFoundError(f"Expected {folder / DOCUMENT}, which does not exist.")
        try:
            document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
            found: dict[int, dict[str, dict[str, Any]]] = {}
            for row in document["measurements"]:
                noise = found.setdefault(row["step"], {}).setdefault(row["estimator"], {})
                noise[row["parameters"]] = Noise(*(row[field] for field in Noise._fields))
                noise |= {"loss": row["loss"], "loss_error": row["loss_error"]}
            measured = tuple(
                Measurement(step, {name: GradientNoise(**noise) for name, noise in each.items()})
                for step, each in found.items()
            )
            config = RunConfig(**document["config"])
            return cls(folder, config, document["samples"], document["draws"], measured)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"Expected {folder / DOCUMENT} of a study of estimators. It is damaged."
            ) from error

    def write(self) -> None:
        """Write the document, the table and the picture."""
        files.replace_json(self.path / DOCUMENT, self.to_dict())
        text = io.StringIO()
        rows = self.rows()
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        files.replace_text(self.path / TABLE, text.getvalue())
        steps = [each.step for each in self.measurements]
        best = self.names[-1]
        charts.gradient_variance(
            steps,
            {
                name: [each.noise[name].variational for each in self.measurements]
                for name in self.names
            },
            {
                name: [each.ratio(name, best) for each in self.measurements]
                for name in self.names[:-1]
            },
            self.path / PICTURE,
        )


def study_estimators(
    config: RunConfig,
    out: str | os.PathLike[str],
    *,
    steps: int = 3200,
    points: int = 8,
    draws: int = 200,
    samples: int = 1,
    overwrite: bool = False,
    verbose: bool = True,
) -> EstimatorStudy:
    """Train a model, and measure the gradient noise of four estimators on the way.

    The score function with and without a baseline, and Kingma and Welling's estimators A (the KL
    by Monte Carlo) and B (in closed form), all with the same draws of z, on the first batch of the
    training set. Moments are at 0 steps and at `steps` divided by powers of two.

    Args:
        config: the model, its data and its training; ``epochs`` is not used.
        out: the folder of the study.
        steps: of training, rounded up so that all moments fall on whole steps.
        points: how many moments.
        draws: of each gradient, an even number.
        samples: posterior samples of each estimate.
        overwrite: replace a study that is in the folder.
        verbose: show progress, on standard error.

    Returns:
        The study, which is also in the folder.

    Raises:
        RunError: for numbers that do not fit.
        ValueError: for options or data that do not. Nothing is written.
        FileExistsError: if `out` holds a study, or something else.
        FloatingPointError: where the loss becomes NaN.

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114 (eqs. 6 and 7).
        Mohamed et al. (2020), Monte Carlo gradient estimation in machine learning,
        arXiv:1906.10652.
    """
    for name, value in (("steps", steps), ("points", points), ("samples", samples)):
        least = 2 if name == "points" else 1
        if type(value) is not int or value < least:
            raise RunError(f"Expected `{name}` to be at least {least}. Received: {name}={value!r}.")
    if type(draws) is not int or draws < 4 or draws % 2:
        raise RunError(
            f"Expected `draws` to be an even number of at least 4. Received: draws={draws!r}."
        )
    extras.check(*extras.MATPLOTLIB)
    folder = _check_folder(out, overwrite)
    dataset = load_data(config)
    config = config.resolved(dataset.fingerprint)
    startup.import_tensorflow()
    import keras

    from tfvae.gradients import estimators, gradient_meter

    model = build(config, dataset)
    epochs = 2 ** (points - 2)
    every = -(-steps // epochs)
    batch = dataset.train.take(min(config.batch_size, len(dataset.train)))
    meters = {
        name: gradient_meter(model, batch, objective, draws)
        for name, objective in estimators(samples).items()
    }
    measured: list[Measurement] = []

    def measure(step: int) -> None:
        noise = {name: meter(config.seed + step) for name, meter in meters.items()}
        measured.append(Measurement(step, noise))
        if verbose:
            each = "; ".join(f"{n} {v.variational.variance:.3g}" for n, v in noise.items())
            announce(f"Step {step:,}, variances: {each}")

    def after(epoch: int, logs: Any = None) -> None:
        done = epoch + 1
        if done & (done - 1) == 0:  # a power of two
            measure(done * every)

    with files.claimed(folder):
        measure(0)
        model.fit(
            dataset.train,
            batch_size=config.batch_size,
            epochs=epochs,
            steps_per_epoch=every,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=after)],
            verbose=0,
        )
        study = EstimatorStudy(folder, config, samples, draws, tuple(measured))
        study.write()
    return study


def _check_folder(out: str | os.PathLike[str], overwrite: bool) -> Path:
    """Return the folder of a study, or say why it cannot be.

    Raises:
        NotADirectoryError: if it is a file.
        FileExistsError: if it holds a study that is not to be replaced, or other files.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Expected `out` to be a folder. Received: {folder}, a file.")
    names = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    ours = {DOCUMENT, TABLE, PICTURE}
    if names - ours or (names and DOCUMENT not in names):
        other = sorted(names - ours or names)[0]
        raise FileExistsError(
            f"Expected `out` to be a new or empty folder. Received: {folder}, which holds {other} "
            f"and is no study of estimators. Choose another folder."
        )
    if names and not overwrite:
        raise FileExistsError(
            f"Expected `out` to be a new folder. Received: {folder}, which holds a study. Choose "
            "another folder, or replace that study with --overwrite (overwrite=True)."
        )
    return folder
