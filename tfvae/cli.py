"""The command line: each command is one or two calls of the library.

TensorFlow, NumPy and rich are imported inside commands, after the arguments were checked, so that
``tfvae --help`` and mistakes cost no time.
"""

from __future__ import annotations

import click

import tfvae
from tfvae import options, zoo
from tfvae.commands import support
from tfvae.commands.data import data
from tfvae.commands.disentangle import disentangle
from tfvae.commands.evaluate import evaluate
from tfvae.commands.explore import explore
from tfvae.commands.export import export, generate, verify
from tfvae.commands.plot import plot
from tfvae.commands.probe import probe
from tfvae.commands.report import compare, report
from tfvae.commands.serving import serve_config
from tfvae.commands.study import study
from tfvae.commands.train import train

_SEED = click.IntRange(min=0)


@click.group(cls=support.Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tfvae.__version__, prog_name="tfvae", message="%(prog)s %(version)s")
@click.option("--traceback", is_flag=True, envvar="TFVAE_DEBUG", hidden=True)
def cli(traceback: bool) -> None:
    """Variational autoencoders, from training to a verified generator in production."""


@cli.command()
@click.option("--out", default="quickstart", show_default=True, help="Folder for everything.")
@click.option("--seed", type=_SEED, default=0, show_default=True)
def quickstart(out: str, seed: int) -> None:
    """Train, export, verify, generate: in a minute.

    On scikit-learn's handwritten digits, which need no download.
    """
    from tfvae import quickstart as module

    module.run(out, seed=seed, say=click.echo)


@cli.command()
def models() -> None:
    """List the models that `tfvae train --model` takes, slot by slot.

    The four slots are defaults: `tfvae train --model NAME --help` lists what can be changed.
    """
    from rich.table import Table

    table = Table(show_lines=True)
    for name in ("model", *options.SLOTS, "paper"):
        table.add_column(name, no_wrap=name == "model")
    for name, function in zoo.models().items():
        table.add_row(name, *options.slots(function).values(), options.reference(function))
    support.console().print(table)


for _command in (
    train, evaluate, disentangle, plot, report, compare, probe, study,
    export, verify, generate, explore, serve_config, data,
):  # fmt: skip
    cli.add_command(_command)


def main() -> None:
    """Run the command line."""
    cli(prog_name="tfvae")
