"""What a run is asked to be: all it takes to repeat it, checked before any work."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from tfvae import options
from tfvae.description import SLOTS
from tfvae.devices import PRECISIONS
from tfvae.export.errors import did_you_mean

CONFIG = "config.json"
PRIORS = ("none", "mixture", "flow", "normal", "vae")
"""What can be fitted after training; all but the first are families of `tfvae.expost`."""
OPTIMIZERS = ("adam", "adagrad")
"""Functions of `tfvae.optimizers`."""
SCHEDULES = ("constant", "cosine", "linear")
"""How the learning rate falls."""
WEIGHTS = ("last", "best", "ema")
"""Of a run: those that training ended with, those of the best epoch, or moving averages."""


class RunError(ValueError):
    """A run's configuration or folder that is not what it should be."""


@dataclass(frozen=True)
class RunConfig:
    """All it takes to repeat a run.

    Args:
        model: a function of :mod:`tfvae.zoo`.
        data: the name of a data set, or the path of one.
        binarize: what a model sees of values in [0, 1]: ``"none"``, ``"threshold"``, ``"dynamic"``.
        scale: the number to divide the data by, such as 1 to keep counts; None is automatic.
        skip_corrupt: leave out damaged records and images of `data`, with a warning, rather than
            stop at them.
        validation: how much of the training data to hold out: a fraction, a count, or 0.
        epochs: passes over the data.
        batch_size: examples in a step.
        optimizer: ``"adam"`` or ``"adagrad"``.
        learning_rate: the largest.
        schedule: how it falls to 0 over the training: ``"constant"`` (it does not), ``"cosine"``
            or ``"linear"``.
        warmup: steps in which it rises to the largest.
        clip_norm: gradients of a larger global norm are scaled down; None leaves them.
        accumulate: steps whose gradients are averaged for one update.
        ema: momentum of moving averages of the weights, such as 0.999; None keeps none.
        freeze: slots that are not trained.
        slot_rates: factors on the learning rate, by slot, as in ``{"prior": 0.1}``.
        patience: stop after so many epochs without a better validation ELBO (loss, where there is
            no ELBO); None never does.
        nonfinite: ``"stop"`` at a step whose loss or gradient is NaN or infinite, or ``"skip"`` it.
        precision: Keras's dtype policy: ``"float32"``, ``"mixed_bfloat16"``, ``"mixed_float16"`` or
            ``"float64"``. Distributions never fall below float32.
        seed: of weights, noise, data order, validation split and binarisation.
        fit_prior: the family of a prior to fit to the encoded training data afterwards, one of
            ``"mixture"``, ``"flow"``, ``"normal"`` and ``"vae"``; ``"none"`` keeps the model's.
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
    scale: float | None = None
    skip_corrupt: bool = False
    validation: float = 0
    epochs: int = 20
    batch_size: int = 128
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    clip_norm: float | None = None
    accumulate: int = 1
    ema: float | None = None
    freeze: tuple[str, ...] = ()
    slot_rates: dict[str, float] = field(default_factory=dict)
    patience: int | None = None
    nonfinite: str = "stop"
    precision: str = "float32"
    seed: int = 0
    fit_prior: str = "none"
    options: dict[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        _check(self, "model", isinstance(self.model, str), "the name of a model")
        _check(self, "data", isinstance(self.data, str) and self.data.strip(), "a name or a path")
        from tfvae.data import Binarize

        _check(self, "skip_corrupt", isinstance(self.skip_corrupt, bool), "true or false")
        for name, known in (
            ("binarize", get_args(Binarize)),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("nonfinite", ("stop", "skip")),
            ("precision", PRECISIONS),
            ("fit_prior", PRIORS),
        ):
            value = getattr(self, name)
            expected = f"one of {', '.join(known)}"
            _check(self, name, value in known, expected, did_you_mean(str(value), known))
        for name, least in (
            *(("epochs", 1), ("batch_size", 1), ("seed", 0)),
            *(("warmup", 0), ("accumulate", 1), ("patience", 1)),
        ):
            value = getattr(self, name)
            good = type(value) is int and least <= value < 2**63
            optional = name == "patience" and value is None
            _check(self, name, good or optional, f"a whole number of at least {least}")
        rate = _number(self.learning_rate)
        _check(self, "learning_rate", rate is not None and rate > 0, "a positive number")
        for name, most, expected in (
            ("scale", math.inf, "a positive number"),
            ("clip_norm", math.inf, "a positive number"),
            ("ema", 1.0, "a number between 0 and 1"),
        ):
            value = getattr(self, name)
            number = _number(value)
            inside = number is not None and 0 < number < most
            _check(self, name, value is None or inside, expected)
        self._check_slots()
        held_out = _number(self.validation)
        _check(
            self,
            "validation",
            held_out is not None and held_out >= 0 and (held_out < 1 or held_out.is_integer()),
            "a fraction in [0, 1) or a whole number of examples",
        )
        if self.patience is not None:
            _check(self, "patience", self.validation, "used with `validation`, which it watches")
        _check(self, "options", isinstance(self.options, dict), "the model's arguments by name")
        object.__setattr__(self, "options", _checked_options(self.model, self.options))

    def _check_slots(self) -> None:
        slots, rates = self.freeze, self.slot_rates
        listed = isinstance(slots, list | tuple)
        _check(self, "freeze", listed, "slots: " + ", ".join(SLOTS))
        object.__setattr__(self, "freeze", tuple(slots))
        _check(self, "slot_rates", isinstance(rates, dict), "factors by slot")
        for name, given in (("freeze", slots), ("slot_rates", rates)):
            for slot in given:
                near = did_you_mean(str(slot), SLOTS)
                _check(self, name, slot in SLOTS, "of the slots " + ", ".join(SLOTS), near)
        for slot, factor in rates.items():
            number = _number(factor)
            good = number is not None and number > 0
            _check(self, "slot_rates", good, "positive factors; `freeze` is for 0")
            _check(self, "slot_rates", slot not in slots, f"of slots that train; {slot} is frozen")

    def resolved(self, fingerprint: str | None = None) -> RunConfig:
        """Return the same with all defaults of the model and an absolute path of the data."""
        from tfvae.sources import is_name

        data = self.data
        if not is_name(data):
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
            return cls.from_json(read_text(file))
        except RunError as error:
            raise RunError(f"{file}: {error}") from error


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


def read_text(path: Path) -> str:
    """Read a text file, or say that it is missing or damaged."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected {path}, which does not exist.") from None
    except UnicodeDecodeError as error:
        raise RunError(f"Expected {path} to be text. It is damaged: {error}.") from error
