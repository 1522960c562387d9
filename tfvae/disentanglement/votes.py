"""The FactorVAE score: a vote of the latent that varies least where a factor is fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfvae.disentanglement.checking import Integers
from tfvae.disentanglement.fits import Report, generator, reported
from tfvae.disentanglement.sampling import Sampler

BATCH = 64
"""Examples in a batch, as in disentanglement_lib and in the papers."""
DEAD = 0.05
"""Standard deviation below which a latent is left out, as in disentanglement_lib."""
_BLOCK = 250
"""Batches that are drawn at once."""


@dataclass(frozen=True, eq=False)
class Votes:
    """How well the latent that varies least tells which factor is fixed.

    Attributes:
        score: the accuracy on new batches. Chance is 1 / K.
        train_score: on those that the majority was found with.
        active: the latents that took part.
        votes: how often each latent varied least where each factor was fixed [D, K].
    """

    score: float
    train_score: float
    active: tuple[int, ...]
    votes: Integers


def factor_vae_score(
    sampler: Sampler,
    test: Sampler | None = None,
    *,
    batch_size: int = BATCH,
    train: int = 10_000,
    tests: int = 5_000,
    deviations: int = 10_000,
    threshold: float = DEAD,
    seed: int = 0,
    progress: Report | None = None,
) -> Votes:
    r"""Return the FactorVAE score.

    Of a batch in which factor k is fixed and the others vary, the latent whose variance, over its
    variance in all the data, is least votes for k. A majority vote says which factor each latent
    stands for; its accuracy on new batches is the score. 1 where each factor has a latent that
    does not vary with any other.

    Defaults are those of disentanglement_lib; the paper uses 800 votes, and batches of 64. It
    leaves out latents whose posterior is the prior; here, as in disentanglement_lib, those whose
    codes have a standard deviation below `threshold`. If all are left out the score is 0.

    Args:
        sampler: of batches, as :class:`Pool` or :class:`Fresh`.
        test: of new batches, if not the same.
        batch_size: examples in a batch, L.
        train: votes to find the majority with.
        tests: votes to test it with.
        deviations: examples whose codes' variance is that of all the data.
        threshold: of the standard deviation of a latent's codes.
        seed: of the batches.
        progress: called with the number of votes that are done and that of all.

    Returns:
        The score, and what it is made of.

    Raises:
        ValueError: for a batch of one, no votes, or a threshold that is negative.

    Example:
        >>> factors = np.stack(np.meshgrid(range(4), range(5), range(3)), -1).reshape(-1, 3)
        >>> pool = tfvae.disentanglement.Pool(2.0 * factors, factors)
        >>> tfvae.disentanglement.factor_vae_score(pool, train=100, tests=100).score
        1.0

    References:
        Kim and Mnih (2018), Disentangling by factorising, arXiv:1802.05983, section 4.
    """
    check_draws(batch_size, train=train, tests=tests)
    if not threshold >= 0:
        raise ValueError(f"Expected `threshold` of at least 0. Received: threshold={threshold}.")
    if deviations < 2:
        raise ValueError(f"Expected `deviations` of at least 2. Received: {deviations}.")
    codes = sampler.codes(deviations, generator(seed, 1))
    variance = codes.var(axis=0, ddof=1)
    # Latents that are constant up to rounding would vote at random.
    active = np.flatnonzero((np.sqrt(variance) >= threshold) & (variance > 0))
    latents = codes.shape[1]
    if not active.size:
        return Votes(0.0, 0.0, (), np.zeros((latents, sampler.factors), np.int64))
    report = reported(progress, -(-train // _BLOCK) + -(-tests // _BLOCK))
    counts = []
    for stream, (each, number) in enumerate([(sampler, train), (test or sampler, tests)], start=2):
        found = np.zeros((latents, sampler.factors), np.int64)
        rng = generator(seed, stream)
        for start in range(0, number, _BLOCK):
            factor = rng.integers(0, sampler.factors, min(_BLOCK, number - start))
            spread = each.fixed(factor, batch_size, rng)[..., active].var(axis=1, ddof=1)
            np.add.at(found, (active[(spread / variance[active]).argmin(axis=1)], factor), 1)
            report()
        counts.append(found)
    votes, checks = counts
    majority = votes.argmax(axis=1)
    score, train_score = (_share(each, majority) for each in (checks, votes))
    return Votes(score, train_score, tuple(active.tolist()), votes)


def _share(votes: Integers, majority: Integers) -> float:
    return float(votes[np.arange(len(votes)), majority].sum() / votes.sum())


def check_draws(batch_size: int, **counts: int) -> None:
    """Refuse a batch of one, which has no variance, and numbers that nothing can be drawn of.

    Raises:
        ValueError: for such.
    """
    for name, value in {"batch_size": batch_size, **counts}.items():
        least = 2 if name == "batch_size" else 1
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(
                f"Expected `{name}` to be a whole number from {least} on. Received: "
                f"{name}={value!r}."
            )
