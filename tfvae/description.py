"""What a model is, in words: its slots, its networks, its size."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from tfvae import markup

SLOTS = ("encoder", "decoder", "prior", "posterior", "likelihood")
"""What has weights: what can be frozen, or have a learning rate of its own."""


class Network(NamedTuple):
    """A network of a model.

    Attributes:
        name: what the model calls it.
        kind: its class.
        inputs: the shapes of its inputs, or none where it does not say.
        outputs: likewise.
        parameters: how many weights it has; those shared with another count in both.
    """

    name: str
    kind: str
    inputs: str
    outputs: str
    parameters: int


def slots(model: Any) -> dict[str, Any]:
    """Describe the slots: their classes and configurations, and the networks' sizes."""
    found: dict[str, Any] = {}
    for name in ("prior", "posterior", "likelihood", "objective"):
        if slot := getattr(model, name, None):  # a generator has half of them
            found[name] = _serialized(slot)
    for name in ("priors", "posteriors"):
        # Of a hierarchy, level by level.
        for level, slot in enumerate(getattr(model, name, ())):
            found[f"{name}_{level}"] = _serialized(slot)
    for name in ("encoder", "decoder"):
        if network := getattr(model, name, None):
            found[name] = {"class": type(network).__name__, "parameters": network.count_params()}
    plain: dict[str, Any] = json.loads(json.dumps(found, default=repr))
    return plain


def networks(model: Any) -> list[Network]:
    """Describe the networks, in the order of the data's way through them."""
    import keras  # here, and not before a command knows what it is about

    found = []
    for name, part in _parts(model):
        if isinstance(part, keras.Model):
            ends = _shapes(part, "input"), _shapes(part, "output")
            found.append(Network(name, type(part).__name__, *ends, part.count_params()))
    return found


def parameters(model: Any) -> int:
    """Count the weights of all parts, those that two share once; counters and moments not."""
    weights = {id(weight): weight for _, part in _parts(model) for weight in part.weights}
    return sum(math.prod(weight.shape) for weight in weights.values())


def latents(model: Any) -> str:
    """Write the shape of each group of latents."""
    shapes = [prior.event_shape for prior in model.latent_priors]
    names = model.latent_names
    return ", ".join(f"{name} {list(each)}" for name, each in zip(names, shapes, strict=True))


def line(model: Any) -> str:
    """Describe a model in a line."""
    chain = [getattr(model, name, None) for name in ("prior", "posterior", "likelihood")]
    kinds = " → ".join(type(slot).__name__ for slot in chain if slot is not None)
    return (
        f"<{type(model).__name__} {model.name!r}: {latents(model)}, x {list(model.data_shape)}, "
        f"{kinds}, {parameters(model):,} parameters>"
    )


def html(model: Any) -> str:
    """Describe a model for a notebook."""
    about = [
        f"x {list(model.data_shape)}",
        latents(model),
        f"{parameters(model):,} parameters",
        model.likelihood.compute_dtype,
    ]
    if model.conditional:
        about.insert(2, "given a condition, to " + ", ".join(model.takers))
    steps = getattr(model, "step", None)
    if steps is not None:
        about.append(f"trained for {int(steps):,} steps" if int(steps) else "never trained")
    rows = [(each.name, each.kind, each.inputs, each.outputs, each.parameters)
            for each in networks(model)]  # fmt: skip
    return markup.notebook(
        f"{type(model).__name__} “{model.name}”",
        [
            markup.Table(markup.slot_rows(slots(model)), ("slot", "class", "settings")),
            markup.Table(rows, ("network", "class", "input", "output", "parameters"), numeric=(4,)),
        ],
        " · ".join(about),
    )


def _serialized(slot: Any) -> dict[str, Any]:
    import keras

    document = keras.saving.serialize_keras_object(slot)
    return {"class": document["class_name"], "config": document["config"]}


def _parts(model: Any) -> list[tuple[str, Any]]:
    """Return a model's layers by what it calls them, each once."""
    import keras

    found: dict[int, tuple[str, Any]] = {}
    for name, value in vars(model).items():
        if name.startswith("_"):
            continue
        if isinstance(value, keras.layers.Layer):
            found.setdefault(id(value), (name, value))
        elif isinstance(value, list | tuple):
            for number, each in enumerate(value):
                if isinstance(each, keras.layers.Layer):
                    found.setdefault(id(each), (f"{name} {number}", each))
    return list(found.values())


def _shapes(network: Any, side: str) -> str:
    try:
        given = getattr(network, f"{side}_shape")
    except (AttributeError, ValueError):  # Keras knows those of symbolic models alone
        return ""
    given = [given] if isinstance(given, tuple) and not _is_nested(given) else given
    given = list(given.values()) if isinstance(given, dict) else given
    return ", ".join(markup.shape(each) for each in given)


def _is_nested(shape: tuple[Any, ...]) -> bool:
    return any(isinstance(each, tuple | list) for each in shape)
