"""What a run is made of before its first step: its folder, its data, its model."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import tfvae
from tfvae import options, startup
from tfvae.recorder import FILES, FOLDERS, STATUS
from tfvae.run_config import CONFIG, RunConfig, RunError

if TYPE_CHECKING:
    from tfvae.data import Dataset


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
        ValueError: for options or data that do not fit, RunError among them.
        TypeError: where a prior is to be fitted to a model that takes no other.
    """
    startup.import_tensorflow()
    from tfvae import expost, intake, optimizers, zoo

    function = options.find(config.model)
    arguments = dict(config.options)
    if "seed" in zoo.parameters(function):
        arguments["seed"] = config.seed
    if "vocabulary" in zoo.parameters(function):
        if not dataset.vocabulary:
            raise RunError(
                f"Expected data that are text for the model {config.model}. Received: "
                f"{dataset.name}, which is none. Pass --data grammar, or a .txt file."
            )
        arguments["vocabulary"] = dataset.vocabulary
    with _policy(config.precision):
        model = function(dataset.train.shape, **arguments)
        for name in ("train", "validation", "test"):
            part = getattr(dataset, name)
            if part is not None:
                accepted = intake.accepted(model.likelihood, *model.arrange(part), argument=name)
                model.check_condition(accepted, "data with labels")
                if name == "train":
                    model.check_examples(accepted)
        if config.fit_prior != "none":
            expost.check_model(model)
        for slot in config.freeze:
            for layer in model.slot_layers(slot):
                layer.trainable = False
        model.compile(
            getattr(optimizers, config.optimizer)(
                config.learning_rate,
                steps=config.epochs * steps_per_epoch(config, dataset),
                schedule=config.schedule,
                warmup=config.warmup,
                clip_norm=config.clip_norm,
                ema=config.ema,
                accumulate=config.accumulate,
            ),
            nonfinite=config.nonfinite,  # type: ignore[arg-type]
            slot_rates=config.slot_rates,
        )
        model.optimizer.build(model.trainable_variables)
    return model


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Have layers be made in a precision."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def steps_per_epoch(config: RunConfig, dataset: Dataset) -> int:
    """Return how many steps a pass over the training data takes."""
    return math.ceil(len(dataset.train) / config.batch_size)


def load_data(config: RunConfig) -> Dataset:
    """Load the data of a run.

    Raises:
        DataError: if it cannot be read, or is not that of the fingerprint.
    """
    from tfvae import data, sources

    validation = config.validation
    if config.data in set(data.sources()) - set(sources.EMBEDDED):
        startup.import_tensorflow()  # Keras fetches these
    dataset = data.load(
        config.data,
        binarize=config.binarize,  # type: ignore[arg-type]
        validation=validation if validation < 1 else int(validation),
        seed=config.seed,
        scale="auto" if config.scale is None else config.scale,
        on_corrupt="skip" if config.skip_corrupt else "raise",
    )
    if config.fingerprint not in (None, dataset.fingerprint):
        raise data.DataError(
            f"Expected the data of the run, fingerprint {config.fingerprint[:12]}…. "  # type: ignore[index]
            f"Received: {config.data}, fingerprint {dataset.fingerprint[:12]}…: it has changed "
            "since. Restore it, or name the place of the original with --data (`data`)."
        )
    return dataset


def default_folder(config: RunConfig) -> Path:
    """Return the folder of a run that was given none."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = Path(config.data).stem.partition(":")[0]  # without the settings of shapes
    return Path("runs") / f"{config.model}-{name}-{stamp}"


def summary(config: RunConfig, dataset: Dataset) -> str:
    """Say in a line what is trained on what."""
    shape = "×".join(map(str, dataset.train.shape))
    held_out = 0 if dataset.validation is None else len(dataset.validation)
    return (
        f"Training {config.model} on {dataset.name}: {len(dataset.train):,} examples of {shape}"
        + (f", {held_out:,} for validation" if held_out else "")
    )


def _is_ours(place: Path) -> bool:
    return place.name in (*FILES, *FOLDERS) or place.name.startswith(".")
