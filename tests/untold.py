"""A run of which little is known, and what is made of it."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

import tfvae
from tfvae.evaluate import PerExample
from tfvae.reporting import comparison, facts
from tfvae.reporting.request import Request
from tfvae.reporting.scoring import Scored
from tfvae.runs import Run, RunConfig

UNTOLD = Run(Path("m"), RunConfig(epochs=2), {}, {"elbo": [-9.0, -8.0]}, "complete")
"""A run of which no more is known than its configuration and its history."""


@functools.cache
def tiny() -> Any:
    return tfvae.zoo.vae((2, 2), latent_dim=2, hidden=(4,))


def bare(run: Run) -> facts.Facts:
    """What is known of a run whose data are gone."""
    return facts.Facts(run, Request(), tiny(), None, "Gone.", None, {}, {}, {}, ([], []), None)


def judged(name: str, values: dict[str, Any], run: Run, **changes: Any) -> comparison.Judged:
    """A run of which nothing but figures is known, or [N] values of the bound."""
    scored = Scored(3, None, judged=values)
    if "each" in changes:
        each = np.asarray(changes.pop("each"))
        scored = Scored(3, PerExample(each, each, np.zeros((3, 1)), 1.0, 2))
    run = dataclasses.replace(run, path=Path(name), **changes)
    return comparison.Judged(name, run, ("Bernoulli", "binary"), 1, scored, {})
