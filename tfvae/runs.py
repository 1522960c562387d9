"""Runs: a training that can be repeated, and the folder that it leaves.

::

    runs/m/
      config.json        what was asked for: all it takes to repeat the run
      environment.json   what it ran on: versions, git commit, command, data
      status.json        running, complete, interrupted or failed, after how many epochs
      history.csv  history.json    the terms of each epoch
      model.keras        the model, optimizer included

Every file is replaced whole, as epochs are completed, so the folder can be loaded at any moment
of training and after a Ctrl-C. Nothing here imports TensorFlow before a model is built.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tfvae
from tfvae import files, options, startup
from tfvae.export.errors import did_you_mean
from tfvae.recorder import (
    ENVIRONMENT,
    EVALUATION,
    FILES,
    HISTORY,
    MODEL,
    STATUS,
    Interrupted,
    Recorder,
)
from tfvae.run_config import CONFIG, RunConfig, RunError, read_text

if TYPE_CHECKING:
    from tfvae.data import Dataset

__all__ = [
    "EVALUATION",
    "Interrupted",
    "Run",
    "RunConfig",
    "RunError",
    "build",
    "check_target",
    "train",
]


@dataclass(frozen=True)
class Run:
    """What a run folder holds. Made by :func:`train` and :meth:`load`.

    Attributes:
        path: the folder.
        config: what repeats the run.
        environment: what it ran on.
        history: the terms of each completed epoch, as in ``fit(...).history``.
        status: ``"running"`` (or killed), ``"complete"``, ``"interrupted"`` or ``"failed"``.
        message: why it failed.
    """

    path: Path
    config: RunConfig
    environment: dict[str, Any]
    history: dict[str, list[float]]
    status: str
    message: str = ""

    @property
    def epochs(self) -> int:
        """Completed epochs."""
        return max(map(len, self.history.values()), default=0)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Read a run folder; the model and the data are read when they are asked for.

        Raises:
            FileNotFoundError: if there is no such folder, or a file is missing from it.
            RunError: if it is no run folder, or a file is damaged.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            siblings = [place.name for place in path.parent.glob("*") if place.is_dir()]
            raise FileNotFoundError(
                f"Expected a run folder. Received: {path}, which {what}."
                f"{did_you_mean(path.name, siblings)}"
            )
        if not (path / CONFIG).is_file():
            raise RunError(
                f"Expected a run folder, as `tfvae train` makes it. Received: {path}, which has "
                f"no {CONFIG}."
            )
        config = RunConfig.read(path)
        status, history, environment = (
            _read_object(path / name) for name in (STATUS, HISTORY, ENVIRONMENT)
        )
        if not (path / MODEL).is_file():
            raise FileNotFoundError(f"Expected {path / MODEL}, which is missing. Train again.")
        if not zipfile.is_zipfile(path / MODEL):
            raise RunError(f"Expected {path / MODEL} to be a whole file. It is damaged.")
        try:
            columns = {
                str(name): [math.nan if value is None else float(value) for value in values]
                for name, values in history.items()
            }
            return cls(
                path, config, environment, columns, str(status["status"]), str(status["message"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"Expected {STATUS} and {HISTORY} of a run in {path}. They are damaged: {error!r}."
            ) from error

    def model(self) -> tfvae.VAE:
        """Load the model, optimizer included."""
        startup.import_tensorflow()
        return tfvae.load_model(self.path / MODEL)

    def data(self, source: str | None = None) -> Dataset:
        """Load the data of the run, split and binarised as in it.

        Args:
            source: where the data is now, if it has moved.

        Raises:
            DataError: if it cannot be read, or is not the data of the run.
        """
        config = self.config
        return _load(config if source is None else dataclasses.replace(config, data=source))


def train(
    config: RunConfig,
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    verbose: bool = True,
) -> Run:
    """Train a model and leave a run folder.

    The same configuration gives the same weights on the same machine.

    Args:
        config: what to train, on what.
        out: the run folder; ``runs/<model>-<data>-<time>`` by default.
        overwrite: replace a run that is there.
        verbose: show progress, on standard error.

    Returns:
        The run.

    Raises:
        FileExistsError: if `out` holds something.
        OSError: if it cannot be written.
        ValueError: for data or options that do not fit. Nothing is written.
        Interrupted: at Ctrl-C; the last completed epoch is kept.
        FloatingPointError: where the loss becomes NaN; the last good weights are kept.

    Example:
        >>> config = RunConfig(epochs=2, options={"likelihood": "ContinuousBernoulli"})
        >>> run = train(config, "runs/digits")  # doctest: +SKIP
        >>> run.model().generate(3).mean.shape  # doctest: +SKIP
        TensorShape([3, 8, 8, 1])
    """
    from tfvae.progress import announce, show_progress

    folder = check_target(out if out is not None else _default_folder(config), overwrite=overwrite)
    with files.claimed(folder):
        # Cheap things first: importing TensorFlow takes seconds.
        dataset = _load(config)
        config = config.resolved(dataset.fingerprint)
        if verbose:
            announce(_summary(config, dataset))
        model = build(config, dataset)
        recorder = Recorder(folder, config, model)
        recorder.start(dataset)
    steps = math.ceil(len(dataset.train) / config.batch_size)
    with show_progress(config.epochs, steps, verbose) as progress:
        recorder.fit(dataset, progress)
    return Run.load(folder)


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return the folder to train into, or say why it cannot be.

    Raises:
        NotADirectoryError: if it is a file.
        FileExistsError: if it holds a run that is not to be replaced, or other files.
        ValueError: if the name is empty.
    """
    if not os.fspath(path).strip():
        raise RunError(
            "Expected `out` to name a folder, such as 'runs/m'. Received: an empty name."
        )
    folder = Path(path)
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise NotADirectoryError(
            f"Expected `out` to be a folder. Received: {folder}, where {existing} is a file."
        )
    if existing != folder:
        return folder
    if (folder / CONFIG).exists() and (folder / STATUS).exists():
        if not overwrite:
            raise FileExistsError(
                f"Expected `out` to be a new folder. Received: {folder}, which holds a run. "
                "Choose another folder, or replace that run with --overwrite (overwrite=True)."
            )
    elif foreign := [place.name for place in folder.iterdir() if not _is_ours(place)]:
        raise FileExistsError(
            f"Expected `out` to be a new or empty folder. Received: {folder}, which holds "
            f"{foreign[0]} and is no run. Choose another folder."
        )
    return folder


def build(config: RunConfig, dataset: Dataset) -> tfvae.VAE:
    """Build and compile a run's model, and check that the data fits it.

    Raises:
        ValueError: for options or data that do not fit.
    """
    startup.import_tensorflow()
    import keras

    from tfvae import feeds, zoo

    function = options.find(config.model)
    arguments = dict(config.options)
    if "seed" in zoo.parameters(function):
        arguments["seed"] = config.seed
    model = function(dataset.train.shape, **arguments)
    for name in ("train", "validation", "test"):
        if getattr(dataset, name) is not None:
            feeds.examples(model.likelihood, getattr(dataset, name), argument=name)
    model.compile(keras.optimizers.Adam(config.learning_rate))
    model.optimizer.build(model.trainable_variables)
    return model


def _load(config: RunConfig) -> Dataset:
    from tfvae import data

    validation = config.validation
    if config.data in data.sources() and config.data != "digits":
        startup.import_tensorflow()  # Keras fetches these
    dataset = data.load(
        config.data,
        binarize=config.binarize,  # type: ignore[arg-type]
        validation=validation if validation < 1 else int(validation),
        seed=config.seed,
        scale="auto" if config.scale is None else config.scale,
    )
    if config.fingerprint not in (None, dataset.fingerprint):
        raise data.DataError(
            f"Expected the data of the run, fingerprint {config.fingerprint[:12]}…. "  # type: ignore[index]
            f"Received: {config.data}, fingerprint {dataset.fingerprint[:12]}…: it has changed "
            "since. Restore it, or name the place of the original with --data (`data`)."
        )
    return dataset


def _default_folder(config: RunConfig) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{config.model}-{Path(config.data).stem}-{stamp}"


def _summary(config: RunConfig, dataset: Dataset) -> str:
    shape = "×".join(map(str, dataset.train.shape))
    held_out = 0 if dataset.validation is None else len(dataset.validation)
    return (
        f"Training {config.model} on {dataset.name}: {len(dataset.train):,} examples of {shape}"
        + (f", {held_out:,} for validation" if held_out else "")
    )


def _is_ours(place: Path) -> bool:
    return place.name in FILES or place.name.startswith(".")


def _read_object(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise RunError(f"Expected {path} to be JSON. It is damaged: {error}.") from error
    if not isinstance(document, dict):
        raise RunError(f"Expected {path} to be a JSON object. It is damaged.")
    return document
