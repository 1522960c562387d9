"""The command that judges a run in numbers."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from tfvae import markup
from tfvae.commands import support
from tfvae.evaluate import measuring, table
from tfvae.evaluate.measuring import LEARNED
from tfvae.runs import EVALUATION, Run

if TYPE_CHECKING:
    from tfvae.evaluate.measuring import Measures

_COUNT = click.IntRange(min=1)


class _Metrics(support.ParamType):
    """Names of measurements, separated by commas, or ``all``."""

    name = "name,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | tuple[str, ...]:
        """Check them."""
        try:
            names = measuring.check_names(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return "all" if value.strip() == "all" else names


@click.command()
@click.argument("run")
@click.option(
    "--metrics",
    type=_Metrics(),
    help=f"all, or of {', '.join(each.name for each in table.MEASUREMENTS)}.  [default: bound, "
    "or reconstruction where there is none, and the use of latents]",
)
@click.option("--samples", type=_COUNT, default=1000, show_default=True, help="Per example.")
@click.option("--limit", type=_COUNT, help="Only the first examples of the test set.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--data", help="Where the data is now, if it has moved.")
@support.weights
@click.option(
    "--weight-draws",
    type=_COUNT,
    help="Of a model with Bayesian layers: average p(x) over so many draws of their weights.  "
    "[default: their means]",
)
@click.option(
    "--features",
    type=click.Choice(["pca", "classifier"]),
    help="Where samples are compared with data.  [default: classifier where there are labels]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    run: str,
    metrics: str | tuple[str, ...] | None,
    samples: int,
    limit: int | None,
    seed: int,
    data: str | None,
    weights: str,
    weight_draws: int | None,
    features: str | None,
    as_json: bool,
) -> None:
    """Judge a RUN on its test set.

    In nats: the ELBO and its terms, and the tighter importance weighted bound on log p(x). With
    --metrics, much more: what has no meaning for the model is left out of "all", and the reason is
    said. Writes evaluation.json into the run folder.
    """
    loaded = Run.load(run)
    from tfvae.examples import some

    dataset = loaded.data(data)
    # In memory: what is on disk would be read once for each measurement.
    test = dataset.test.take(min(limit or len(dataset.test), len(dataset.test)))
    model = loaded.model(weights)
    train = some(dataset.train, LEARNED) if measuring.learns(metrics) else None
    found = measuring.measure(
        model,
        test,
        metrics,
        train=train,
        samples=samples,
        seed=seed,
        features=features,
        weight_draws=weight_draws or 0,
        progress=sys.stderr.isatty(),
    )
    draws = {} if weight_draws is None else {"weight_draws": weight_draws}
    head = {
        "run": str(loaded.path),
        "epochs": loaded.epochs,
        "seed": seed,
        "weights": weights,
        **draws,
    }
    document = head | _document(found, whole=metrics is not None or "bound" in found.left_out)
    support.record(loaded.path / EVALUATION, document)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    title = f"{loaded.config.model} after {loaded.epochs} epochs, {found.examples:,} test examples"
    support.console().print(found.table(title))


def _document(found: Measures, *, whole: bool) -> dict[str, Any]:
    """Return what is written: the bound and the active units as ever, and the rest by name."""
    flat: dict[str, Any] = {"examples": found.examples}
    flat |= markup.plain(found.results.get("bound", {}))
    if "active_units" in found.results:
        active = found["active_units"]
        flat["active_units"] = list(active.counts)
        flat["latent_units"] = [variance.size for variance in active.variances]
    if "codes" in found.results:
        codes = found["codes"]
        flat |= {"perplexity": codes.perplexity, "codes_used": codes.used, "codes": codes.codes}
    if whole:
        everything = found.to_dict()
        flat |= {"measures": everything["measures"], "left_out": everything["left_out"]}
    return flat
