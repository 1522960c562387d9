"""What people read: numbers and configurations in few words, HTML from templates.

Everything that goes into a template is escaped. Nothing here imports TensorFlow, for exports
describe themselves where there is none.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TEMPLATES = Path(__file__).parent / "templates"

MEANINGS = {
    "log_marginal": "importance weighted bound on log p(x), nats",
    "log_marginal_error": "its standard error, nats",
    "elbo": "log_likelihood − kl, nats",
    "log_likelihood": "E log p(x|z), nats",
    "kl": "KL(q(z|x) ‖ p(z)), nats",
    "kl_per_latent": "of each group of latents, nats",
    "bits_per_dim": "−log_marginal, bits per value; of text, per token",
    "active_units": "latents that follow the data",
    "latent_units": "of so many",
    "val_elbo": "ELBO on the validation set, nats",
    "val_log_likelihood": "E log p(x|z) on the validation set, nats",
    "val_kl": "KL(q(z|x) ‖ p(z)) on the validation set, nats",
    "val_loss": "the objective on the validation set",
}
"""What evaluations call their terms, and what these are."""

# Of every Keras layer, and not what makes one differ from another.
_COMMON = frozenset({"name", "trainable", "dtype"})
_LONGEST = 6


class Best(str):
    """A cell that stands out as the best of its row."""


class Table(NamedTuple):
    """A table of a page or of a notebook's output.

    Attributes:
        rows: cells, of which the first of each row names it.
        header: names of the columns, or none.
        title: what it is about.
        numeric: columns to be set flush right.
    """

    rows: Sequence[Sequence[object]]
    header: Sequence[str] = ()
    title: str = ""
    numeric: tuple[int, ...] = ()


def number(value: object) -> str:
    """Write a value for people: figures to about four places, "not known" for none.

    Example:
        >>> number(-104.5678), number(60000), number(0.00012), number(None), number(True)
        ('−104.57', '60,000', '1.2e-04', 'not known', 'yes')
    """
    match value:
        case None:
            text = "not known"
        case bool():
            text = "yes" if value else "no"
        case int():
            text = _signed(f"{value:,}")
        case float():
            text = _figure(value)
        case list() | tuple():
            text = ", ".join(map(number, value)) if value else "none"
        case Mapping():
            text = settings(value)
        case _:
            text = str(value)
    return text


def _figure(value: float) -> str:
    size = abs(value)
    if not math.isfinite(value):
        return _signed(str(value))
    if value == 0:
        return "0"
    if size < 1e-3:
        return _signed(f"{value:.1e}")
    places = 2 if size >= 10 else 3 if size >= 1 else 4
    return _signed(f"{value:,.{places}f}")


def _signed(text: str) -> str:
    """Give a negative number a proper minus; that of an exponent stays as it is."""
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def with_error(value: float, error: float) -> str:
    """Write a value to the places that its standard error leaves it: two figures of the error.

    Example:
        >>> with_error(-1.05995, 0.13531), with_error(0.5, float("nan"))
        ('−1.06 ± 0.14', '0.5000')
    """
    if not (math.isfinite(value) and math.isfinite(error)):
        return number(value)
    if error == 0:
        return f"{number(value)} ± 0"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{_signed(f'{value:,.{places}f}')} ± {error:,.{places}f}"


def plain(value: Any) -> Any:
    """Return a result as what JSON can hold: named ones as objects, arrays as lists, NaN as None.

    Example:
        >>> plain({"table": Table([("a", math.inf)], ("name", "x"))})["table"]["rows"]
        [['a', None]]
    """
    import numpy as np

    if hasattr(value, "to_dict"):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    elif isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shape(sizes: Sequence[int | None]) -> str:
    """Write a shape, whose dynamic dimension is the batch.

    Example:
        >>> shape((None, 8, 8)), shape(())
        ('[B, 8, 8]', 'scalar')
    """
    if not sizes:
        return "scalar"
    return "[" + ", ".join("B" if size is None else str(size) for size in sizes) + "]"


def settings(config: Mapping[str, Any]) -> str:
    """Write a configuration in a line: what is common to all layers left out.

    Example:
        >>> settings({"name": "n", "event_shape": [2], "base": {"class_name": "Normal"}})
        'event_shape=(2), base=Normal'
    """
    return ", ".join(
        f"{name}={_short(value)}"
        for name, value in config.items()
        if name not in _COMMON and value is not None
    )


def slot_rows(described: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return rows of a table, (slot, class, settings), of a model's described slots."""
    # The last level of a hierarchy stands in its list too.
    levels = {"prior": "priors_0", "posterior": "posteriors_0"}
    rows = []
    for name, slot in described.items():
        if "config" in slot and levels.get(name) not in described:
            rows.append((name.replace("_", " "), slot["class"], settings(slot["config"])))
    return rows


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        if "class_name" in value:
            return str(value["class_name"])
        return "{" + settings(value) + "}"
    if isinstance(value, list | tuple):
        shown = [_short(each) for each in value[:_LONGEST]]
        return "(" + ", ".join([*shown, "…"] if len(value) > _LONGEST else shown) + ")"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def notebook(title: str, tables: Sequence[Table], note: str = "") -> str:
    """Return what a notebook shows of an object: a heading and tables, in the page's colours."""
    return render("notebook.html", title=title, tables=tables, note=note)


def render(template: str, **values: Any) -> str:
    """Fill a template, escaping what goes into it.

    Args:
        template: a file of `TEMPLATES`.
        **values: what it names. A name that is missing is an error.
    """
    return str(_environment().get_template(template).render(values))


@functools.cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.tests["best"] = lambda cell: isinstance(cell, Best)
    return environment
