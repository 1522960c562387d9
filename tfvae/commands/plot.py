"""The command that draws pictures of a run."""

from __future__ import annotations

import ast
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tfvae
from tfvae.commands import support
from tfvae.export.errors import did_you_mean
from tfvae.runs import PICTURES, Run, RunError

if TYPE_CHECKING:
    from tfvae.data import Dataset, Examples

_COUNT = click.IntRange(min=1)
_EXAMPLES = 10_000  # that are read, at most
ALL = "all"


class _Kind(support.ParamType):
    """The name of a kind of picture, or ``all``."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the name."""
        known = [*tfvae.pictures.KINDS, ALL]
        if value not in known:
            near = did_you_mean(str(value), known)
            self.fail(f"{value!r} is none of {', '.join(known)}.{near}", param, ctx)
        return value


class _Size(support.ParamType):
    """A height and a width, as in 28x28."""

    name = "size"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show what values look like."""
        return "HEIGHTxWIDTH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read them."""
        parts = str(value).lower().split("x")
        if len(parts) not in (2, 3) or not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is no size, such as 28x28.", param, ctx)
        return tuple(map(int, parts))


@click.command()
@click.argument("run")
@click.argument("kind", type=_Kind(), required=False)
@click.option(
    "--out",
    metavar="PATH",
    help=f"The file to write, or of `{ALL}` the folder.  [default: RUN/{PICTURES}/KIND.png]",
)
@click.option("--list", "listed", is_flag=True, help="List what can be drawn of the run, and why.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--part",
    type=click.Choice(["test", "validation", "train"]),
    help="The examples to draw.  [default: test; of spaces, train]",
)
@click.option(
    "--limit",
    type=_COUNT,
    help=f"Of examples.  [default: {_EXAMPLES:,}, or as many as fit a gigabyte]",
)
@click.option("-n", "--num", type=_COUNT, help="Images, or examples: what N means for the kind.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the kind, as in --set latents=5; --list shows which there are.",
)
@click.option("--image-shape", type=_Size(), help="Of flat images.")
@click.option("--data", help="Where the data is now, if it has moved.")
@support.weights
def plot(
    run: str,
    kind: str | None,
    out: str | None,
    listed: bool,
    seed: int,
    part: str | None,
    limit: int | None,
    num: int | None,
    settings: tuple[str, ...],
    image_shape: tuple[int, ...] | None,
    data: str | None,
    weights: str,
) -> None:
    """Draw pictures of a RUN: a KIND of them, or `all` that there are.

    The kinds: samples, reconstructions, manifold, traversals, interpolation, levels, forecast,
    scatter, kl, codebook, spaces, training. `tfvae plot RUN --list` says which of them the run has.
    """
    if kind is None and not listed:
        known_kinds = ", ".join([*tfvae.pictures.KINDS, ALL])
        raise click.UsageError(f"Expected a KIND: {known_kinds}. `--list` says what the run has.")
    options = {} if kind is None else _options(kind, num, settings)
    if out is not None and kind != ALL:
        _check_ending(support.picture(out))
    loaded = Run.load(run)
    if kind == "training":  # the history is all it takes, and no TensorFlow
        _training(loaded, out)
        return
    dataset = loaded.data(data)
    model = loaded.model(weights)
    known: dict[str, Any] = {
        "history": loaded.history, "classes": dataset.classes, "image_shape": image_shape,
    }  # fmt: skip
    examples = _examples(dataset, part or ("train" if kind == "spaces" else "test"), limit)
    with _spelling(kind):
        found = tfvae.pictures.available(model, examples, **known)
    if not any(loaded.history.values()):
        found["training"] = "the run has no history"
    if listed:
        _list(loaded, found)
        return
    chosen = [
        name for name, reason in found.items() if name == kind or (kind == ALL and not reason)
    ]
    for name in chosen:
        if kind == ALL and tfvae.pictures.KINDS[name].trains:
            click.echo(f"Left out {name}, which trains models: tfvae plot {run} {name}", err=True)
            continue
        path = _target(loaded, name, out, kind == ALL)
        started = time.monotonic()
        if tfvae.pictures.KINDS[name].trains:
            click.echo("Training three models …", err=True)
        with _spelling(name):
            tfvae.pictures.draw(name, model, examples, seed=seed, path=path, **known, **options)
        click.echo(f"{path}  ({time.monotonic() - started:.1f} s)")


def _options(kind: str, num: int | None, settings: tuple[str, ...]) -> dict[str, Any]:
    """Read a kind's options, and refuse those that it does not have."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise click.UsageError(f"Expected --set NAME=VALUE. Received: --set {setting}.")
        try:
            found[name.strip().replace("-", "_")] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            found[name.strip().replace("-", "_")] = text  # a word
    if num is not None:
        found["n"] = num
    if kind == ALL:
        if found:
            raise click.UsageError(f"--num and --set are of one kind, and not of `{ALL}`.")
        return {}
    tfvae.pictures.kinds.check_options(tfvae.pictures.KINDS[kind], found)
    return found


def _spelled(kind: str | None, text: str) -> str:
    """Name a kind's options as they are given here."""
    from tfvae.pictures.spelling import spelled

    return spelled(text, tfvae.pictures.KINDS[kind].options if kind in tfvae.pictures.KINDS else ())


@contextlib.contextmanager
def _spelling(kind: str | None) -> Iterator[None]:
    """Have errors name a kind's options as they are given here."""
    try:
        yield
    except ValueError as error:
        raise ValueError(_spelled(kind, str(error))) from error


def _examples(dataset: Dataset, part: str, limit: int | None) -> Examples:
    examples = getattr(dataset, part)
    if examples is None:
        raise RunError(
            f"Expected data with a {part} set. Received: {dataset.name}, of which none was held "
            "out. Draw --part test."
        )
    from tfvae.examples import some

    return some(examples, _EXAMPLES) if limit is None else examples.take(min(limit, len(examples)))


def _check_ending(path: str) -> None:
    from tfvae import drawing

    drawing.ending_of(path)


def _target(run: Run, kind: str, out: str | None, several: bool) -> Path:
    """Return where a picture goes."""
    if out is None:
        return run.path / PICTURES / f"{kind}.png"
    if not several:
        return Path(out)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Expected a folder for all pictures. Received: {out}, a file.")
    return folder / f"{kind}.png"


def _training(run: Run, out: str | None) -> None:
    from tfvae import plots

    run.check_history()
    if not run.epochs:
        raise RunError(
            f"Expected a run with a history. Received: {run.path}, of which no epoch is completed."
        )
    path = _target(run, "training", out, several=False)
    plots.training(run.history, path)
    click.echo(str(path))


def _list(run: Run, found: dict[str, str | None]) -> None:
    from rich.table import Table

    table = Table(title=f"Pictures of {run.path}", title_justify="left")
    for heading in ("kind", "what it shows", "options", ""):
        table.add_column(heading, no_wrap=heading == "kind")
    for name, reason in found.items():
        kind = tfvae.pictures.KINDS[name]
        options = ", ".join(kind.options)
        why = "" if reason is None else f"no: {_spelled(name, reason)}"
        table.add_row(name, kind.description, options, why)
    support.console().print(table)
