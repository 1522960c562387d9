"""The commands that judge runs on a page: `tfvae report` and `tfvae compare`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from tfvae.commands import support
from tfvae.runs import REPORT, Run

if TYPE_CHECKING:
    from tfvae.reporting import Comparison

_COUNT = click.IntRange(min=1)


def _how(command: Any) -> Any:
    """Add the options of how runs are judged."""
    for option in (
        click.option("--data", help="Where the data is now, if it has moved."),
        support.weights,
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
        click.option(
            "--metrics", help="What to measure beside the bound, as of `tfvae evaluate`; or all."
        ),
        click.option("--limit", type=_COUNT, help="Only the first examples of the test set."),
        click.option(
            "--samples", type=_COUNT, default=100, show_default=True, help="Importance samples."
        ),
    ):
        command = option(command)
    return command


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.argument("run")
@click.option("--out", help=f"The HTML file.  [default: RUN/{REPORT}]")
@click.option("--export", help="An export of the run, whose verification to show.")
@_how
def report(run: str, out: str | None, export: str | None, **how: Any) -> None:
    """Write a page to judge a RUN by.

    One HTML file that needs no network: what was trained and on what, how to repeat it, curves,
    samples, reconstructions, latents, metrics, and what was verified of an export.
    """
    loaded = Run.load(run)
    if out is not None:
        support.picture(out)
    from tfvae import reporting

    path = reporting.report(
        loaded, out, export=export, progress=sys.stderr.isatty(), say=_say, **how
    )
    click.echo(path)


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", help="An HTML file to write, with pictures side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_how
def compare(runs: tuple[str, ...], out: str | None, as_json: bool, **how: Any) -> None:
    """Judge RUNS on the same test examples.

    Differences are to the best of them, with standard errors over the same examples. Runs of
    different data are refused, unless --data says what to judge all of them on.
    """
    loaded = [Run.load(run) for run in runs]
    if out is not None:
        support.picture(out)
    from tfvae import reporting

    found = reporting.compare(loaded, out, progress=sys.stderr.isatty(), say=_say, **how)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False))
    else:
        _print(found)
    if out is not None:
        _say(f"Page: {out}")


def _print(found: Comparison) -> None:
    from rich.table import Table

    from tfvae import markup

    table = Table(
        title=f"{found.examples:,} test examples of {found.source}, "
        f"{found.request.samples:,} importance samples; * best",
        title_justify="left",
    )
    table.add_column("")
    for judged in found.judged:
        table.add_column(judged.name, justify="right")
    figures = [judged.figures for judged in found.judged]
    for name in dict.fromkeys(name for each in figures for name in each):
        best = found.best(name)
        table.add_row(
            name,
            *(
                markup.number(each.get(name, "")) + ("*" if place == best else "")
                for place, each in enumerate(figures)
            ),
        )
    table.add_row("parameters", *(f"{judged.parameters:,}" for judged in found.judged))
    table.add_section()
    for term, differences in found.differences().items():
        cells = ("" if each is None else str(each) for each in differences)
        table.add_row(f"{term}, less {found.reference.name}", *cells)
    support.console().print(table)
    for warning in found.warnings:
        click.echo(f"Warning: {warning}", err=True)
    for judged in found.judged:
        if judged.scored.problem:
            click.echo(f"{judged.name}: {judged.scored.problem}")
