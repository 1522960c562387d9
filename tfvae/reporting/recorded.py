"""What ``tfvae evaluate`` has recorded in a run folder, as figures by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfvae.runs import EVALUATION, Run

_ABOUT = ("run", "epochs", "weights", "seed", "examples", "samples", "weight_draws")
_MOST = 16


def recorded_evaluation(run: Run, weights: str | None = None) -> dict[str, Any]:
    """Return what ``tfvae evaluate`` last wrote of a run as it is; nothing of an earlier one.

    Args:
        run: the run.
        weights: those that it is to be of; any by default.
    """
    try:
        document = json.loads((run.path / EVALUATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("epochs") != run.epochs:
        return {}
    if weights is not None and document.get("weights", "last") != weights:
        return {}
    return document


def watched(history: Mapping[str, Sequence[float]]) -> tuple[str, list[float]]:
    """Return which term tells the best epoch, and its values, of which the greatest is best.

    Without a validation set there are none.
    """
    if "val_elbo" in history:
        return "val_elbo", list(history["val_elbo"])
    return "val_loss", [-loss for loss in history.get("val_loss", ())]


def best_epoch(values: Sequence[float]) -> int | None:
    """Return, counted from 0, where the greatest finite value is; None where none is finite."""
    finite = [epoch for epoch, value in enumerate(values) if math.isfinite(value)]
    return max(finite, key=values.__getitem__, default=None)


def flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by names with dots."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def recorded_figures(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers, and short lists of numbers, of what ``tfvae evaluate`` wrote."""
    nested = flat(recorded.get("measures", {}))
    own = {name: value for name, value in recorded.items() if name not in _ABOUT}
    # The bound stands in both.
    every = own | {name: each for name, each in nested.items() if not name.startswith("bound.")}
    return {name: value for name, value in every.items() if _is_figure(value)}


def _is_figure(value: Any) -> bool:
    if isinstance(value, list):
        return 0 < len(value) <= _MOST and all(isinstance(each, int | float) for each in value)
    return isinstance(value, int | float) and not isinstance(value, bool)
