"""Which latents follow the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import intake, random
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.objectives.base import check_number
from tfvae.trace import Latent

THRESHOLD = 0.01
"""Of the variance, as Burda et al. have it."""
DRAWS = 64
"""Of each example: counts of a hierarchy, whose means are estimated, depend on how many."""


def criterion(threshold: float) -> str:
    """Say what makes a latent active.

    Example:
        >>> criterion(0.01)
        'variance of E[z|x] above 0.01'
    """
    return f"variance of E[z|x] above {threshold:g}"


class ActiveUnits(NamedTuple):
    """How many latents follow the data, for each group of latents.

    Attributes:
        counts: of each group, how many latents are active.
        variances: of each group, Cov_x(E_q[z|x]) of each latent, [*latent].
        threshold: the variance above which a latent is active.
    """

    counts: tuple[int, ...]
    variances: tuple[npt.NDArray[np.floating[Any]], ...]
    threshold: float = THRESHOLD

    @property
    def meaning(self) -> str:
        """What makes a latent active, in words."""
        return criterion(self.threshold)


def active_units(
    vae: VAE,
    x: Any,
    threshold: float = THRESHOLD,
    *,
    samples: int = DRAWS,
    seed: int = 0,
    condition: Any = None,
    batch_size: int = 256,
) -> ActiveUnits:
    r"""Say which latents follow the data: u is active where E[u|x] varies with x.

    .. math:: \operatorname{Cov}_x\bigl(\mathbb E_{u \sim q(u|x)}[u]\bigr) > \text{threshold}

    The mean is known where q(u|x) is a distribution with one; where it is given draws of another
    level, or has no mean in closed form, it is estimated from `samples`, in two halves whose
    covariance over x is not biased by the noise in either.

    Args:
        vae: the model.
        x: [N, *data], or Examples, of which there are at least two.
        threshold: of the variance, in squared units of z.
        samples: draws of each example, at least 2.
        seed: the draws are a function of it.
        condition: for a conditional model, one for each example; Examples bring theirs as y.
        batch_size: examples at a time.

    Returns:
        Counts and variances, a tuple each of one for each group of latents.

    Raises:
        ValueError: for samples < 2, fewer than two examples, a threshold that is negative, or
            data that do not fit the model.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=3, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8))
        >>> len(tfvae.evaluate.active_units(vae, x).variances[0])
        3

    References:
        Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519, section 5.1.
    """
    check_samples(samples, minimum=2)
    check_number("threshold", threshold, minimum=0)
    examples = intake.examples(vae.likelihood, *vae.beside(x, condition))
    if len(examples) < 2:
        raise ValueError(
            f"Expected at least two examples, between which codes can vary. "
            f"Received: {len(examples)}."
        )
    vae.check_condition(examples, "active_units(vae, x, condition=c)")
    values, beside = examples.values(), examples.y if vae.reads_y else None

    parts = []
    for start in range(0, len(values), batch_size):
        rows = slice(start, start + batch_size)
        batch = vae.unpack((tf.constant(values[rows]), None if beside is None else beside[rows]))
        folded = random.fold(seed, random.TEST, start)
        latents = vae.latents(
            batch.seen, samples, folded, condition=batch.condition, mask=batch.mask
        )
        parts.append([_halves(latent).numpy() for latent in latents])
    variances = []
    for group in zip(*parts, strict=True):
        first, second = np.concatenate(group, axis=1).astype(np.float64)  # [N, *latent] each
        centred = (first - first.mean(axis=0)) * (second - second.mean(axis=0))
        variances.append(centred.sum(axis=0) / (len(first) - 1))
    counts = tuple(int(np.count_nonzero(variance > threshold)) for variance in variances)
    return ActiveUnits(counts, tuple(variances), threshold)


def _halves(latent: Latent) -> tf.Tensor:
    """Return two estimates of E[z|x], [2, B, *latent], the same where it is known."""
    try:
        mean = latent.posterior.mean()
    except NotImplementedError:
        mean = latent.z
    if mean.shape.rank < latent.z.shape.rank:  # one for each example, and not for each draw
        return tf.stack([mean, mean])
    half = latent.z.shape[0] // 2
    return tf.stack([tf.reduce_mean(part, axis=0) for part in (mean[:half], mean[half:])])
