"""The command that asks how much of the labels a trained encoder's codes tell."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from tfvae import extras
from tfvae.commands import support
from tfvae.runs import PROBE, Run, RunError

if TYPE_CHECKING:
    from tfvae.probes import Probing

_COUNT = click.IntRange(min=1)


class _Labels(support.ParamType):
    """Numbers of labels, separated by commas; the last of them may be ``all``."""

    name = "n,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read them; 0 stands for all."""
        parts = [part.strip().lower() for part in str(value).split(",")]
        good = [part.isascii() and part.isdecimal() and int(part) > 0 for part in parts]
        for part, fine in zip(parts, good, strict=True):
            if not (fine or part == "all"):
                self.fail(f"{part!r} is neither a number of labels nor 'all'.", param, ctx)
        return tuple(0 if part == "all" else int(part) for part in parts)


@click.command()
@click.argument("run")
@click.option(
    "--labels",
    type=_Labels(),
    help="Numbers of labelled examples.  [default: powers of ten, and all]",
)
@click.option(
    "--repeats",
    type=_COUNT,
    default=5,
    show_default=True,
    help="Draws of the labelled examples, of each number.",
)
@click.option("--limit", type=_COUNT, help="Only the first examples of the training set.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--data", help="Where the data is now, if it has moved.")
@support.weights
@click.option("--plot", metavar="FILE", help="Draw accuracy against the number of labels.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(
    run: str,
    labels: tuple[int, ...] | None,
    repeats: int,
    limit: int | None,
    seed: int,
    data: str | None,
    weights: str,
    plot: str | None,
    as_json: bool,
) -> None:
    """Ask how much of the labels the codes of a RUN tell.

    Linear and nearest-neighbour classifiers on the means of q(z|x), on as many principal
    components and on the raw values of x, for several numbers of labels; accuracies are on the
    test set. Writes probe.json into the run folder.
    """
    if plot is not None:
        extras.check(*extras.MATPLOTLIB)
        support.picture(plot)
    loaded = Run.load(run)
    dataset = loaded.data(data)
    train, test = dataset.train, dataset.test
    for name, part in (("training", train), ("test", test)):
        if not getattr(part, "labelled", getattr(part, "y", None) is not None):
            raise RunError(
                f"Expected data with labels. Received: {loaded.config.data}, whose {name} set has "
                "none. Probe a run on data that has, such as an .npz file with y_train and y_test."
            )
    if limit is not None:
        train = train.take(min(limit, len(train)))
    counts = None if labels is None else [count or len(train) for count in labels]
    model = loaded.model(weights)
    from tfvae import probes

    with _progress() as progress:
        found = probes.probe(
            model, train, test, counts, repeats=repeats, seed=seed, progress=progress
        )
    document = {
        "run": str(loaded.path),
        "epochs": loaded.epochs,
        "seed": seed,
        "weights": weights,
        "train": len(train),
        "test": len(test),
        **found.to_dict(),
    }
    support.record(loaded.path / PROBE, document)
    if plot is not None:
        from tfvae import charts

        charts.label_efficiency(found, plot)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _print(loaded, found, len(test))


def _print(run: Run, found: Probing, tested: int) -> None:
    from rich.table import Table

    names = list(dict.fromkeys(each.probe for each in found.probes))
    kinds = list(dict.fromkeys(each.features for each in found.probes))
    table = Table(
        title=f"{run.config.model} after {run.epochs} epochs: accuracy in % on {tested:,} test "
        f"examples of {len(found.classes)} classes, ± s.e.",
        title_justify="left",
    )
    table.add_column("labels", justify="right")
    table.add_column("features")
    table.add_column("dimensions", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for count in found.labels:
        for kind in kinds:
            each = [found.of(kind, name, count) for name in names]
            cells = [f"{100 * p.accuracy:.1f} ± {100 * p.error:.1f}" for p in each]
            first = f"{count:,}" if kind == kinds[0] else ""
            table.add_row(first, kind, str(found.dimensions[kind]), *cells)
        table.add_section()
    share = f"{100 * found.majority:.1f}"
    table.add_row("0", "none: always the commonest class", "", *[share] * len(names))
    support.console().print(table)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], object]]:
    """Show a bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Probing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
