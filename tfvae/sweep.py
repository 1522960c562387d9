"""Sweeps: one run for each combination of values, and a table of how they did.

::

    runs/study/
      sweep.json  sweep.csv      the table, best first, replaced after each run
      latent-dim=2,beta=1/       an ordinary run folder
      latent-dim=2,beta=4/

A sweep that was stopped, by Ctrl-C, a kill or an error, goes on when it is started again: runs that
are complete are kept, one that is not is trained again.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tfvae import files, options
from tfvae.export.errors import did_you_mean
from tfvae.run_config import RunConfig, RunError
from tfvae.run_setup import build, check_target, load_data
from tfvae.runs import Interrupted, Run, train
from tfvae.trials import DOCUMENT, Sweep, Trial, ranked, written

__all__ = ["SETTINGS", "Combination", "Sweep", "Trial", "combinations", "sweep"]

SETTINGS = tuple(
    each.name
    for each in dataclasses.fields(RunConfig)
    if each.name not in ("options", "fingerprint")
)
"""What can be swept beside the model's own options."""

# What decides what is loaded.
_OF_THE_DATA = ("data", "binarize", "scale", "skip_corrupt", "validation", "seed")
_LONGEST_NAME = 255  # bytes, on the file systems in use


class Combination(NamedTuple):
    """What was chosen, by the name of the option, and the configuration that this makes."""

    values: dict[str, Any]
    config: RunConfig


def sweep(
    config: RunConfig,
    values: Mapping[str, Iterable[Any]],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    verbose: bool = True,
) -> Sweep:
    """Train every combination of values, each as an ordinary run.

    All combinations are checked, and their models built, before the first is trained. A run whose
    loss becomes NaN, or that does not fit into memory, is noted as failed; the others go on.

    Args:
        config: what all runs share.
        values: for each option to sweep, its values. Options are the model's and `SETTINGS`.
        out: the folder of the sweep. Where it holds this sweep, complete runs are kept.
        overwrite: train all again, whatever is there.
        verbose: show progress, on standard error.

    Returns:
        The sweep, with all trials, best first.

    Raises:
        RunError: for an option or a value that does not fit. Nothing is written.
        FileExistsError: if `out` holds something else, or a run of another configuration.
        OSError: if it cannot be written.
        Interrupted: at Ctrl-C.

    Example:
        >>> config = RunConfig(model="beta_vae", epochs=5, validation=0.1)
        >>> found = sweep(config, {"beta": [1, 4]}, "runs/study")  # doctest: +SKIP
        >>> found.best.values, found.best.run.model()  # doctest: +SKIP
    """
    from tfvae.progress import announce

    def say(line: str) -> None:
        if verbose:
            announce(line)

    planned = combinations(config, values)
    folder = check_folder(out, planned)
    trials = {name: Trial(each.values, folder / name) for name, each in planned.items()}
    with files.claimed(folder):
        trials |= _complete(folder, planned, overwrite)
        Sweep(folder, ranked(trials.values())).write()
    for number, (name, each) in enumerate(planned.items(), 1):
        done = trials[name].status == "complete"
        say(f"Run {number} of {len(planned)}: {name}{', complete already' if done else ''}")
        if done:
            continue
        try:
            run = train(each.config, folder / name, overwrite=True, verbose=verbose)
            trials[name] = Trial.of(each.values, run)
        except Interrupted as error:
            raise Interrupted(f"{error} Start the sweep again to go on.") from None
        except _failures() as error:
            say(f"Failed: {error}")
            trials[name] = Trial(each.values, folder / name, "failed", message=str(error))
        Sweep(folder, ranked(trials.values())).write()
        gc.collect()  # a model refers to itself, and would stay in memory beside the next
    return Sweep(folder, ranked(trials.values()))


def combinations(config: RunConfig, values: Mapping[str, Iterable[Any]]) -> dict[str, Combination]:
    """Return every combination of values, by the name of its run.

    Raises:
        RunError: for an option or a value that does not fit, or one that is given twice.

    Example:
        >>> config = RunConfig(model="beta_vae")
        >>> list(combinations(config, {"beta": [1, 2.5], "epochs": [3]}))
        ['beta=1,epochs=3', 'beta=2.5,epochs=3']
    """
    axes = {name: _axis(config.model, name, given) for name, given in values.items()}
    if not axes:
        raise RunError("Expected `values` of at least one option. Received: none.")
    found: dict[str, Combination] = {}
    for row in itertools.product(*axes.values()):
        each = _combination(config, dict(zip(axes, row, strict=True)))
        # Quoted, so that any value can stand in a folder's name and no two are written alike.
        parts = ((key, quote(written(value), safe=" ")) for key, value in each.values.items())
        name = ",".join(f"{key.replace('_', '-')}={text}" for key, text in parts)
        if name in found:
            raise RunError(f"Expected values that differ. Received: {name} twice.")
        if len(name) > _LONGEST_NAME:
            raise RunError(
                f"Expected combinations whose names fit a folder's. Received: {name}. "
                "Sweep fewer options, or shorter values."
            )
        found[name] = each
    return found


def _axis(model: str, name: str, given: Iterable[Any]) -> list[Any]:
    """Check an option's name, and return its values as Python's own."""
    if name not in SETTINGS and not options.owners(name):
        near = did_you_mean(name, (*options.options(model), *SETTINGS))
        raise RunError(f"Expected options of {model} or of a run. Received: {name!r}.{near}")
    values = [] if isinstance(given, str) else list(given)
    if not values:
        raise RunError(
            f"Expected a list of at least one value of `{name}`. Received: {name}={given!r}."
        )
    # NumPy's numbers have `item`.
    return [value.item() if hasattr(value, "item") else value for value in values]


def _combination(config: RunConfig, given: dict[str, Any]) -> Combination:
    settings = {name: value for name, value in given.items() if name in SETTINGS}
    arguments = {name: value for name, value in given.items() if name not in SETTINGS}
    if "data" in settings:
        settings["fingerprint"] = None  # of other data
    each = dataclasses.replace(config, **settings, options=config.options | arguments)
    # As they were checked: 4 is 4.0 where an option is a number.
    return Combination({name: vars(each).get(name, each.options.get(name)) for name in given}, each)


def check_folder(out: str | os.PathLike[str], names: Iterable[str]) -> Path:
    """Return the folder of a sweep, if it can hold these trials.

    Raises:
        FileExistsError: if it holds something else.
    """
    folder = Path(out)
    if not (folder / DOCUMENT).is_file():
        check_target(out)
    for name in names:
        check_target(folder / name, overwrite=True)
    return folder


def _complete(folder: Path, planned: dict[str, Combination], overwrite: bool) -> dict[str, Trial]:
    """Return the trials that need no training, and see that the others can be trained."""
    found = {}
    dataset, loaded = None, None
    for name, (values, config) in planned.items():
        wanted = {key: value for key, value in values.items() if key in _OF_THE_DATA}
        if dataset is None or wanted != loaded:
            dataset, loaded = load_data(config), wanted
        run = None if overwrite else _existing(folder / name, config.resolved(dataset.fingerprint))
        if run is not None and run.status == "complete":
            found[name] = Trial.of(values, run)
            continue
        try:
            build(config, dataset)
        except ValueError as error:
            raise RunError(f"{name}: {error}") from error
    return found


def _existing(path: Path, config: RunConfig) -> Run | None:
    """Return the run in a folder if there is one; refuse one of another configuration."""
    try:
        run = Run.load(path)
    except (OSError, ValueError):  # none, or killed before it was one
        return None
    for each in dataclasses.fields(RunConfig):
        there, here = getattr(run.config, each.name), getattr(config, each.name)
        if there != here:
            raise FileExistsError(
                f"Expected a run of this sweep in {path}. Received: one with {each.name}={there!r}"
                f", where this sweep has {here!r}. Choose another folder, or train all again with "
                "--overwrite (overwrite=True)."
            )
    return run


def _failures() -> tuple[type[Exception], ...]:
    """Return what one combination can do wrong and the next right."""
    import tensorflow as tf

    return FloatingPointError, MemoryError, tf.errors.ResourceExhaustedError
