"""The command that asks how far a trained encoder's codes are disentangled."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from tfvae.commands import support
from tfvae.recorder import DISENTANGLEMENT
from tfvae.runs import Run, RunError

if TYPE_CHECKING:
    from tfvae.disentanglement import Disentanglement

METRICS = ("mig", "sap", "dci", "factor_vae", "beta_vae", "modularity", "explicitness")
"""Of `tfvae.disentanglement`, which needs TensorFlow to be imported."""
IMPORTANCES = ("boosted_trees", "random_forest", "lasso")
DEAD = 0.05


class _Metrics(support.ParamType):
    """Names of metrics, separated by commas, or ``all``."""

    name = "name,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read them."""
        names = tuple(part.strip() for part in str(value).split(",") if part.strip())
        for name in names:
            if name not in (*METRICS, "all"):
                self.fail(f"{name!r} is not one of {', '.join(METRICS)}.", param, ctx)
        return METRICS if "all" in names or not names else names


@click.command()
@click.argument("run")
@click.option(
    "--metrics",
    type=_Metrics(),
    default="all",
    show_default=True,
    help=f"Of {', '.join(METRICS)}.",
)
@click.option(
    "--data",
    help="Where the data is now, if it has moved; or shapes of other settings, as in "
    "shapes:size=64,colour=no.",
)
@click.option(
    "--examples",
    type=click.IntRange(min=2),
    default=10_000,
    show_default=True,
    help="To fit to, at most; half as many are tested with.",
)
@click.option(
    "--dci",
    "importance",
    type=click.Choice(IMPORTANCES),
    default=IMPORTANCES[0],
    show_default=True,
    help="The model of DCI. Boosted trees, as in disentanglement_lib, take minutes.",
)
@click.option(
    "--votes",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Batches that the FactorVAE and β-VAE scores are fitted to; half as many test them.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    default=DEAD,
    show_default=True,
    help="Of the FactorVAE score: the standard deviation of its codes below which a latent has no "
    "vote, for priors of variance 1.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="With shapes, make new images for each of these batches: 64 and 128 for either.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@support.weights
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def disentangle(
    run: str,
    metrics: tuple[str, ...],
    data: str | None,
    examples: int,
    importance: str,
    votes: int,
    threshold: float,
    fresh: bool,
    seed: int,
    weights: str,
    as_json: bool,
) -> None:
    """Ask how far the codes of a RUN are disentangled.

    The data needs ground-truth factors: it is shapes, or labels are factors [N, K]. Codes are the
    means of q(z|x). Of a run on shapes, new ones are made. Writes disentanglement.json into the
    run folder.
    """
    from tfvae.sources import requested

    loaded = Run.load(run)
    asked = requested(loaded.config.data if data is None else data)
    if asked is not None:
        parts: dict[str, Any] = {"data": asked.shapes, "names": asked.shapes.names}
    elif fresh:
        raise RunError(
            "Expected shapes where --fresh is set, for other images cannot be made. Received: "
            f"{loaded.config.data}."
        )
    else:
        dataset = loaded.data(data)
        for name, part in (("training", dataset.train), ("test", dataset.test)):
            if not getattr(part, "labelled", getattr(part, "y", None) is not None):
                raise RunError(
                    f"Expected data with ground-truth factors. Received: {loaded.config.data}, "
                    f"whose {name} set has none. Train on shapes, or on an .npz file whose y_train "
                    "and y_test [N, K] are factors."
                )
        parts = {"data": dataset.train, "test": dataset.test, "names": dataset.factors}
    model = loaded.model(weights)
    from tfvae import disentanglement

    with _progress() as progress:
        found = disentanglement.evaluate(
            model,
            **parts,
            metrics=metrics,
            examples=examples,
            importance=importance,  # type: ignore[arg-type]
            votes=votes,
            threshold=threshold,
            fresh=fresh,
            binarize=loaded.config.binarize,  # type: ignore[arg-type]
            seed=seed,
            progress=progress,
        )
    document = {
        "run": str(loaded.path),
        "epochs": loaded.epochs,
        "weights": weights,
        "data": loaded.config.data if data is None else data,
        **found.to_dict(),
    }
    support.record(loaded.path / DISENTANGLEMENT, document)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _print(loaded, found)


def _print(run: Run, found: Disentanglement) -> None:
    from rich.table import Table

    table = Table(
        title=f"{run.config.model} after {run.epochs} epochs: {found.latents} latents, "
        f"{len(found.factors)} factors",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("score", justify="right")
    table.add_column("chance", justify="right")
    table.add_column("", style="dim")
    chance = f"{1 / len(found.factors):.3f}"
    voters = 0 if found.factor_vae is None else len(found.factor_vae.active)
    for name, score in found.scores.items():
        least, meaning = {
            "mig": ("0", "one latent alone tells a factor"),
            "sap": ("0", "one latent alone predicts a factor"),
            "dci_disentanglement": ("0", f"a latent matters to one factor ({found.importance})"),
            "dci_completeness": ("0", "a factor needs one latent"),
            "dci_informativeness": ("", "factors are predicted from all latents"),
            "factor_vae": (
                chance,
                f"the steadiest of {voters} active latents tells which factor is fixed",
            ),
            "beta_vae": (chance, "differences tell which factor is shared"),
            "modularity": ("", "a latent tells of one factor"),
            "explicitness": ("0.5", "factors are read off by a linear map"),
        }[name]
        table.add_row(name, f"{score:.3f}", least, meaning)
    support.console().print(table)
    if found.mig is not None:
        _print_information(found)


def _print_information(found: Disentanglement) -> None:
    from rich.table import Table

    assert found.mig is not None
    table = Table(title="MIG by factor", title_justify="left")
    for name in ("factor", "values", "gap", "told most by", "second"):
        table.add_column(name, justify="left" if name == "factor" else "right")
    for k, name in enumerate(found.factors):
        told = found.mig.matrix[:, k]
        order = told.argsort()[::-1]
        best, *rest = [f"z{d} ({100 * told[d]:.0f} %)" for d in order[:2]]
        gap = f"{found.mig.per_factor[k]:.3f}"
        table.add_row(name, str(found.sizes[k]), gap, best, *rest)
    support.console().print(table)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], object]]:
    """Show a bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Encoding", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )
