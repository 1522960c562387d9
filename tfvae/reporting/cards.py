"""The model card of a run's export: what the run knows, and nothing that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfvae import markup
from tfvae.reporting.recorded import (
    best_epoch,
    recorded_evaluation,
    recorded_figures,
    watched,
)
from tfvae.runs import Run

if TYPE_CHECKING:
    from tfvae.export import Card


def card(run: Run, weights: str = "last", **told: str) -> Card:
    """Return the card of a run, for :func:`tfvae.export.export`.

    Data and training are those of the run; metrics are what ``tfvae evaluate`` last recorded of
    these weights, or else the validation terms of their epoch. Paths of this machine stay out.

    Args:
        run: the run.
        weights: which of its weights are exported, as of :meth:`tfvae.runs.Run.model`.
        **told: what only people know: ``intended_use``, ``limits``, ``license``, ``description``.

    Returns:
        The card.

    Raises:
        ExportError: for text that is none.

    Example:
        >>> run = tfvae.runs.Run.load("runs/m")  # doctest: +SKIP
        >>> card = tfvae.reporting.card(run, license="apache-2.0")  # doctest: +SKIP
        >>> tfvae.export.export(run.model(), "savedmodels/m", card=card)  # doctest: +SKIP
    """
    from tfvae.export import Card

    config, environment = run.config, run.environment
    known = environment.get("data", {})
    data = {
        **{name: known[name] for name in ("name", "shape", "train", "validation", "test")
           if name in known},
        "binarize": config.binarize,
        "fingerprint": known.get("fingerprint") or config.fingerprint,
    }  # fmt: skip
    git = environment.get("git") or {}
    commit = git.get("commit")
    training = {
        "model": f"{config.model}({markup.settings(config.options)})",
        "epochs": f"{run.epochs} of {config.epochs}, {run.status}",
        "weights": weights,
        "batch size": config.batch_size,
        "optimizer": f"{config.optimizer}, learning rate {config.learning_rate:g}, "
        f"{config.schedule}",
        "precision": config.precision,
        "seed": config.seed,
        "parameters": environment.get("parameters"),
        "git commit": commit and commit + (" with changes" if git.get("dirty") else ""),
    }
    metrics, measured_on = _metrics(run, weights)
    return Card(
        data={name: value for name, value in data.items() if value is not None},
        training={name: value for name, value in training.items() if value is not None},
        metrics=metrics,
        measured_on=measured_on,
        **told,
    )


def _metrics(run: Run, weights: str) -> tuple[dict[str, Any], str]:
    """Return figures of these weights, and what they were measured on."""
    recorded = recorded_evaluation(run, weights)
    if recorded:
        figures = recorded_figures(recorded)
        count, samples = recorded.get("examples"), recorded.get("samples")
        return figures, (
            f"{markup.number(count)} examples of its test set, with {markup.number(samples)} "
            f"importance samples of each, seed {recorded.get('seed')}"
        )
    if weights == "ema":  # the history is of the weights that they are averages of
        return {}, ""
    _, values = watched(run.history)
    epoch = best_epoch(values) if weights == "best" else len(values) - 1
    if not values or epoch is None:
        return {}, ""
    terms = {name: each[epoch] for name, each in run.history.items() if name.startswith("val_")}
    return terms, f"its validation set, in epoch {epoch + 1}"
