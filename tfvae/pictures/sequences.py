"""Sequences in time, and sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import tfvae
from tfvae import plots
from tfvae.drawing import positive
from tfvae.pictures.subject import Array, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VALUES = 3  # of a step, that are drawn


def forecast(
    subject: Subject,
    *,
    n: int = 4,
    context: int | None = None,
    steps: int | None = None,
    samples: int = 200,
) -> Figure:
    """How sequences go on: what was seen, what came, and the model's forecast with bands.

    Args:
        subject: a model of sequences, and examples.
        n: how many.
        context: steps that are seen; two thirds by default.
        steps: how far the forecast goes; by default as far as is known.
        samples: draws of each.
    """
    vae: Any = subject.vae
    length, count = vae.steps, min(positive("n", n), len(subject.x))
    seen = max(1, 2 * length // 3) if context is None else positive("context", context)
    if seen > length:
        raise ValueError(
            f"Expected `context` of at most {length} steps, which sequences have. Received: "
            f"context={seen}."
        )
    ahead = max(1, length - seen) if steps is None else positive("steps", steps)
    x = subject.x[:count].astype(np.float32)
    there = observed(subject, count)
    given = there & (np.arange(length) < seen).reshape(1, -1, *[1] * (x.ndim - 2))
    found = vae.forecast(x, ahead, observed=given, samples=samples, seed=subject.seed)
    # Of draws that are 0 or 1, bands say nothing: there it is the probabilities'.
    binary = vae.likelihood.support.bounds == (0.0, 1.0) and (
        vae.likelihood.support.kind == "integers"
    )
    draws = np.asarray(found.mean if binary else found.sample)
    values = np.where(there, x, np.nan).reshape(count, length, -1)
    came = np.full((count, ahead, values.shape[2]), np.nan)
    # A forecast goes on after the last step of its sequence that was given.
    steps_given = np.any(given.reshape(count, length, -1), axis=2)
    for i, last in enumerate(length - np.argmax(np.flip(steps_given, axis=1), axis=1)):
        known = values[i, last : last + ahead]
        came[i, : len(known)] = known
    draws = draws.reshape(samples, count, ahead, -1)
    shown = min(values.shape[2], _VALUES)
    left_out = cut(subject)
    return plots.forecast(
        np.where(given, x, np.nan).reshape(count, length, -1)[:, :seen, :shown],
        draws[..., :shown],
        truth=came[..., :shown],
        names=[f"value {k}" for k in range(shown)] if shown > 1 else (),
        note=f"{samples} draws of {'the mean' if binary else 'the sequence'}"
        + (f"; {left_out}" if left_out else ""),
    )


def observed(subject: Subject, count: int) -> Array:
    """Return which values of the first examples were observed, [n, T, *step] or broadcast to it."""
    vae: Any = subject.vae
    x, y = subject.x[:count], subject.beside(slice(count))
    mask = np.ones(x.shape, bool)
    return mask if y is None else mask & np.asarray(vae.mask(y))


def no_forecast(subject: Subject) -> str | None:
    """Say why there is nothing to forecast."""
    vae = subject.vae
    if not isinstance(vae, tfvae.families.SequentialVAE):
        return "it draws how sequences go on; this is no model of sequences"
    if vae.likelihood.noise is None:
        return "the likelihood is no map of base noise, by which a forecast draws"
    if vae.steps < 2:
        return "sequences have one step"
    return None


def is_sequences(subject: Subject) -> bool:
    """Say whether data are sequences of numbers."""
    return isinstance(subject.vae, tfvae.families.SequentialVAE)


def is_text(subject: Subject) -> bool:
    """Say whether data are sentences."""
    return isinstance(subject.vae, tfvae.families.SentenceVAE)


def written(subject: Subject, tokens: Any) -> list[str]:
    """Return tokens [N, T] as text."""
    vae: Any = subject.vae
    text: list[str] = vae.tokeniser.decode(np.asarray(tokens, np.int64))
    return text


def cut(subject: Subject) -> str:
    """Say how many values of a step are drawn, if not all are."""
    values = math.prod(subject.vae.data_shape[1:])
    return f"{_VALUES} of {values} values of a step" if values > _VALUES else ""


def shown_series(values: Array) -> Array:
    """Return sequences [N, T, *step] as lines, [N, T, k], of at most three values a step."""
    lines: Array = values.reshape(len(values), values.shape[1], -1)[..., :_VALUES]
    return lines
