"""Runs: a training that can be repeated, and the folder that it leaves.

::

    runs/m/
      config.json        what was asked for: all it takes to repeat the run
      environment.json   what it ran on: versions, git commit, command, data
      status.json        running, complete, interrupted or failed, after how many epochs
      history.csv  history.json    the terms of each epoch
      model.keras        the model, optimizer included

Every file is replaced whole, and the model and the history after each epoch, so the folder can be
loaded at any moment of training, and after a Ctrl-C. TensorFlow is imported once a model is built.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import tfvae
from tfvae import files, options, startup
from tfvae.export.errors import did_you_mean

if TYPE_CHECKING:
    from tfvae.data import Dataset
    from tfvae.progress import Progress

__all__ = ["Interrupted", "Run", "RunConfig", "RunError", "build", "check_target", "train"]

CONFIG, ENVIRONMENT, STATUS = "config.json", "environment.json", "status.json"
HISTORY, TABLE, MODEL = "history.json", "history.csv", "model.keras"
EVALUATION = "evaluation.json"
_OURS = (CONFIG, ENVIRONMENT, STATUS, HISTORY, TABLE, MODEL, EVALUATION)

# Saving may take this share of the time; of epochs that are shorter, some are not saved but held
# in memory, until one is or until training stops.
_SAVING_SHARE = 0.05


class RunError(ValueError):
    """A run's configuration or folder that is not what it should be."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in training; says what is kept."""


@dataclass(frozen=True)
class RunConfig:
    """All it takes to repeat a run.

    Args:
        model: a function of :mod:`tfvae.zoo`.
        data: the name of a data set, or the path of one.
        binarize: what a model sees of values in [0, 1]: ``"none"``, ``"threshold"``, ``"dynamic"``.
        validation: how much of the training data to hold out: a fraction, a count, or 0.
        epochs: passes over the data.
        batch_size: examples in a step.
        learning_rate: Adam's.
        seed: of weights, noise, data order, validation split and binarisation.
        options: the model's own arguments.
        fingerprint: SHA-256 of the data, to refuse other data; None takes any.

    Raises:
        RunError: for a value of the wrong kind, or an unknown name (the nearest is suggested).

    Example:
        >>> config = RunConfig(model="beta_vae", epochs=3, options={"beta": 2.0})
        >>> RunConfig.from_json(config.to_json()) == config
        True
    """

    model: str = "vae"
    data: str = "digits"
    binarize: str = "none"
    validation: float = 0
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        _check(self, "model", isinstance(self.model, str), "the name of a model")
        _check(self, "data", isinstance(self.data, str) and self.data.strip(), "a name or a path")
        from tfvae.data import Binarize

        known = get_args(Binarize)
        near = did_you_mean(self.binarize, known)
        _check(self, "binarize", self.binarize in known, f"one of {', '.join(known)}", near)
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            good = type(value) is int and least <= value < 2**63
            _check(self, name, good, f"a whole number of at least {least}")
        rate = _number(self.learning_rate)
        _check(self, "learning_rate", rate is not None and rate > 0, "a positive number")
        held_out = _number(self.validation)
        _check(
            self,
            "validation",
            held_out is not None and held_out >= 0 and (held_out < 1 or held_out.is_integer()),
            "a fraction in [0, 1) or a whole number of examples",
        )
        _check(self, "options", isinstance(self.options, dict), "the model's arguments by name")
        object.__setattr__(self, "options", _checked_options(self.model, self.options))

    def resolved(self, fingerprint: str | None = None) -> RunConfig:
        """Return the same with all defaults of the model and an absolute path of the data."""
        from tfvae.data import sources

        data = self.data
        if data not in sources():
            data = str(Path(data).expanduser().resolve())
        defaults = {
            name: option.default
            for name, option in options.options(self.model).items()
            if not option.required
        }
        return dataclasses.replace(
            self,
            data=data,
            options=defaults | self.options,
            fingerprint=fingerprint or self.fingerprint,
        )

    def to_json(self) -> str:
        """Return the contents of ``config.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Read the contents of ``config.json``.

        Raises:
            RunError: if it is not JSON, or a key or a value is not a configuration's.
        """
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise RunError(f"Expected a configuration in JSON. Received: {error}.") from error
        if not isinstance(document, dict):
            raise RunError(
                "Expected a configuration to be a JSON object. "
                f"Received: {type(document).__name__}."
            )
        known = [each.name for each in dataclasses.fields(cls)]
        for key in document:
            if key not in known:
                raise RunError(
                    f"Expected the keys of a configuration, {', '.join(known)}. "
                    f"Received: {key!r}.{did_you_mean(key, known)}"
                )
        return cls(**document)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> RunConfig:
        """Read ``config.json``, given itself or its run folder.

        Raises:
            FileNotFoundError: if there is none.
            RunError: if it is not a configuration.
        """
        path = Path(path)
        file = path / CONFIG if path.is_dir() else path
        try:
            return cls.from_json(_read(file))
        except RunError as error:
            raise RunError(f"{file}: {error}") from error


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
        recorder = _Recorder(folder, config, model)
        recorder.start(dataset)
    steps = math.ceil(len(dataset.train) / config.batch_size)
    with show_progress(config.epochs, steps, verbose) as progress:
        return recorder.fit(dataset, progress)


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


class _Recorder:
    """Keeps a run folder in step with training."""

    def __init__(self, folder: Path, config: RunConfig, model: tfvae.VAE) -> None:
        self.folder = folder
        self.config = config
        self.model = model
        self.history: dict[str, list[float]] = {}
        self.environment: dict[str, Any] = {}
        self.started = self.epoch_started = time.monotonic()
        self.saved_at = 0.0
        self.saving_took = math.inf
        self.unsaved: list[Any] | None = None

    @property
    def epochs(self) -> int:
        return len(self.history.get("loss", ()))

    def start(self, dataset: Dataset) -> None:
        """Write the folder as it is before the first epoch."""
        import tensorflow as tf

        self.environment = files.environment() | {
            "devices": [device.name for device in tf.config.list_physical_devices()],
            "data": {
                "name": dataset.name,
                "fingerprint": dataset.fingerprint,
                "shape": list(dataset.train.shape),
                "train": len(dataset.train),
                "validation": 0 if dataset.validation is None else len(dataset.validation),
                "test": len(dataset.test),
            },
            "parameters": self.model.encoder.count_params() + self.model.decoder.count_params(),
        }
        # A folder is a run once it has a configuration: it is removed first and written last.
        for name in (CONFIG, EVALUATION):
            (self.folder / name).unlink(missing_ok=True)
        try:
            self._save()
            self._write_history()
            self._write_status("running")
            files.replace_json(self.folder / ENVIRONMENT, self.environment)
            files.replace_text(self.folder / CONFIG, self.config.to_json())
        except BaseException:
            for name in _OURS:
                (self.folder / name).unlink(missing_ok=True)
            raise

    def fit(self, dataset: Dataset, progress: Progress | None) -> Run:
        """Train, and leave the folder true however that ends."""
        import keras

        callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=self.end_epoch)]
        if progress is not None:
            callbacks.append(
                keras.callbacks.LambdaCallback(
                    on_train_batch_end=progress.step, on_epoch_end=progress.epoch
                )
            )
        self.started = self.epoch_started = time.monotonic()
        try:
            self.model.fit(
                dataset.train,
                batch_size=self.config.batch_size,
                epochs=self.config.epochs,
                validation_data=dataset.validation,
                verbose=0,
                callbacks=callbacks,
            )
        except KeyboardInterrupt:
            self._settle()
            self._write_status("interrupted")
            raise Interrupted(f"Interrupted. {self._kept()}") from None
        except FloatingPointError as error:
            self._save()
            self._write_status("failed", str(error))
            raise type(error)(f"{error} {self._kept()}") from error
        except BaseException as error:
            with contextlib.suppress(OSError):  # a full disk is why we are here, perhaps
                self._write_status("failed", f"{type(error).__name__}: {error}")
            raise
        self._settle()
        return self._write_status("complete")

    def end_epoch(self, _epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record an epoch."""
        now = time.monotonic()
        row = {name: float(value) for name, value in (logs or {}).items()}
        row["seconds"] = round(now - self.epoch_started, 3)
        history = {name: [*self.history.get(name, ()), value] for name, value in row.items()}
        weights = [variable.numpy() for variable in self._variables()]
        # At once, so that a Ctrl-C here keeps a history and weights of the same epoch.
        self.history, self.unsaved = history, weights
        self.epoch_started = now
        if now - self.saved_at > self.saving_took / _SAVING_SHARE:
            self._save()
        self._write_history()
        self._write_status("running")

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _save(self) -> None:
        before = time.monotonic()
        files.replace(self.folder / MODEL, self.model.save)
        self.unsaved = None
        self.saved_at = time.monotonic()
        # The first save of a process is slower than those that follow.
        self.saving_took = min(self.saving_took, self.saved_at - before)

    def _settle(self) -> None:
        """Save the last completed epoch, unless it is."""
        if self.unsaved is not None:
            for variable, value in zip(self._variables(), self.unsaved, strict=True):
                variable.assign(value)
            self._save()

    def _write_history(self) -> None:
        columns = {
            name: [value if math.isfinite(value) else None for value in values]
            for name, values in self.history.items()
        }
        files.replace_json(self.folder / HISTORY, columns)
        rows = zip(*self.history.values(), strict=True)
        lines = [("epoch", *self.history), *((n, *row) for n, row in enumerate(rows, 1))]
        text = "".join(",".join(map(str, line)) + "\n" for line in lines)
        files.replace_text(self.folder / TABLE, text)

    def _write_status(self, status: str, message: str = "") -> Run:
        files.replace_json(
            self.folder / STATUS,
            {
                "status": status,
                "message": message,
                "epochs": self.epochs,
                "of": self.config.epochs,
                "seconds": round(time.monotonic() - self.started, 3),
            },
        )
        return Run(self.folder, self.config, self.environment, self.history, status, message)

    def _kept(self) -> str:
        done = f"{self.epochs} of {self.config.epochs} epochs"
        return f"{done} completed; model and history are kept in {self.folder}."


def _check(config: RunConfig, name: str, good: object, expected: str, hint: str = "") -> None:
    if not good:
        value = getattr(config, name)
        raise RunError(f"Expected `{name}` to be {expected}. Received: {name}={value!r}.{hint}")


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _checked_options(model: str, given: dict[str, Any]) -> dict[str, Any]:
    try:
        known = options.options(model)
        for name in given:
            if name not in known:
                raise RunError(options.unknown(name, model))
        missing = [name for name, option in known.items() if option.required and name not in given]
        if missing:
            raise RunError(f"Expected `{missing[0]}`, which {model} needs. Received: none.")
        return {name: known[name].check(value) for name, value in given.items()}
    except RunError:
        raise
    except ValueError as error:
        raise RunError(str(error)) from error


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
    return place.name in _OURS or place.name.startswith(".")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected {path}, which does not exist.") from None
    except UnicodeDecodeError as error:
        raise RunError(f"Expected {path} to be text. It is damaged: {error}.") from error


def _read_object(path: Path) -> dict[str, Any]:
    text = _read(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise RunError(f"Expected {path} to be JSON. It is damaged: {error}.") from error
    if not isinstance(document, dict):
        raise RunError(f"Expected {path} to be a JSON object. It is damaged.")
    return document
