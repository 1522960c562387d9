"""What ``tfvae train --sweep`` adds: how its values are read, and the table that it prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tfvae import options
from tfvae.commands import support
from tfvae.export.errors import did_you_mean
from tfvae.run_config import RunConfig
from tfvae.sweep import SETTINGS, Sweep, sweep
from tfvae.trials import written

_FIGURES = ("val_elbo", "elbo", "log_likelihood", "kl", "val_loss", "loss")


def train_all(
    ctx: click.Context, config: RunConfig, given: Sequence[str], out: str | None, overwrite: bool
) -> None:
    """Train every combination and print how they did.

    Raises:
        click.UsageError: for a sweep without a folder, or an option or a value that is none.
        click.ClickException: if a run failed.
    """
    if out is None:
        raise click.UsageError("--sweep needs --out, the folder of its runs.", ctx)
    result = sweep(config, axes(ctx, given), out, overwrite=overwrite)
    _print(result)
    failed = [trial for trial in result.trials if trial.status == "failed"]
    if failed:
        raise click.ClickException(
            f"{len(failed)} of {len(result.trials)} runs failed, {failed[0].path} with: "
            f"{failed[0].message}"
        )
    click.echo(f"Best by {result.measure}: {result.best.path}")


def axes(ctx: click.Context, given: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``OPTION=VALUE,VALUE`` for each option, its values as the option itself reads them.

    Of an option that takes several numbers, such as --hidden, they are one value.
    """
    flags = {flag: each for each in ctx.command.get_params(ctx) for flag in each.opts}
    found: dict[str, list[Any]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        name = name.strip().lstrip("-").replace("_", "-")
        option, flag = name.replace("-", "_"), f"--{name}"
        if not equals:
            raise click.UsageError(f"--sweep takes OPTION=VALUE,VALUE,... and not {text!r}.", ctx)
        model = ctx.meta["model"]
        known = options.options(model)
        if option not in known and option not in SETTINGS:
            if options.owners(option):
                raise click.UsageError(options.unknown(option, model), ctx)
            near = did_you_mean(option, (*known, *SETTINGS)).replace("_", "-")
            raise click.UsageError(f"No such option to sweep: {name}.{near}", ctx)
        parameter = flags[flag]
        parts = [values] if option in known and known[option].many else values.split(",")
        read = [parameter.type(part.strip(), parameter, ctx) for part in parts]
        found.setdefault(option, []).extend(read)
    return found


def _print(result: Sweep) -> None:
    from rich.table import Table

    swept = list(result.trials[0].values)
    seen = {name for trial in result.trials for name in trial.figures}
    figures = [name for name in _FIGURES if name in seen]
    whole = all(trial.status == "complete" for trial in result.trials)
    table = Table(title=f"{result.path}, by {result.measure}", title_justify="left")
    for name in [*swept, *figures, "seconds"]:
        table.add_column(name, justify="right")
    if not whole:
        table.add_column("status")
    for trial in result.trials:
        cells = [written(trial.values[name]) for name in swept]
        cells += [f"{trial.figures[n]:.2f}" if n in trial.figures else "" for n in figures]
        cells += [f"{trial.seconds:.1f}", *([] if whole else [trial.status])]
        table.add_row(*cells)
    support.console().print(table)
