"""Bidirectional Monte Carlo: log p(x) from below and from above, on data of the model's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import random
from tfvae.evaluate.annealing import compiled, schedule
from tfvae.evaluate.batches import Estimate, UndefinedError
from tfvae.evaluate.simulation import conditions_of
from tfvae.evaluate.spaces import Space, space_of
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.step import check_count

Array = npt.NDArray[Any]


class Sandwich(NamedTuple):
    """What :func:`sandwich` found of each data set.

    Attributes:
        lower: the annealed bound on log p(x), in nats, [N]: below it in expectation.
        upper: the reverse annealed bound, [N]: above it in expectation.
        gap: the mean of upper - lower, with its standard error: by no more than it is either
            off, on average.
        x: the data, [N, *data].
        chains: of each, in either direction.
        temperatures: how many there were between prior and posterior.
    """

    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]
    gap: Estimate
    x: Array
    chains: int
    temperatures: int


def sandwich(
    vae: VAE,
    datasets: int = 50,
    *,
    chains: int = 16,
    temperatures: int = 500,
    leapfrog: int = 10,
    seed: int = 0,
    condition: Any = None,
    batch_size: int = 64,
    progress: Callable[[int, int], object] | None = None,
) -> Sandwich:
    r"""Hold log p(x) between two bounds, on data that the model itself generates.

    Of x that was generated from :math:`z^* \sim p(z)`, that z is an exact draw of the posterior.
    Chains that begin there and are annealed from the posterior to the prior have weights

    .. math:: w' = \prod_{t=T}^1 p(x|z_t)^{\beta_{t-1} - \beta_t}, \qquad
        \mathrm E\, w' = \frac1{p(x)}

    so that :math:`-\log \frac1C \sum w'` is a stochastic *upper* bound on log p(x), as the
    weights of :func:`annealed` make a lower one. How far they are apart says how good temperatures
    and chains are for this model, on data like its own: whatever is between them is known to be.

    Args:
        vae: the model.
        datasets: how many x, N.
        chains: of each, C, in either direction.
        temperatures: T.
        leapfrog: steps of each proposal.
        seed: of everything random.
        condition: for a conditional model, conditions that take turns.
        batch_size: data at a time; `chains` times as many are decoded.
        progress: called with the number of data that are done and that of all.

    Raises:
        ValueError: for numbers below 1, missing conditions, discrete latents, over which there is
            no gradient, and sentences, whose words are drawn one after the other.

    References:
        Grosse, Ghahramani and Adams (2015), Sandwiching the marginal likelihood using bidirectional
        Monte Carlo, arXiv:1511.02543.
    """
    for name, value in (("chains", chains), ("temperatures", temperatures), ("leapfrog", leapfrog)):
        check_samples(value, argument=name)
    check_count("datasets", datasets)
    check_count("batch_size", batch_size)
    space = space_of(vae)
    if vae.likelihood.support.kind == "tokens":
        raise UndefinedError("the words of sentences are drawn one after the other, and not of z")
    given, size = conditions_of(vae, condition, datasets), min(batch_size, datasets)
    path = tf.constant(schedule(temperatures))
    run = compiled(vae, space, chains, leapfrog)
    unknown = tf.ones([temperatures, size])
    parts = []
    for first in range(0, datasets, size):
        # The last batch is filled up, so that it needs no graph of its own.
        rows = np.resize(np.arange(first, min(first + size, datasets)), size)
        beside = None if given is None else tf.constant(given[rows])
        key = random.fold(seed, random.TEST, first)
        start, x = _simulated(vae, space, size, random.fold(key, 0), beside)
        batch = x, beside, None
        fixed, adapts = tf.constant(False), tf.constant(True)
        *_, steps = run(*batch, random.fold(key, 1), path, unknown, adapts)
        upwards, *_ = run(*batch, random.fold(key, 2), path, steps, fixed)
        # Those of the same temperatures, found without a look at where these chains begin; at
        # the prior itself, which the last weight does not depend on, any will do.
        back = tf.concat([steps[-2::-1], steps[:1]], axis=0)
        downwards, *_ = run(*batch, random.fold(key, 3), path[::-1], back, fixed, start)
        count = min(size, datasets - first)
        parts.append([each.numpy()[..., :count] for each in (upwards, downwards)])
        parts[-1].append(x.numpy()[:count])
        if progress is not None:
            progress(first + count, datasets)
    up, down = (np.concatenate([part[i] for part in parts], axis=-1) for i in (0, 1))
    lower = np.logaddexp.reduce(up, axis=0) - math.log(chains)
    upper = math.log(chains) - np.logaddexp.reduce(down, axis=0)
    made = np.concatenate([part[2] for part in parts])
    return Sandwich(lower, upper, Estimate.of(upper - lower), made, chains, temperatures)


def _simulated(
    vae: VAE, space: Space, size: int, seed: tf.Tensor, condition: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return points [1, B, D] of the prior, and data [B, *data] that were generated from them."""
    points = space.start(random.fold(seed, 0), 1, size, condition)
    blank = tf.zeros([size, *vae.data_shape], vae.likelihood.compute_dtype)
    trace = vae.trace(blank, 1, 0, condition=condition).given(space.draws(points, condition))
    drawn = trace.likelihood.sample(seed=tf.cast(random.fold(seed, 1), tf.int32))
    return points, tf.cast(drawn[0], vae.likelihood.compute_dtype)
