"""Simulation-based calibration: whether q(z|x) is the posterior of the model's own data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import metrics, random
from tfvae.evaluate.batches import UndefinedError
from tfvae.generation import check_conditions
from tfvae.layers.deterministic import Deterministic
from tfvae.layers.support import Support
from tfvae.metrics import RankHistogram
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.step import check_count

Array = npt.NDArray[Any]

_SUSPECT = 0.01
_CLEAR = 3.0
"""Standard errors from which on a trend is named."""


class Calibration(NamedTuple):
    """Where latents stand among draws from q(z|x) of the data that were generated from them.

    Attributes:
        p_value: the probability of ranks as uneven if q(z|x) were the posterior: the least of all
            latents, times their number.
        finding: what the ranks say, in words.
        histograms: of each group of latents; a row for each latent.
        datasets: how many latents were drawn, and data generated.
        draws: from each posterior.
    """

    p_value: float
    finding: str
    histograms: tuple[RankHistogram, ...]
    datasets: int
    draws: int


def calibration(
    vae: VAE,
    datasets: int = 500,
    *,
    draws: int = 99,
    bins: int | None = None,
    seed: int = 0,
    condition: Any = None,
    batch_size: int = 100,
    progress: Callable[[int, int], object] | None = None,
) -> Calibration:
    r"""Hold q(z|x) against the model's own posterior, by ranks.

    .. math:: z^* \sim p(z), \quad x \sim p(x|z^*), \quad z_1, \dots, z_L \sim q(z|x), \qquad
        r_d = \#\{l : z_{l,d} < z^*_d\}

    Were q(z|x) the posterior p(z|x), all ranks from 0 to L would be as frequent, for each latent.
    Ranks at both ends say that q is too narrow, ranks in the middle that it is too wide. This is a
    judgement of inference in the model, not of the model as one of any data.

    Args:
        vae: the model.
        datasets: how many z and x.
        draws: L, from each posterior.
        bins: of the histograms; see :func:`tfvae.metrics.rank_histogram`.
        seed: of all draws.
        condition: for a conditional model, conditions that take turns.
        batch_size: data at a time; `draws` times as many latents.
        progress: called with the number of data that are done and that of all.

    Raises:
        ValueError: for numbers below 1, missing conditions, and models whose latents have no
            place among draws: codes, categories and points.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> found = tfvae.evaluate.calibration(vae, 200)
        >>> found.histograms[0].counts.shape
        (2, 20)

    References:
        Talts, Betancourt, Simpson, Vehtari and Gelman (2018), Validating Bayesian inference
        algorithms with simulation-based calibration, arXiv:1804.06788.
    """
    check_count("datasets", datasets)
    check_count("batch_size", batch_size)
    check_samples(draws, argument="draws")
    _check(vae)
    given = conditions_of(vae, condition, datasets)
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, 2], np.uint64)))
    ranks: list[list[Array]] = []
    for start in range(0, datasets, batch_size):
        rows = np.arange(start, min(start + batch_size, datasets))
        beside: dict[str, Any] = {} if given is None else {"condition": given[rows]}
        made = vae.generate(seeds=seed + rows, **beside)
        truths = made.z if isinstance(made.z, tuple) else (made.z,)
        folded = random.fold(seed, random.TEST, start)
        x = tf.cast(made.sample, vae.likelihood.compute_dtype)
        latents = vae.latents(x, draws, folded, **beside)
        ranks.append(
            [
                _ranks(np.asarray(truth), np.asarray(latent.z), rng)
                for truth, latent in zip(truths, latents, strict=True)
            ]
        )
        if progress is not None:
            progress(int(rows[-1]) + 1, datasets)
    histograms = tuple(
        metrics.rank_histogram(np.concatenate(group), draws, bins)
        for group in zip(*ranks, strict=True)
    )
    count = sum(len(each.p_value) for each in histograms)
    p_value = min(1.0, count * min(float(each.p_value.min()) for each in histograms))
    return Calibration(
        p_value, _finding(histograms, p_value, datasets), histograms, datasets, draws
    )


def _ranks(truth: Array, drawn: Array, rng: np.random.Generator) -> Array:
    """Return ranks of values [N, *event] among draws [S, N, *event], [N, d]."""
    below = np.count_nonzero(drawn < truth, axis=0)
    # Of equal ones any number may stand below: as often as any other, so that ranks stay even.
    equal = np.count_nonzero(drawn == truth, axis=0)
    ranks: Array = (below + rng.integers(0, equal + 1)).reshape(len(truth), -1)
    return ranks


def _finding(histograms: tuple[RankHistogram, ...], p_value: float, datasets: int) -> str:
    if p_value >= _SUSPECT:
        return f"Ranks are even: nothing wrong with q(z|x) shows in {datasets:,} data sets."
    spread = np.concatenate([each.spread for each in histograms])
    bias = np.concatenate([each.bias for each in histograms])
    parts = []
    for name, count in (
        ("too narrow", np.count_nonzero(spread > _CLEAR)),
        ("too wide", np.count_nonzero(spread < -_CLEAR)),
        ("shifted", np.count_nonzero(np.abs(bias) > _CLEAR)),
    ):
        if count:
            parts.append(f"{name} in {count}")
    shape = "; ".join(parts) or "of another shape, in ways that ranks do not name, in some"
    return f"q(z|x) is not the model's own posterior: {shape} of {len(bias)} latents."


def _check(vae: VAE) -> None:
    if vae.likelihood.support.kind == "tokens":
        raise UndefinedError("Expected a model of numbers. Received: one of text.")
    for layer in getattr(vae, "posteriors", [vae.posterior]):
        if layer.support in (Support.CODES, Support.ONE_HOT) or isinstance(layer, Deterministic):
            raise UndefinedError(
                "Expected a posterior whose draws are in an order, among which a latent has a "
                f"rank. Received: {type(layer).__name__} over {layer.support.value}."
            )


def conditions_of(vae: VAE, condition: Any, datasets: int) -> Array | None:
    """Return a condition for each data set, or None."""
    if not vae.conditional:
        return None
    if condition is None and vae.classes:
        condition = np.arange(vae.classes)
    given = np.asarray(condition)
    if given.ndim:
        if vae.missing_label is not None:
            given = given[given != vae.missing_label]
        given = np.resize(given, (datasets, *given.shape[1:])) if len(given) else given
    check_conditions(vae, datasets, given if given.ndim else None)
    vae.check_labels(given)
    return given
