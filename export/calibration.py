"""Anomaly detection by likelihood: thresholds at stated false-alarm rates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvae import intake
from tfvae.data import Examples
from tfvae.model import VAE

from .errors import ExportError
from .manifest import Calibration, Threshold

FALSE_ALARM_RATES = (0.001, 0.01, 0.05)


def held_out(vae: VAE, calibration: Any) -> Examples:
    """Return held-out data as the model takes them: x, (x, condition) or Examples.

    Raises:
        ExportError: if they do not fit the model.
    """
    parts = calibration if isinstance(calibration, tuple) else (calibration, None)
    if len(parts) != 2:
        raise ExportError(
            "Expected `calibration` to be x, (x, condition) or Examples. "
            f"Received: a tuple of {len(parts)}."
        )
    x, condition = parts
    try:
        arranged = vae.arrange(x, condition, argument="calibration")
        examples = intake.examples(vae.likelihood, *arranged, argument="calibration")
        vae.check_condition(examples, "export(vae, path, calibration=(x, c))")
    except ValueError as error:
        raise ExportError(str(error)) from error
    return examples


def calibrate(
    vae: VAE, examples: Examples, samples: int, rates: Iterable[float] | None = None
) -> Calibration:
    r"""Find the scores below which held-out examples fall with given probabilities.

    The threshold at rate :math:`\alpha` is the k-th smallest of n held-out scores,
    :math:`k = \lfloor \alpha (n + 1) \rfloor`. An example exchangeable with them scores below it
    with probability at most :math:`\alpha`, whatever the distribution and however good the model.

    Args:
        vae: the model.
        examples: held out of its training.
        samples: importance samples of each score.
        rates: the largest probabilities of a false alarm; by default 0.001, 0.01 and 0.05, as
            far as there are examples enough.

    Returns:
        The thresholds, by rising rate.

    Raises:
        ExportError: for rates outside (0, 1), or too few examples to say anything of one.

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world (the conformal
        quantile). Bishop (1994), Novelty detection and neural network validation.
    """
    enough = [rate for rate in FALSE_ALARM_RATES if _rank(rate, len(examples))]
    given = rates if rates is not None else enough or FALSE_ALARM_RATES[-1:]
    try:
        wanted = sorted({float(rate) for rate in given})
    except (TypeError, ValueError):
        wanted = []
    if not wanted or not all(0 < rate < 1 for rate in wanted):
        raise ExportError(
            "Expected `false_alarm_rates` to be a list of numbers between 0 and 1. "
            f"Received: {given!r}."
        )
    condition = examples.y if vae.conditional else None
    scores = vae.score(examples.values(), samples=samples, condition=condition).log_marginal
    ranked = np.sort(np.asarray(scores, np.float64))
    return Calibration(
        len(ranked), samples, tuple(Threshold(rate, _quantile(ranked, rate)) for rate in wanted)
    )


def _rank(rate: float, count: int) -> int:
    """Return k; 0 if there are too few examples."""
    # The product may fall a rounding short of a whole number.
    return math.floor(rate * (count + 1) + 1e-9)


def _quantile(ranked: npt.NDArray[np.float64], rate: float) -> float:
    rank = _rank(rate, len(ranked))
    if not rank:
        raise ExportError(
            f"Expected at least {math.ceil(1 / rate) - 1} examples in `calibration` for a false-"
            f"alarm rate of {rate:g}. Received: {len(ranked)}. Give more, or leave the rate out of "
            "`false_alarm_rates`."
        )
    return float(ranked[rank - 1])
