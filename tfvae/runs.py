"""Runs: a training that can be repeated, and the folder that it leaves.

::

    runs/m/
      config.json        what was asked for: all it takes to repeat the run
      environment.json   what it ran on: versions, git commit, command, data
      status.json        running, complete, interrupted or failed, after how many epochs
      history.csv  history.json    the terms of each epoch
      model.keras        the model, optimizer included
      checkpoints/       all that it takes to resume, at the last moments; the best epoch's weights
      tensorboard/       if asked for
      pictures/          what `tfvae plot` draws, and `train --pictures` while it trains

Every file is replaced whole, as epochs are completed, so the folder can be loaded at any moment
of training and after a Ctrl-C. Nothing here imports TensorFlow before a model is built.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tfvae
from tfvae import extras, files, markup, startup
from tfvae.export.errors import did_you_mean
from tfvae.recorder import (
    BEST,
    CHECKPOINTS,
    ENVIRONMENT,
    EVALUATION,
    HISTORY,
    MODEL,
    PICTURES,
    PROBE,
    REPORT,
    STATUS,
    TENSORBOARD,
    Interrupted,
    Recorder,
)
from tfvae.run_config import CONFIG, WEIGHTS, RunConfig, RunError, read_text
from tfvae.run_setup import (
    build,
    check_target,
    default_folder,
    load_data,
    steps_per_epoch,
    summary,
)

if TYPE_CHECKING:
    from tfvae.cluster import Strategy
    from tfvae.data import Dataset

__all__ = [
    "EVALUATION",
    "PICTURES",
    "PROBE",
    "REPORT",
    "Interrupted",
    "Run",
    "RunConfig",
    "RunError",
    "build",
    "check_target",
    "resume",
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
        unrecorded: completed epochs of which nothing is known, for the file of the history is
            missing.
    """

    path: Path
    config: RunConfig
    environment: dict[str, Any]
    history: dict[str, list[float]]
    status: str
    message: str = ""
    unrecorded: int = 0

    @property
    def epochs(self) -> int:
        """Completed epochs."""
        return max(map(len, self.history.values()), default=self.unrecorded)

    def check_history(self) -> None:
        """Refuse a run whose epochs are not recorded.

        Raises:
            RunError: if the file of the history is missing.
        """
        if self.unrecorded:
            raise RunError(
                f"Expected a run with its history. Received: {self.path}, from which {HISTORY} is "
                "missing."
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Read a run folder; the model and the data are read when they are asked for.

        Without its history a run is loaded all the same: only its curves are lost.

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
        status, environment = (_read_object(path / name) for name in (STATUS, ENVIRONMENT))
        recorded = (path / HISTORY).exists()
        history = _read_object(path / HISTORY) if recorded else {}
        if not (path / MODEL).is_file():
            raise FileNotFoundError(f"Expected {path / MODEL}, which is missing. Train again.")
        if not zipfile.is_zipfile(path / MODEL):
            raise RunError(f"Expected {path / MODEL} to be a whole file. It is damaged.")
        try:
            columns = {
                str(name): [math.nan if value is None else float(value) for value in values]
                for name, values in history.items()
            }
            said = str(status["status"]), str(status["message"])
            lost = 0 if recorded else int(status["epochs"])
            return cls(path, config, environment, columns, *said, unrecorded=lost)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"Expected {STATUS} and {HISTORY} of a run in {path}. They are damaged: {error!r}."
            ) from error

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<run {self.path}: {config.model} on {config.data}, {self.status}, "
            f"{self.epochs} of {config.epochs} epochs>"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what was asked for, and where it ended."""
        config = self.config
        options = markup.settings(config.options)
        rows = [
            ("model", f"{config.model}({options})"),
            ("data", config.data),
            ("optimizer", f"{config.optimizer}, learning rate {config.learning_rate:g}"),
            ("batch size", config.batch_size),
            ("seed", config.seed),
        ]
        last = [(name, values[-1]) for name, values in self.history.items() if values]
        tables = [markup.Table(rows)]
        if last:
            tables.append(markup.Table(last, ("last epoch", "mean"), numeric=(1,)))
        note = f"{self.status}, {self.epochs} of {config.epochs} epochs"
        return markup.notebook(f"Run {self.path}", tables, f"{note}. {self.message}".strip())

    def model(self, weights: str = "last") -> tfvae.VAE:
        """Load the model, optimizer included.

        Args:
            weights: ``"last"``; ``"best"``, those of the epoch with the best validation ELBO;
                or ``"ema"``, the moving averages of the last ones.

        Raises:
            RunError: if the run has no such weights.
        """
        if weights not in WEIGHTS:
            raise RunError(
                f"Expected `weights` to be one of {', '.join(WEIGHTS)}. "
                f"Received: weights={weights!r}.{did_you_mean(weights, WEIGHTS)}"
            )
        best = self.path / CHECKPOINTS / BEST
        if weights != "last" and self.config.fit_prior != "none":
            raise RunError(
                f"Expected a run with the prior that it was trained with. Received: {self.path}, "
                f"whose prior was fitted to its last weights; weights={weights!r} have none."
            )
        if weights == "best" and not best.is_file():
            raise RunError(
                f"Expected a run with a best epoch. Received: {self.path}, which has none: it was "
                "trained without --validation."
            )
        if weights == "ema" and self.config.ema is None:
            raise RunError(
                f"Expected a run that keeps averages of its weights. Received: {self.path}, "
                "which was trained without --ema."
            )
        startup.import_tensorflow()
        model = tfvae.load_model(self.path / MODEL)
        if weights == "best":
            from tfvae import checkpoints

            checkpoints.restore(model, best)
        elif weights == "ema":
            with model.averaged():
                averages = model.get_weights()
            model.set_weights(averages)
        return model

    def data(self, source: str | None = None) -> Dataset:
        """Load the data of the run, split and binarised as in it.

        Args:
            source: where the data is now, if it has moved.

        Raises:
            DataError: if it cannot be read, or is not the data of the run.
        """
        config = self.config
        return load_data(config if source is None else dataclasses.replace(config, data=source))


def train(
    config: RunConfig,
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    verbose: bool = True,
    resume: bool = False,
    checkpoint_every: int | None = None,
    keep: int = 2,
    device: str | None = None,
    strategy: Strategy = "none",
    tensorboard: bool = False,
    pictures: int | None = None,
) -> Run:
    """Train a model and leave a run folder.

    The same configuration gives the same weights on the same machine, interrupted and resumed or
    not. Of several workers the first writes, and all need to see the folder.

    Args:
        config: what to train, on what.
        out: the run folder; ``runs/<model>-<data>-<time>`` by default.
        overwrite: replace a run that is there.
        verbose: show progress, on standard error.
        resume: go on with the run in `out` from its newest checkpoint; see :func:`resume`.
        checkpoint_every: steps between checkpoints; at the end of epochs by default.
        keep: how many checkpoints to keep, beside the best.
        device: as ``"cpu"``, ``"gpu"`` or ``"gpu:0,1"``; whatever there is by default.
        strategy: ``"none"``, ``"mirrored"`` over the devices of this machine, or
            ``"multiworker"`` over those that ``TF_CONFIG`` names.
        tensorboard: write for TensorBoard, into the run folder.
        pictures: epochs between pictures of samples and reconstructions, which go into the run
            folder; none by default.

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
    from tfvae import cluster, devices
    from tfvae.progress import announce, show_progress

    if strategy == "multiworker" and out is None:
        raise RunError(
            "Expected `out` (--out) for the multiworker strategy: a folder that all workers share. "
            "Received: none."
        )
    workers = cluster.check() if strategy == "multiworker" else None
    chief = workers is None or (workers.kind, workers.index) == (workers.leader, 0)
    folder = Path(out if out is not None else default_folder(config))
    if chief and not resume:
        check_target(folder, overwrite=overwrite)
    devices.check(device)
    if pictures is not None:
        extras.check(*extras.MATPLOTLIB)
    with files.claimed(folder) if chief else contextlib.nullcontext():
        # Cheap things first: importing TensorFlow takes seconds.
        dataset = load_data(config)
        config = config.resolved(dataset.fingerprint)
        if verbose and chief:
            announce(summary(config, dataset))
        startup.import_tensorflow()
        import keras

        devices.prepare(device, keras.config.dtype_policy().name)
        with cluster.strategy(strategy).scope():
            recorder, others = _prepared(
                config,
                dataset,
                folder,
                chief,
                resume,
                checkpoint_every,
                keep,
                tensorboard,
                pictures,
            )
            steps = steps_per_epoch(config, dataset)
            shown = verbose and chief
            with (
                show_progress(config.epochs, steps, shown, len(dataset.train)) as progress,
                cluster.translated(),
            ):
                recorder.fit(dataset, progress, *others)
    return Run.load(folder)


def _prepared(
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    chief: bool,
    resume: bool,
    checkpoint_every: int | None,
    keep: int,
    tensorboard: bool,
    pictures: int | None,
) -> tuple[Recorder, list[Any]]:
    """Return what trains and records, its folder written, and further callbacks."""
    from tfvae.checkpoints import Checkpoint

    model = build(config, dataset)
    bounded = "elbo" in [metric.name for metric in model.metrics]
    monitor = "val_elbo" if bounded else "val_loss"
    checkpoint = Checkpoint(
        folder / CHECKPOINTS,
        every=checkpoint_every,
        keep=keep,
        monitor=None if dataset.validation is None else monitor,
        mode="max" if bounded else "min",
        resume=resume,
        writes=chief,
    )
    others: list[Any] = []
    if tensorboard and chief:
        from tfvae.tensorboard import TensorBoard

        others.append(TensorBoard(folder / TENSORBOARD))
    if pictures is not None and chief:
        from tfvae.snapshots import SEEN, Snapshots

        shown = dataset.test if dataset.validation is None else dataset.validation
        some = shown.take(min(SEEN, len(shown)))
        others.append(Snapshots(folder / PICTURES, some, every=pictures))
    recorder = Recorder(folder, config, model, checkpoint, writes=chief)
    if resume:
        recorder.resume(_read_object(folder / HISTORY))
    else:
        recorder.start(dataset)
    return recorder, others


def resume(path: str | os.PathLike[str], *, epochs: int | None = None, **options: Any) -> Run:
    """Go on with a run that was killed, interrupted or is to be longer.

    It ends with the weights, bit for bit, of a run that was never interrupted: checkpoints hold
    all state, and everything random is a function of seed and step.

    Args:
        path: the run folder.
        epochs: train until so many are completed, if these are more than the run was to have.
        **options: those of :func:`train`.

    Returns:
        The run; as it is, where it is complete.

    Raises:
        FileNotFoundError: if there is no such run.
        RunError: for fewer epochs, or more under a schedule that falls towards the last one; for
            a run whose history is lost.
    """
    run = Run.load(path)
    config = run.config
    if epochs is not None and epochs != config.epochs:
        if epochs < config.epochs:
            raise RunError(
                f"Expected `epochs` of at least {config.epochs}, which the run was to have. "
                f"Received: epochs={epochs}."
            )
        if config.schedule != "constant":
            raise RunError(
                f"Expected the run's {config.epochs} epochs, in which its {config.schedule} "
                f"schedule falls to 0. Received: epochs={epochs}. Train a new run."
            )
        if config.fit_prior != "none" and run.status == "complete":
            raise RunError(
                "Expected a run whose prior was not fitted yet. Received: one with "
                f"fit_prior={config.fit_prior!r} that is complete. Train a new run."
            )
        config = dataclasses.replace(config, epochs=epochs)
    elif run.status == "complete":
        return run
    run.check_history()
    return train(config, path, resume=True, **options)


def _read_object(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise RunError(f"Expected {path} to be JSON. It is damaged: {error}.") from error
    if not isinstance(document, dict):
        raise RunError(f"Expected {path} to be a JSON object. It is damaged.")
    return document
