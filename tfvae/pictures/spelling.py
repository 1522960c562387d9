"""Options of pictures as `tfvae plot` spells them, in messages that spell them as Python does."""

from __future__ import annotations

import re
from collections.abc import Iterable

_OWN = {"n": "--num", "image_shape": "--image-shape"}
"""Options that the command has one of its own for; of others there is ``--set``."""


def spelled(text: str, names: Iterable[str]) -> str:
    """Return a message in which options by these names are those of the command line.

    Example:
        >>> spelled("Choose two, dims=(0, 1), and `n` below 9.", ["dims", "n"])
        'Choose two, --set dims=0,1, and --num below 9.'
        >>> spelled("pass image_shape=(height, width)", [])
        'pass --image-shape HEIGHTxWIDTH'
    """
    known = "|".join(map(re.escape, {*names, *_OWN}))
    text = re.sub(rf"`({known})`", lambda found: _flag(found[1]), text)
    return re.sub(rf"(?<![\w-])({known})=(\([^()]*\)|[^\s,;()]*[^\s,;().])", _given, text)


def _flag(name: str) -> str:
    return _OWN.get(name, f"--set {name}")


def _given(found: re.Match[str]) -> str:
    name, value = found[1], found[2].strip("()")
    if name == "image_shape":
        parts = (part.strip().upper() for part in value.split(",") if part.strip())
        return f"{_flag(name)} {'x'.join(parts)}"
    value = re.sub(r",\s*", ",", value)
    return f"{_flag(name)} {value}" if name in _OWN else f"{_flag(name)}={value}"
