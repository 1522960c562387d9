"""Keeps a run folder in step with training, so that it can be loaded at any moment."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tfvae
from tfvae import files
from tfvae.run_config import CONFIG, RunConfig

if TYPE_CHECKING:
    from tfvae.checkpoints import Checkpoint
    from tfvae.data import Dataset
    from tfvae.progress import Progress

ENVIRONMENT, STATUS = "environment.json", "status.json"
HISTORY, TABLE, MODEL = "history.json", "history.csv", "model.keras"
EVALUATION, PROBE, REPORT = "evaluation.json", "probe.json", "report.html"
DISENTANGLEMENT = "disentanglement.json"
CHECKPOINTS, TENSORBOARD, BEST = "checkpoints", "tensorboard", "best.npz"
PICTURES = "pictures"
FILES = (
    CONFIG, ENVIRONMENT, STATUS, HISTORY, TABLE, MODEL, EVALUATION, PROBE, DISENTANGLEMENT, REPORT,
)  # fmt: skip
FOLDERS = (CHECKPOINTS, TENSORBOARD, PICTURES)

# Saving may take this share of the time; of epochs that are shorter, some are not saved but held
# in memory, until one is or until training stops.
_SAVING_SHARE = 0.05


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in training; says what is kept."""


class Recorder:
    """Writes a run folder before, during and after ``fit``.

    Args:
        folder: the run folder, which exists.
        config: of the run.
        model: compiled, with an optimizer that is built.
        checkpoint: saves and restores what it takes to resume.
        writes: whether this process writes files: of several workers one does.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        model: tfvae.VAE,
        checkpoint: Checkpoint,
        *,
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.config = config
        self.model = model
        self.checkpoint = checkpoint
        self.writes = writes
        self.history: dict[str, list[float]] = {}
        self.message = ""
        self.resumed = False
        self.started = self.epoch_started = time.monotonic()
        self.saved_at = 0.0
        self.saving_took = math.inf
        self.unsaved: list[Any] | None = None

    @property
    def epochs(self) -> int:
        """Completed epochs."""
        return len(self.history.get("loss", ()))

    def resume(self, history: Mapping[str, list[float]]) -> None:
        """Go on after the epochs of the newest checkpoint, with the history up to there."""
        done = self.checkpoint.completed_epochs()
        self.history = {name: list(values[:done]) for name, values in history.items()}
        self.resumed = True
        if self.writes:
            files.replace_text(self.folder / CONFIG, self.config.to_json())

    def start(self, dataset: Dataset) -> None:
        """Write the folder as it is before the first epoch."""
        if not self.writes:
            return
        import tensorflow as tf

        environment = files.environment() | {
            "devices": [device.name for device in tf.config.list_physical_devices()],
            "data": {
                "name": dataset.name,
                "fingerprint": dataset.fingerprint,
                "shape": list(dataset.train.shape),
                "train": len(dataset.train),
                "validation": 0 if dataset.validation is None else len(dataset.validation),
                "test": len(dataset.test),
            },
            "parameters": _parameters(self.model),
        }
        # A folder is a run once it has a configuration: it is removed first and written last.
        for name in (CONFIG, EVALUATION, PROBE, REPORT):
            (self.folder / name).unlink(missing_ok=True)
        for name in FOLDERS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        try:
            self._save()
            self._write_history()
            self._write_status("running")
            files.replace_json(self.folder / ENVIRONMENT, environment)
            files.replace_text(self.folder / CONFIG, self.config.to_json())
        except BaseException:
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
            raise

    def fit(self, dataset: Dataset, progress: Progress | None, *others: Any) -> None:
        """Train, with other callbacks too, and leave the folder true however that ends."""
        import keras

        # The history first: a checkpoint is never of an epoch that it does not know.
        callbacks = [
            keras.callbacks.LambdaCallback(on_epoch_end=self.end_epoch), self.checkpoint, *others
        ]  # fmt: skip
        if progress is not None:
            callbacks.append(
                keras.callbacks.LambdaCallback(
                    on_epoch_begin=progress.begin,
                    on_train_batch_end=progress.step,
                    on_epoch_end=progress.epoch,
                )
            )
        self.started = self.epoch_started = time.monotonic()
        try:
            self.model.fit(
                dataset.train,
                batch_size=self.config.batch_size,
                # A run that was killed as it was about to stop early trains no longer.
                epochs=self.epochs if self._stops_early() else self.config.epochs,
                validation_data=dataset.validation,
                verbose=0,
                callbacks=callbacks,
                initial_epoch=self.epochs,
            )
            if self.config.fit_prior != "none":
                self._settle()
                self.unsaved = None
                self.model = self.model.fit_prior(
                    dataset.train,
                    self.config.fit_prior,
                    epochs=self.config.epochs,
                    seed=self.config.seed,
                )
                self._save()
        except KeyboardInterrupt:
            self._settle()
            self._write_status("interrupted")
            raise Interrupted(f"Interrupted. {self._kept()}") from None
        except FloatingPointError as error:
            self._save()
            self._write_status("failed", str(error))
            raise type(error)(f"{error} {self._kept(again=False)}") from error
        except BaseException as error:
            with contextlib.suppress(OSError):  # a full disk is why we are here, perhaps
                self._write_status("failed", f"{type(error).__name__}: {error}")
            raise
        self._settle()
        if self.resumed:
            self._save()  # a checkpoint may be of a later epoch than the model's file
        self._write_status("complete", self.message)

    def end_epoch(self, _epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record an epoch."""
        now = time.monotonic()
        row = {name: float(value) for name, value in (logs or {}).items()}
        row["seconds"] = round(now - self.epoch_started, 3)
        history = {name: [*self.history.get(name, ()), value] for name, value in row.items()}
        # Of several workers all read, for some variables are sums over them; one writes.
        weights = [variable.numpy() for variable in self._variables()]
        # At once, so that a Ctrl-C here keeps a history and weights of the same epoch.
        self.history, self.unsaved = history, weights
        self.epoch_started = now
        if now - self.saved_at > self.saving_took / _SAVING_SHARE:
            self._save()
        self._write_history()
        self._write_status("running")
        if self._stops_early():
            self.model.stop_training = True

    def _stops_early(self) -> bool:
        """Say whether nothing has become better for long: a function of the history alone."""
        name = "val_elbo" if "val_elbo" in self.history else "val_loss"
        watched = self.history.get(name, [])
        if self.config.patience is None or not watched:
            return False
        sign = 1.0 if name == "val_elbo" else -1.0
        best = max(range(len(watched)), key=lambda epoch: sign * watched[epoch])
        stops = len(watched) - 1 - best >= self.config.patience
        if stops:
            self.message = f"stopped early: {name} was best in epoch {best + 1}"
        return stops

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _save(self) -> None:
        if not self.writes:
            return
        before = time.monotonic()
        files.replace(self.folder / MODEL, self.model.save)
        self.unsaved = None
        self.saved_at = time.monotonic()
        # The first save of a process is slower than those that follow.
        self.saving_took = min(self.saving_took, self.saved_at - before)

    def _settle(self) -> None:
        """Have the folder hold the last completed epoch."""
        if self.unsaved is not None:
            for variable, value in zip(self._variables(), self.unsaved, strict=True):
                variable.assign(value)
            self._save()
        self._write_history()

    def _write_history(self) -> None:
        if not self.writes:
            return
        columns = {
            name: [value if math.isfinite(value) else None for value in values]
            for name, values in self.history.items()
        }
        files.replace_json(self.folder / HISTORY, columns)
        rows = zip(*self.history.values(), strict=True)
        lines = [("epoch", *self.history), *((n, *row) for n, row in enumerate(rows, 1))]
        text = "".join(",".join(map(str, line)) + "\n" for line in lines)
        files.replace_text(self.folder / TABLE, text)

    def _write_status(self, status: str, message: str = "") -> None:
        if not self.writes:
            return
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

    def _kept(self, *, again: bool = True) -> str:
        """Say what is kept, and how to go on from it, if that would not end alike again."""
        done = f"{self.epochs} of {self.config.epochs} epochs"
        kept = f"{done} completed; model and history are kept in {self.folder}"
        if again:
            return f"{kept}. Go on with: tfvae train --resume {self.folder}"
        last = self.checkpoint.newest()
        return kept + ("." if last is None else f", and the last checkpoint in {last}.")


def _parameters(model: Any) -> int:
    """Count the weights of a model's networks, those that two share once."""
    weights = {id(weight): weight for part in model.networks() for weight in part.weights}
    return sum(math.prod(weight.shape) for weight in weights.values())
