"""The command line: each command is one or two calls of the library.

TensorFlow, NumPy and rich are imported inside commands, after the arguments were checked, so that
``tfvae --help`` and mistakes cost no time.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import click

import tfvae
from tfvae import cli_support as support
from tfvae import options, zoo
from tfvae.cli_export import export, generate, verify
from tfvae.cli_serving import serve_config
from tfvae.run_config import PRIORS
from tfvae.runs import EVALUATION, Run, RunConfig, check_target
from tfvae.runs import train as train_run

if TYPE_CHECKING:
    from pathlib import Path

_DEFAULTS = {each.name: each.default for each in dataclasses.fields(RunConfig)}
_COUNT = click.IntRange(min=1)
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


@cli.command(cls=support.ModelCommand)
@support.setting("model", support.ModelName(), "One that `tfvae models` lists.", "vae")
@support.setting(
    "data",
    str,
    "digits, mnist, fashion_mnist, cifar10, or the path of a .npz or .npy file.",
    _DEFAULTS["data"],
)
@support.setting(
    "binarize",
    click.Choice(["none", "threshold", "dynamic"]),
    "Make values in [0, 1] binary: dynamic draws them afresh each epoch.",
    _DEFAULTS["binarize"],
)
@support.setting(
    "scale",
    float,
    "Divide the data by this: 1 keeps counts. Automatic for bytes and 0/1 values.",
    _DEFAULTS["scale"],
)
@support.setting(
    "validation",
    support.Number(),
    "Part of the training data to hold out: a fraction, or a number of examples.",
    _DEFAULTS["validation"],
)
@support.setting("epochs", _COUNT, "Passes over the data.", _DEFAULTS["epochs"])
@support.setting("batch-size", _COUNT, "Examples in a step.", _DEFAULTS["batch_size"])
@support.setting("learning-rate", float, "Of the optimizer, Adam.", _DEFAULTS["learning_rate"])
@support.setting("seed", _SEED, "Of everything random.", _DEFAULTS["seed"])
@support.setting(
    "fit-prior",
    click.Choice(PRIORS),
    "After training, fit a prior to the encoded data: a mixture of Gaussians, a flow, a normal, or "
    "a second VAE.",
    _DEFAULTS["fit_prior"],
)
@click.option("--out", help="The run folder.  [default: runs/MODEL-DATA-TIME]")
@click.option("--config", help="Repeat RUN/config.json; other options override it.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder.")
@click.pass_context
def train(
    ctx: click.Context, /, out: str | None, config: str | None, overwrite: bool, **_: Any
) -> None:
    """Train a model and leave a run folder.

    The folder holds the configuration, seed, versions, history, the data's fingerprint and the
    model, and is whole at any moment: Ctrl-C keeps the last completed epoch.
    """
    if out is not None:
        check_target(out, overwrite=overwrite)
    run = train_run(_configuration(ctx, config), out, overwrite=overwrite)
    # Where the posterior is a point there is no ELBO, and the loss is what was trained.
    shown = "elbo" if "elbo" in run.history else "loss"
    last = {name: values[-1] for name, values in run.history.items() if name.endswith(shown)}
    figures = ", ".join(f"{name} {value:.2f}" for name, value in last.items())
    click.echo(f"{run.path}: {run.epochs} epochs, {figures} nats")


def _configuration(ctx: click.Context, path: str | None) -> RunConfig:
    """Put together what was given: options over a configuration file over defaults."""
    command = ctx.command
    assert isinstance(command, support.ModelCommand)
    given = {name: ctx.params[name] for name in _DEFAULTS if ctx.params.get(name) is not None}
    arguments = command.model_arguments(ctx)
    if path is None:
        return RunConfig(**given | {"model": ctx.meta["model"], "options": arguments})
    base = RunConfig.read(path)
    if ctx.meta["model"] != base.model:
        raise click.UsageError(
            f"--config is of the model {base.model}, --model says {ctx.meta['model']}: "
            "give one of them.",
            ctx,
        )
    if "data" in given:
        # Other data on purpose: the fingerprint would refuse it.
        given["fingerprint"] = None
    return dataclasses.replace(base, **given, options=base.options | arguments)


@cli.command()
@click.argument("run")
@click.option("--samples", type=_COUNT, default=1000, show_default=True, help="Per example.")
@click.option("--limit", type=_COUNT, help="Only the first examples of the test set.")
@click.option("--seed", type=_SEED, default=0, show_default=True)
@click.option("--data", help="Where the data is now, if it has moved.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    run: str, samples: int, limit: int | None, seed: int, data: str | None, as_json: bool
) -> None:
    """Judge a RUN on its test set.

    In nats: the ELBO and its terms, and the tighter importance weighted bound on log p(x).
    Writes evaluation.json into the run folder.
    """
    loaded = Run.load(run)
    test = loaded.data(data).test
    test = test if limit is None else test.take(min(limit, len(test)))
    model = loaded.model()
    result = tfvae.evaluate.evaluate(
        model, test, samples, seed, progress=sys.stderr.isatty()
    )._asdict()
    document = {"run": str(loaded.path), "epochs": loaded.epochs, "seed": seed, **result}
    _record(loaded.path / EVALUATION, document)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _print_evaluation(loaded, document)


def _record(path: Path, document: dict[str, Any]) -> None:
    from tfvae import files

    try:
        files.replace_json(path, document)
    except OSError as error:  # someone else's run may be read-only: the figures still matter
        click.echo(f"Warning: could not write {path}: {error.strerror}", err=True)


def _print_evaluation(run: Run, result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(
        title=f"{run.config.model} after {run.epochs} epochs, {result['examples']:,} test examples",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("nats", justify="right")
    table.add_column("± s.e.", justify="right")
    table.add_column("", style="dim")
    samples = f"{result['samples']:,} importance samples"
    error = f"{result['log_marginal_error']:.2f}"
    for name, deviation, meaning in (
        ("log_marginal", error, f"bound on log p(x), {samples}"),
        ("elbo", "", "log_likelihood − kl"),
        ("log_likelihood", "", "E log p(x|z)"),
        ("kl", "", "KL(q(z|x) ‖ p(z))"),
    ):
        table.add_row(name, f"{result[name]:.2f}", deviation, meaning)
    table.add_section()
    table.add_row("bits_per_dim", f"{result['bits_per_dim']:.4f}", "", "−log_marginal, in bits")
    support.console().print(table)


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


for _command in (export, verify, generate, serve_config):
    cli.add_command(_command)


def main() -> None:
    """Run the command line."""
    cli(prog_name="tfvae")


if __name__ == "__main__":
    main()
