"""Names of sets of shapes, as `tfvae train --data` takes them: ``shapes:size=64,colour=no``."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from tfvae.shapes.rendering import FACTORS, Shapes

NAME = "shapes"

_KEYS = ("size", "colour", "seed", "train", "test")


class Request(NamedTuple):
    """What a name asks for.

    Attributes:
        shapes: the images.
        train: how many to train on.
        test: how many to test on.
    """

    shapes: Shapes
    train: int = 10_000
    test: int = 2_000


def is_name(source: str) -> bool:
    """Say whether a source of data names shapes, well or not."""
    return source.partition(":")[0].strip().lower() == NAME


def parse(source: str) -> Request:
    """Read a name: ``shapes``, and perhaps a colon and settings, separated by commas.

    Settings are `size`, in pixels; `colour`, yes, no or a number of hues; `seed`; `train` and
    `test`, how many examples; and by the names of the other factors, how many values they have, as
    in ``scale=3``.

    Raises:
        ValueError: for what is no such setting, or a value that it does not take.

    Example:
        >>> request = parse("shapes:size=64,colour=no,train=500")
        >>> request.shapes.shape, request.train, request.test
        ((64, 64, 1), 500, 2000)
    """
    settings: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in source.partition(":")[2].split(","))):
        key, equals, value = (each.strip() for each in part.partition("="))
        key = "colour" if key == "color" else key
        if not equals:
            raise ValueError(
                f"Expected settings of shapes as in shapes:size=64,colour=no. Received: {part!r}."
            )
        settings[_known(key, settings)] = value
    white = settings.get("colour", "yes").lower() == "no"
    if settings.get("colour", "").lower() in ("yes", "no"):
        del settings["colour"]
    numbers = {key: _number(key, value) for key, value in settings.items()}
    counts = {name: numbers.pop(name) for name in ("train", "test") if name in numbers}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"Expected at least one example. Received: {name}={count}.")
    values = {name: numbers.pop(name) for name in FACTORS if name in numbers}
    return Request(Shapes(colour=not white, values=values, **numbers), **counts)


def _known(key: str, settings: dict[str, str]) -> str:
    known = [*_KEYS, *FACTORS[:-1]]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        raise ValueError(
            f"Expected settings of shapes, {', '.join(known)}. Received: {key!r}."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )
    if key in settings:
        raise ValueError(f"Expected each setting of shapes once. Received: {key!r} twice.")
    return key


def _number(key: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        kind = "yes, no or a number of hues" if key == "colour" else "a whole number"
        raise ValueError(f"Expected {key} of shapes to be {kind}. Received: {key}={value}.")
    return int(value)
