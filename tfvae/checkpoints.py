"""Checkpoints: all that it takes to go on with a training as if it had never stopped.

A checkpoint is one file, ``step-000000001200.npz``: every variable of model, optimizer and metrics,
and where in its epochs training was. Order, noise and binarisation are functions of (seed, step),
so nothing else is needed, and a resumed training ends with the weights, bit for bit, of one that
was never interrupted. Files are written beside and renamed: a kill or a full disk leaves the last
good one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae import replicas
from tfvae.loop import Position
from tfvae.step import check_count

PATTERN = "step-*.npz"
BEST = "best.npz"

_FORMAT = 1
_HEADER = "header.json"
# Saving may take this share of the time, unless it is said when to save.
_SAVING_SHARE = 0.05


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or of another model."""


class Checkpoint(keras.callbacks.Callback):
    """Saves checkpoints while a model trains, and resumes from the last one.

    Args:
        folder: where checkpoints are kept.
        every: steps between checkpoints; None saves at the end of epochs, as often as takes no
            more than a twentieth of the time.
        keep: how many of the newest to keep.
        monitor: the log whose best value is kept as ``best.npz``; None keeps none.
        mode: whether the best is the largest, ``"max"``, or the smallest, ``"min"``.
        resume: begin with the newest good checkpoint in the folder, if there is one.
        writes: whether this process saves; by default, of several workers the first does.

    Raises:
        ValueError: for numbers below 1 or an unknown `mode`.
        FileExistsError: when training begins without `resume`, if there are checkpoints.
        CheckpointError: when training begins, if the checkpoint is of another model, or of other
            data or another batch size.

    Of a ``tf.data`` pipeline or a generator, which cannot be entered in the middle, the epoch that
    was interrupted begins again.

    A checkpoint that cannot be written, on a full disk, is warned of and training goes on; the one
    before it is kept.

    Example:
        >>> checkpoint = tfvae.checkpoints.Checkpoint("checkpoints", every=1000, resume=True)
        >>> _ = vae.fit(x, epochs=20, callbacks=[checkpoint])  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int | None = None,
        keep: int = 2,
        monitor: str | None = "val_elbo",
        mode: str = "max",
        resume: bool = False,
        writes: bool | None = None,
    ) -> None:
        super().__init__()
        check_count("keep", keep)
        if every is not None:
            check_count("every", every)
        if mode not in ("max", "min"):
            raise ValueError(f'Expected `mode` to be "max" or "min". Received: mode={mode!r}.')
        self.folder = Path(folder)
        self.every = self.steps_between = every
        self.keep = keep
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.resume = resume
        self.writes = writes
        self.best = -math.inf
        self.history: dict[str, list[float]] = {}
        self._saved_at = 0.0
        self._took = math.inf
        self._last = -1

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore, if asked to."""
        self._saved_at = time.monotonic()
        if self.writes is None:
            self.writes = replicas.is_chief()
        if self.writes and not self.resume and self._last < 0 and newest(self.folder):
            raise FileExistsError(
                f"Expected a folder without checkpoints. Received: {self.folder}, which holds "
                f"{newest(self.folder)[0].name}. Go on from it with resume=True, or choose another."
            )
        if self.writes:
            for left in [*self.folder.glob(f".{PATTERN}.*"), *self.folder.glob(f".{BEST}.*")]:
                left.unlink(missing_ok=True)  # by a process that was killed
        if not self.resume:
            return
        header = restore_newest(self.model, self.folder, remove_damaged=bool(self.writes))
        if tf.distribute.has_strategy() and not replicas.agree(int(self.model.step.numpy())):
            raise CheckpointError(
                f"Expected all workers to find the same checkpoints in {self.folder}. Received: "
                f"step {int(self.model.step.numpy())} here and another elsewhere. Use a folder "
                "that all of them share."
            )
        if header is not None:
            self.history = header["history"]
            self.best = -math.inf if header["best"] is None else float(header["best"])
            self._last = int(header["step"])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save, where enough steps were taken."""
        if self.every is None:
            return
        step = int(self.model.step.numpy())
        if step // self.every > max(self._last, 0) // self.every:
            self.save()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save at the end of an epoch, and keep it if it is the best."""
        logs = {name: float(value) for name, value in (logs or {}).items()}
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        value = logs.get(self.monitor or "", math.nan)
        better = self.sign * value > self.best  # false of NaN
        if better:
            self.best = self.sign * value
        idle = time.monotonic() - self._saved_at
        due = self.every is None and (
            idle > self._took / _SAVING_SHARE or not self._took < math.inf
        )
        # The best first: a kill in between loses nothing, for that epoch will come again.
        if better:
            self._write(BEST)
        if due or epoch + 1 == self.params.get("epochs") or self.model.stop_training:
            self.save()

    def newest(self) -> Path | None:
        """Return the newest checkpoint in the folder."""
        return next(iter(newest(self.folder)), None)

    def completed_epochs(self) -> int:
        """Return how many epochs were completed at the newest checkpoint that is whole."""
        for path in newest(self.folder):
            with contextlib.suppress(CheckpointError):
                return Position(**read(path)[0]["position"]).epoch
        return 0

    def save(self) -> None:
        """Save a checkpoint now, and remove those that are no longer kept."""
        step = int(self.model.step.numpy())
        # All workers save at the same steps, whether or not the disk is full.
        self._last = step
        if not self._write(f"step-{step:012d}.npz") or not self.writes:
            return
        for old in sorted(self.folder.glob(PATTERN))[: -self.keep]:
            old.unlink(missing_ok=True)

    def _write(self, name: str) -> bool:
        before = time.monotonic()
        position = self.model.position
        header = {
            "format": _FORMAT,
            "step": int(self.model.step.numpy()),
            "position": position._asdict(),
            "history": self.history,
            "best": self.best if math.isfinite(self.best) else None,
            "slots": _slots(self.model),
            "course": self.model.course,
            "variables": [_described(variable) for variable in _variables(self.model)],
        }
        # Also where another worker writes: sums over all of them are read together.
        values = [np.asarray(variable) for variable in _variables(self.model)]
        if not self.writes:
            return True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(self.folder / name, header, values)
        except OSError as error:
            warnings.warn(
                f"Could not write the checkpoint {self.folder / name}: "
                f"{error.strerror or error}. Training goes on; what was saved before is kept.",
                stacklevel=2,
            )
            return False
        self._saved_at = time.monotonic()
        self._took = min(self._took, self._saved_at - before)
        return True


def newest(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints of a folder, the newest first."""
    return sorted(Path(folder).glob(PATTERN), reverse=True)


def restore_newest(
    model: Any, folder: str | os.PathLike[str], *, remove_damaged: bool = False
) -> dict[str, Any] | None:
    """Restore the newest checkpoint that is whole, and return what it says; None if there is none.

    Raises:
        CheckpointError: if it is of another model, or all are damaged.

    Warns:
        UserWarning: of each that is damaged.
    """
    damaged: list[Path] = []
    for path in newest(folder):
        try:
            header, values = read(path)
        except CheckpointError as error:
            warnings.warn(f"{error} The one before it is tried.", stacklevel=2)
            damaged.append(path)
            continue
        _restore(model, path, header, values)
        for each in damaged if remove_damaged else ():
            each.unlink(missing_ok=True)  # it would count as the newest
        return header
    if damaged:
        raise CheckpointError(
            f"Expected a checkpoint in {folder} that is whole. All of them are damaged: "
            f"{', '.join(path.name for path in damaged)}. Train again."
        )
    return None


def restore(model: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Set a model's variables, its optimizer's and its position to those of a checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, or of another model; the model is left as it was.
    """
    header, values = read(path)
    _restore(model, Path(path), header, values)
    return header


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[Any]]:
    """Return the header of a checkpoint and its values.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(_HEADER))
            names = [f"{index}.npy" for index in range(len(header["variables"]))]
            values = []
            for name in names:
                with archive.open(name) as file:  # its checksum is verified at the end
                    values.append(np.lib.format.read_array(file, allow_pickle=False))
                    if file.read(1):
                        raise ValueError(f"{name} is longer than it says")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Expected a checkpoint. Received: {path}, which does not exist."
        ) from None
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"Expected a whole checkpoint. Received: {path}, which is damaged "
            f"({' '.join(str(error).split()) or type(error).__name__})."
        ) from error
    if header["format"] != _FORMAT:
        raise CheckpointError(
            f"Expected a checkpoint of format {_FORMAT}. Received: {path} of format "
            f"{header['format']}: another version of tfvae wrote it."
        )
    return header, values


def _restore(model: Any, path: Path, header: dict[str, Any], values: list[Any]) -> None:
    model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    slots = _slots(model)
    for slot, given in header["slots"].items():
        if slots.get(slot) != given:
            raise CheckpointError(
                f"Expected a checkpoint of this model. Received: {path}, whose {slot} is "
                f"{given}; the model's is {slots.get(slot)}."
            )
    for name, given in header["course"].items():
        if model.course and model.course.get(name) != given:
            raise CheckpointError(
                f"Expected to go on with a training whose {name} is {given}, as in {path}. "
                f"Received: {name}={model.course.get(name)}. Resume it as it was."
            )
    ours = [_described(variable) for variable in variables]
    if len(ours) != len(header["variables"]):
        raise CheckpointError(
            f"Expected a checkpoint of this model, with {len(ours)} variables. Received: {path}, "
            f"with {len(header['variables'])}: layers or optimizer differ."
        )
    for (name, *mine), (_, *theirs) in zip(ours, header["variables"], strict=True):
        if mine != theirs:
            raise CheckpointError(
                f"Expected a checkpoint of this model, whose {name} is {mine[1]} of shape "
                f"{mine[0]}. Received: {path}, where it is {theirs[1]} of shape {theirs[0]}."
            )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    model.position = Position(**header["position"])


def _variables(model: Any) -> list[Any]:
    """All state of a training: weights, seeds of layers, metrics, and the optimizer's."""
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    # Some of a model's variables are a metric's too.
    found = {id(each): each for each in [*model.variables, *metrics, *model.optimizer.variables]}
    return list(found.values())


def _described(variable: Any) -> list[Any]:
    return [variable.path, list(variable.shape), str(variable.dtype)]


def _slots(model: Any) -> dict[str, str]:
    """What the slots are, for models whose variables cannot tell them apart."""
    layers = {
        slot: type(getattr(model, slot)).__name__
        for slot in ("prior", "posterior", "likelihood")
        if hasattr(model, slot)
    }
    return layers | {
        "objective": repr(model.objective),
        "optimizer": type(model.optimizer).__name__,
        "seed": str(model.seed),
    }


def _write_whole(path: Path, header: dict[str, Any], values: list[Any]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_HEADER, json.dumps(header))
                for index, value in enumerate(values):
                    with archive.open(f"{index}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, np.asarray(value), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
