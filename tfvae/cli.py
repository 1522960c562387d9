"""The command line: each command is one or two calls of the library.

TensorFlow, NumPy and rich are imported inside commands, after the arguments were checked, so that
``tfvae --help`` and mistakes cost no time.
"""

from __future__ import annotations

import click

import tfvae
from tfvae import cli_support as support
from tfvae import options, zoo
from tfvae.cli_data import data
from tfvae.cli_evaluate import evaluate
from tfvae.cli_explore import explore
from tfvae.cli_disentangle import disentangle
from tfvae.cli_export import export, generate, verify
from tfvae.cli_plot import plot
from tfvae.cli_probe import probe
from tfvae.cli_report import compare, report
from tfvae.cli_serving import serve_config
from tfvae.cli_study import study
from tfvae.cli_train import train

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


cli.add_command(train)


cli.add_command(evaluate)
@cli.command()
@click.argument("run")
@click.option("--samples", type=_COUNT, default=1000, show_default=True, help="Per example.")
@click.option("--limit", type=_COUNT, help="Only the first examples of the test set.")
@click.option("--seed", type=_SEED, default=0, show_default=True)
@click.option("--data", help="Where the data is now, if it has moved.")
@support.weights
@click.option(
    "--weight-draws",
    type=_COUNT,
    help="Of a model with Bayesian layers: average p(x) over so many draws of their weights.  "
    "[default: their means]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    run: str,
    samples: int,
    limit: int | None,
    seed: int,
    data: str | None,
    weights: str,
    weight_draws: int | None,
    as_json: bool,
) -> None:
    """Judge a RUN on its test set.

    In nats: the ELBO and its terms, and the tighter importance weighted bound on log p(x).
    Writes evaluation.json into the run folder.
    """
    loaded = Run.load(run)
    test = loaded.data(data).test
    test = test if limit is None else test.take(min(limit, len(test)))
    model = loaded.model(weights)
    draws = {} if weight_draws is None else {"weight_draws": weight_draws}
    result = tfvae.evaluate.evaluate(
        model, test, samples, seed, progress=sys.stderr.isatty(), **draws
    )._asdict()
    active = tfvae.evaluate.active_units(model, test, seed=seed)
    result |= {
        "active_units": active.counts,
        "latent_units": [variance.size for variance in active.variances],
    }
    document = {
        "run": str(loaded.path),
        "epochs": loaded.epochs,
        "weights": weights,
        "seed": seed,
        **draws,
        **result,
    }
    support.record(loaded.path / EVALUATION, document)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _print_evaluation(loaded, document)


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
    levels = result["kl_per_latent"]
    for level, kl in enumerate(levels if len(levels) > 1 else ()):
        table.add_row(f"kl_{level}", f"{kl:.2f}", "", f"of level {level}")
    table.add_section()
    table.add_row("bits_per_dim", f"{result['bits_per_dim']:.4f}", "", "−log_marginal, in bits")
    active = ", ".join(map(str, result["active_units"]))
    units = ", ".join(map(str, result["latent_units"]))
    table.add_row("active units", active, "", f"of {units}: latents that follow the data")
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


for _command in (plot, probe, study, export, verify, generate, serve_config, data):
    cli.add_command(_command)


def main() -> None:
    """Run the command line."""
    cli(prog_name="tfvae")
