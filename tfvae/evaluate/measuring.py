"""All measurements of a model in one call. Imports no TensorFlow before something is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tfvae
from tfvae.evaluate.results import Asked, Row
from tfvae.evaluate.table import MEASUREMENTS, default
from tfvae.export.errors import did_you_mean
from tfvae.markup import plain

if TYPE_CHECKING:
    from rich.table import Table

LEARNED = 10_000
"""Training examples that something is fitted to, at most."""


@dataclass(frozen=True)
class Measures:
    """What :func:`measure` found.

    Attributes:
        results: by measurement, what its function in :mod:`tfvae.evaluate` returns.
        left_out: by measurement, why it has no meaning for this model or these data.
        examples: how many there were.
        seed: of everything random.
    """

    results: Mapping[str, Any]
    left_out: Mapping[str, str]
    examples: int
    seed: int

    def __getitem__(self, name: str) -> Any:
        """Return the result of a measurement, or say why there is none."""
        if name in self.results:
            return self.results[name]
        why = self.left_out.get(name, "it was not asked for")
        raise KeyError(f"{name!r} was not measured: {why}")

    def to_dict(self) -> dict[str, Any]:
        """Return all as what JSON can hold; NaN and infinity become None."""
        return {
            "examples": self.examples,
            "seed": self.seed,
            "measures": {name: plain(result) for name, result in self.results.items()},
            "left_out": dict(self.left_out),
        }

    def rows(self) -> dict[str, list[Row]]:
        """Return the lines of the table, by measurement."""
        return {
            each.name: each.rows(self.results[each.name])
            for each in MEASUREMENTS
            if each.name in self.results
        }

    def table(self, title: str = "") -> Table:
        """Return a table for ``rich`` to print."""
        from rich.table import Table
        from rich.text import Text

        # Text is shown as it is, whether or not a console reads markup.
        heading = Text(title, "table.title") if title else None
        table = Table(title=heading, title_justify="left")
        table.add_column("")
        table.add_column("value", justify="right")
        table.add_column("± s.e.", justify="right")
        table.add_column("", style="dim")
        for rows in self.rows().values():
            table.add_section()
            for row in rows:
                known = row.error is not None and math.isfinite(row.error)
                error = f"{row.error:.{row.digits}f}" if known else ""
                table.add_row(*map(Text, (row.name, _written(row), error, row.meaning)))
        if self.left_out:
            table.add_section()
        for name, why in self.left_out.items():
            table.add_row(*map(Text, (name, "left out", "", why)))
        return table


def measure(
    vae: tfvae.VAE,
    x: Any,
    metrics: str | Sequence[str] | None = "all",
    *,
    train: Any = None,
    condition: Any = None,
    samples: int = 1000,
    seed: int = 0,
    features: Any = None,
    examples: int = 50,
    weight_draws: int = 0,
    progress: bool = False,
) -> Measures:
    """Measure a model by everything that has a meaning for it, or by what is asked for.

    Args:
        vae: a trained model.
        x: test data [N, *data], or Examples.
        metrics: ``"all"``, or names of `MEASUREMENTS`: one, a list of them, or several with commas.
            None is the bound and the use of latents, and of an autoencoder its reconstructions.
        train: training data, or a pair of them and their labels, by which the feature space of
            samples is found.
        condition: for a conditional model, one for each example; Examples bring theirs as y.
        samples: importance samples of each example, for the bound on log p(x).
        seed: of everything random.
        features: the feature space of samples; see :func:`tfvae.evaluate.sample_quality`.
        examples: how many, at most, for what takes long for each: annealed importance sampling.
        weight_draws: of a model with Bayesian layers; see :func:`tfvae.evaluate.log_marginal`.
        progress: show a progress bar for each, on standard error.

    Returns:
        The results by name, ``found["surgery"].mutual_information``; with ``"all"`` and None,
        what has no meaning for the model is left out, and the reason is kept.

    Raises:
        ValueError: for unknown names, data that do not fit, and what is asked for by name and has
            no meaning for the model.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8))
        >>> found = tfvae.evaluate.measure(vae, x, ["active_units", "reconstruction"])
        >>> found["reconstruction"].data_range
        1.0
        >>> sorted(found.to_dict()["measures"])
        ['active_units', 'reconstruction']
    """
    names = default(vae) if metrics is None else check_names(metrics)
    lenient = metrics is None or names == check_names("all")
    from tfvae.evaluate.batches import UndefinedError, read

    count = len(read(vae, x, condition, "measure"))
    asked = Asked(
        vae, x, condition, train, samples, seed, features, weight_draws, min(examples, count)
    )
    results, left_out = {}, {}
    for each in MEASUREMENTS:
        if each.name not in names:
            continue
        try:
            results[each.name] = each.run(asked, progress)
        except UndefinedError as error:
            if not lenient:
                raise
            left_out[each.name] = str(error)
    return Measures(results, left_out, count, seed)


def learns(metrics: str | Sequence[str] | None) -> bool:
    """Say whether any of these measurements is of something that is fitted to training data."""
    names = () if metrics is None else check_names(metrics)
    return any(each.learns for each in MEASUREMENTS if each.name in names)


def check_names(metrics: str | Sequence[str]) -> tuple[str, ...]:
    """Return names of measurements; of "all", all of them.

    Raises:
        ValueError: for names that there are not, and none at all.

    Example:
        >>> check_names("bound, surgery")
        ('bound', 'surgery')
    """
    known = [each.name for each in MEASUREMENTS]
    given = metrics.split(",") if isinstance(metrics, str) else list(metrics)
    names = tuple(str(name).strip() for name in given)
    if names == ("all",):
        return tuple(known)
    for name in names:
        if name not in known:
            raise ValueError(
                f"Expected `metrics` to be all, or of {', '.join(known)}. "
                f"Received: {name!r}.{did_you_mean(name, known)}"
            )
    if not names:
        raise ValueError("Expected `metrics` to name at least one. Received: none.")
    return names


def _written(row: Row) -> str:
    if isinstance(row.value, float):
        return f"{row.value:.{row.digits}f}"
    return str(row.value)
