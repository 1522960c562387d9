"""A named model's options, read from its signature and its docstring.

One reading serves the command line, which makes ``--latent-dim`` of ``latent_dim: int``, and a
run's configuration, which checks what a file holds. Annotations are read as text, never
evaluated: evaluating ``tfvae.layers.DistributionLayer`` would import TensorFlow.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import tfvae
from tfvae import zoo
from tfvae.export.errors import did_you_mean

Scalar = type[int] | type[float] | type[str] | type[bool]

_SCALARS: dict[str, Scalar] = {"int": int, "float": float, "str": str, "bool": bool}
_NOUNS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_LAYER = "DistributionLayer"
SLOTS = ("prior", "posterior", "likelihood", "objective")
# A run has one seed, for the model and the data alike.
_NOT_OPTIONS = frozenset({"seed"})


@dataclass(frozen=True)
class Option:
    """An argument of a model that can be written in text.

    Attributes:
        name: the argument.
        type: of a value, or of each of its values.
        default: the argument's default; ``inspect.Parameter.empty`` where it has none.
        help: the docstring's words on it.
        many: it takes a tuple.
        one: it takes a value that stands for a tuple of it.
        optional: it takes None.
        choices: the values it takes; empty where any will do.
        layer: it takes the name of a distribution layer.
    """

    name: str
    type: Scalar
    default: Any = inspect.Parameter.empty
    help: str = ""
    many: bool = False
    one: bool = False
    optional: bool = False
    choices: tuple[Any, ...] = ()
    layer: bool = False

    @property
    def required(self) -> bool:
        """Whether the model has no default for it."""
        return self.default is inspect.Parameter.empty

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")

    def parse(self, text: str) -> Any:
        """Read a value from text; several are separated by commas.

        Raises:
            ValueError: if it is not such a value.

        Example:
            >>> Option("hidden", int, many=True).parse("512,256")
            (512, 256)
        """
        if self.optional and text.lower() == "none":
            return None
        parts = [part.strip() for part in text.split(",")] if self.many else [text]
        try:
            values = [self._scalar(part) for part in parts if part or not self.many]
        except (KeyError, ValueError):
            raise self._error(text) from None
        return self.check(tuple(values) if self.many else values[0])

    def check(self, value: Any) -> Any:
        """Return a value as the model takes it.

        Raises:
            ValueError: if it is not such a value; the nearest choice is suggested.
        """
        if value is None and self.optional:
            return None
        if self.one and self._is_scalar(value):
            return self.type(value)
        if self.many:
            if not isinstance(value, list | tuple) or not all(map(self._is_scalar, value)):
                raise self._error(value)
            return tuple(map(self.type, value))
        if self.choices:
            if value not in self.choices:
                raise self._error(value, did_you_mean(value, map(str, self.choices)))
            return value
        if not self._is_scalar(value):
            raise self._error(value)
        if self.layer and value.lower() not in {name.lower() for name in layer_names()}:
            raise self._error(value, did_you_mean(value, layer_names()))
        return self.type(value)

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        if self.layer:
            return "one of " + ", ".join(layer_names())
        if self.many:
            return {int: "whole numbers", float: "numbers"}.get(self.type, "a list")
        return _NOUNS[self.type]

    def _scalar(self, text: str) -> Any:
        if self.choices:
            return next((choice for choice in self.choices if str(choice) == text), text)
        if self.type is bool:
            return {"true": True, "false": False}[text.lower()]
        return self.type(text)

    def _is_scalar(self, value: Any) -> bool:
        if self.type is float:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return is_number and math.isfinite(value)
        return type(value) is self.type

    def _error(self, value: Any, hint: str = "") -> ValueError:
        example = ", separated by commas as in 512,256" if self.many else ""
        return ValueError(
            f"Expected `{self.name}` to be {self.expected}{example}. "
            f"Received: {self.name}={value!r}.{hint}"
        )


def options(model: str) -> dict[str, Option]:
    """Return the options of a named model.

    Raises:
        ValueError: if there is no such model; the nearest is suggested.

    Example:
        >>> options("beta_vae")["beta"].default
        4.0
    """
    function = find(model)
    texts = arguments(zoo.vae) | arguments(function)
    found = {
        name: _option(parameter, texts.get(name, ""))
        for name, parameter in zoo.parameters(function).items()
        if name not in _NOT_OPTIONS
    }
    return {name: option for name, option in found.items() if option is not None}


def find(model: str) -> Callable[..., tfvae.VAE]:
    """Return a named model's function.

    Raises:
        ValueError: if there is no such model; the nearest is suggested.
    """
    known = zoo.models()
    if model not in known:
        near = did_you_mean(str(model).replace("-", "_"), known)
        raise ValueError(
            f"Expected `model` to be one of {', '.join(known)}. Received: model={model!r}.{near}"
        )
    return known[model]


def owners(option: str) -> list[str]:
    """Return the models that have an option."""
    return [model for model in zoo.models() if option in options(model)]


def unknown(name: str, model: str, show: Callable[[str], str] = repr) -> str:
    """Say that a model has no such option, and which has it, or which is the nearest."""
    others = owners(name)
    if others:
        verb = "has" if len(others) == 1 else "have"
        return f"{model} has no option {show(name)}: {', '.join(others)} {verb} it."
    near = difflib.get_close_matches(name, options(model), n=1)
    hint = f" Did you mean {show(near[0])}?" if near else ""
    return f"{model} has no option {show(name)}.{hint}"


def layer_names() -> Iterable[str]:
    """Return the names of the distribution layers, without importing TensorFlow."""
    others = (_LAYER, "FlowLayer", "FlowStep", "Support")
    return [name for name in dir(tfvae.layers) if name[0].isupper() and name not in others]


def title(function: Callable[..., Any]) -> str:
    """Return the first line of a docstring, without its full stop."""
    return _doc(function).partition("\n")[0].rstrip(".")


def reference(function: Callable[..., Any]) -> str:
    """Return what a docstring says after ``Reference:`` or ``References:``."""
    match = re.search(r"^References?:\s*(.+?)(?:\n\s*\n|\n(?=\S)|\Z)", _doc(function), re.M | re.S)
    return " ".join(match[1].split()) if match else ""


def slots(function: Callable[..., Any]) -> dict[str, str]:
    """Return what a docstring says after ``Slots:``, over what it says of the plain VAE.

    Example:
        >>> slots(zoo.iwae)["prior"], slots(zoo.iwae)["objective"]
        ('StandardNormal', 'IWAE')
    """
    found: dict[str, str] = {}
    for each in (zoo.vae, function):
        match = re.search(r"^Slots:\s*(.+?)(?:\n\s*\n|\Z)", _doc(each), re.M | re.S)
        pairs = (
            (part.split("=") for part in " ".join(match[1].split()).split(", ")) if match else ()
        )
        found |= {name.strip(): value.strip() for name, value in pairs}
    return {slot: found[slot] for slot in SLOTS}


def arguments(function: Callable[..., Any]) -> dict[str, str]:
    """Return what a docstring's Args section says of each argument."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", _doc(function), re.M)
    entries = re.split(r"^ {4}(?=\S)", section[1], flags=re.M)[1:] if section else []
    pairs = (entry.partition(":") for entry in entries)
    return {name.strip(): " ".join(text.replace("``", "").split()) for name, _, text in pairs}


def _doc(function: Callable[..., Any]) -> str:
    return inspect.getdoc(function) or ""


def _option(parameter: inspect.Parameter, text: str) -> Option | None:
    """Read one parameter; None where it takes objects alone, such as a Keras model."""
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        annotation = inspect.formatannotation(annotation)
    members = _members(ast.parse(annotation, mode="eval").body)
    kinds = [kind for kind in map(_kind, members) if kind]
    if not kinds:
        return None
    return Option(
        parameter.name,
        default=parameter.default,
        help=text,
        optional=any(isinstance(node, ast.Constant) and node.value is None for node in members),
        one=len(kinds) > 1 and kinds[0] == kinds[1] | {"many": True},
        layer=any(ast.unparse(node).endswith(_LAYER) for node in members),
        **kinds[0],
    )


def _members(node: ast.expr) -> list[ast.expr]:
    """Return the members of ``A | B | C``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_members(node.left), *_members(node.right)]
    return [node]


def _kind(node: ast.expr) -> dict[str, Any] | None:
    """Read a type that can be written in text."""
    name = ast.unparse(node)
    if name in _SCALARS:
        return {"type": _SCALARS[name]}
    if not isinstance(node, ast.Subscript):
        return None
    name = ast.unparse(node.value).rpartition(".")[2]
    if name == "Literal":
        values = ast.literal_eval(node.slice)
        choices = values if isinstance(values, tuple) else (values,)
        return {"type": type(choices[0]), "choices": choices}
    if name == "tuple" and isinstance(node.slice, ast.Tuple):
        first, *rest = map(ast.unparse, node.slice.elts)
        if first in _SCALARS and rest == ["..."]:
            return {"type": _SCALARS[first], "many": True}
    return None
