"""Studies: questions about variational autoencoders, answered on any data."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tfvae.commands import support
from tfvae.run_config import OPTIMIZERS, RunConfig

if TYPE_CHECKING:
    from tfvae.estimator_study import EstimatorStudy
    from tfvae.latent_study import LatentStudy

_COUNT = click.IntRange(min=1)


class _Numbers(support.ParamType):
    """Whole numbers of at least 1, separated by commas."""

    name = "n,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read them."""
        parts = [part.strip() for part in str(value).split(",")]
        for part in parts:
            if not (part.isascii() and part.isdecimal() and int(part)):
                self.fail(f"{part!r} is no whole number of at least 1.", param, ctx)
        return tuple(map(int, parts))


def _training(**defaults: Any) -> Callable[[Any], Any]:
    """Add the options of what is trained on what."""
    options = [
        click.option("--data", default="digits", show_default=True, help="As of `tfvae train`."),
        click.option(
            "--binarize",
            type=click.Choice(["none", "threshold", "dynamic"]),
            default="threshold",
            show_default=True,
            help="Make values in [0, 1] binary.",
        ),
        click.option(
            "--likelihood", default="Bernoulli", show_default=True, help="As of `tfvae train`."
        ),
        click.option(
            "--hidden",
            type=_Numbers(),
            default="500",
            show_default=True,
            help="Widths of the encoder's dense layers.",
        ),
        click.option("--activation", default="tanh", show_default=True, help="Of these layers."),
        click.option(
            "--batch-size", type=_COUNT, default=100, show_default=True, help="Examples in a step."
        ),
        click.option(
            "--optimizer",
            type=click.Choice(OPTIMIZERS),
            default=defaults["optimizer"],
            show_default=True,
            help="What takes the steps.",
        ),
        click.option(
            "--learning-rate",
            type=float,
            default=defaults["learning_rate"],
            show_default=True,
            help="Of the optimizer.",
        ),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
        click.option(
            "--out",
            default=defaults["out"],
            show_default=True,
            help="The folder of the study.",
        ),
        click.option("--overwrite", is_flag=True, help="Do all of it again."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ]

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _configuration(
    given: dict[str, Any], arguments: dict[str, Any], validation: float = 0
) -> RunConfig:
    """Divide what was given into the model's arguments and the run's settings."""
    names = ("likelihood", "hidden", "activation")
    options = arguments | {name: given[name] for name in names}
    settings = {name: value for name, value in given.items() if name not in names}
    return RunConfig(**settings, validation=validation, options=options)


@click.group(cls=support.Commands)
def study() -> None:
    """Repeat experiments of the first paper on VAEs, on your data."""


@study.command("latent-dim")
@click.option(
    "--values",
    type=_Numbers(),
    default="2,5,10,20,50,200",
    show_default=True,
    help="Numbers of latents.",
)
@click.option(
    "--samples",
    type=_COUNT,
    default=200_000,
    show_default=True,
    help="Training samples to see, rounded to whole epochs.",
)
@click.option(
    "--validation",
    type=support.Number(),
    default=0.1,
    show_default=True,
    help="Part of the training data for the held-out curve: a fraction, or a number of examples.",
)
@_training(optimizer="adagrad", learning_rate=0.02, out="studies/latent-dim")
def latent_dim(
    values: tuple[int, ...],
    samples: int,
    validation: float,
    out: str,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Ask whether superfluous latents overfit.

    Kingma and Welling's Figure 2: the bound against training samples, for several numbers of
    latents, on training and held-out examples; and final bounds on the test set. Leaves a run for
    each, a table, a picture and study.json; stopped, it goes on when it is started again.
    """
    config = _configuration(given, {}, validation)
    from tfvae.latent_study import study_latent_dim

    found = study_latent_dim(config, values, out, samples=samples, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _print_latents(found)


@study.command()
@click.option(
    "--steps", type=_COUNT, default=3200, show_default=True, help="Of training, about so many."
)
@click.option(
    "--points",
    type=click.IntRange(2, 30),
    default=8,
    show_default=True,
    help="Moments to measure at: 0, and the steps divided by powers of two.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=4),
    default=200,
    show_default=True,
    help="Of each gradient, an even number.",
)
@click.option(
    "--samples", type=_COUNT, default=1, show_default=True, help="Posterior draws of each gradient."
)
@click.option("--latent-dim", type=_COUNT, default=10, show_default=True, help="Number of latents.")
@_training(optimizer="adam", learning_rate=1e-3, out="studies/estimators")
def estimators(
    steps: int,
    points: int,
    draws: int,
    samples: int,
    latent_dim: int,
    out: str,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Ask how noisy estimators of the bound's gradient are.

    While a model trains, on one fixed batch: the variance of the score function's gradient, with
    and without a baseline, and of estimators A (the KL by Monte Carlo) and B (in closed form).
    Leaves a table, a picture and study.json.
    """
    if draws % 2:
        raise click.BadParameter("is to be even.", param_hint="--draws")
    config = _configuration(given, {"latent_dim": latent_dim})
    from tfvae.estimator_study import study_estimators

    found = study_estimators(
        config, out, steps=steps, points=points, draws=draws, samples=samples, overwrite=overwrite
    )
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _print_estimators(found)


def _print_latents(found: LatentStudy) -> None:
    from rich.table import Table

    from tfvae.latent_study import PICTURE

    table = Table(title=f"{found.path}: ELBO in nats per example, ± s.e.", title_justify="left")
    for name in ("latents", "training", "test", "gap", "test, to the best", "KL", "used"):
        table.add_column(name, justify="right")
    for each in found.dims:
        table.add_row(
            str(each.latent_dim),
            _with_error(each.train_bound, each.train_error),
            _with_error(each.test_bound, each.test_error),
            _with_error(each.gap, each.gap_error),
            "best" if each is found.best else _with_error(*each.test_difference),
            f"{each.kl:.2f}",
            "" if each.active is None else str(each.active),
        )
    support.console().print(table)
    click.echo(found.conclusion)
    click.echo(f"Picture: {found.path / PICTURE}")


def _print_estimators(found: EstimatorStudy) -> None:
    from rich.table import Table

    from tfvae.estimator_study import PICTURE

    table = Table(
        title=f"{found.path}: variance of the gradient of q(z|x)'s parameters, {found.samples} "
        f"posterior sample{'s' * (found.samples > 1)}, nats², ± s.e.",
        title_justify="left",
    )
    for name in ("step", *found.names):
        table.add_column(name, justify="right")
    for each in found.measurements:
        noises = [each.noise[name].variational for name in found.names]
        cells = [f"{noise.variance:.3g} ± {noise.error:.1g}" for noise in noises]
        table.add_row(f"{each.step:,}", *cells)
    support.console().print(table)
    for line in found.conclusions:
        click.echo(line)
    click.echo(f"Picture: {found.path / PICTURE}")


def _with_error(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}"
