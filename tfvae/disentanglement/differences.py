"""The β-VAE score: a classifier of differences between codes that have a factor in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfvae.disentanglement.checking import Floats, Integers
from tfvae.disentanglement.fits import Report, generator, quiet, reported, state
from tfvae.disentanglement.sampling import Sampler
from tfvae.disentanglement.votes import BATCH, check_draws

_BLOCK = 250


@dataclass(frozen=True)
class Accuracy:
    """How well a classifier tells which factor two examples have in common.

    Attributes:
        score: the accuracy on new pairs. Chance is 1 / K.
        train_score: on those that it was fitted to.
    """

    score: float
    train_score: float


def beta_vae_score(
    sampler: Sampler,
    test: Sampler | None = None,
    *,
    batch_size: int = BATCH,
    train: int = 10_000,
    tests: int = 5_000,
    seed: int = 0,
    progress: Report | None = None,
) -> Accuracy:
    r"""Return the β-VAE score.

    Of L pairs of examples that have factor k in common, the mean absolute difference of codes,

    .. math:: \frac 1 L \sum_l |c_l - c'_l| \in \mathbb R^D,

    is a point of class k; the accuracy of a linear classifier of such points, a multinomial
    logistic regression (C = 1) as in disentanglement_lib, is the score on new ones. It says that
    factors can be told apart, and not that each has one latent: rotated codes may well have 1.

    Args:
        sampler: of pairs, as :class:`Pool` or :class:`Fresh`.
        test: of new pairs, if not the same.
        batch_size: pairs for a point, L.
        train: points to fit the classifier to.
        tests: points to test it with.
        seed: of the pairs.
        progress: called with the number of points that are done and that of all.

    Returns:
        The scores.

    Raises:
        ValueError: for a batch of one, or no points.

    Example:
        >>> factors = np.stack(np.meshgrid(range(4), range(5), range(3)), -1).reshape(-1, 3)
        >>> pool = tfvae.disentanglement.Pool(2.0 * factors, factors)
        >>> tfvae.disentanglement.beta_vae_score(pool, train=300, tests=100).score
        1.0

    References:
        Higgins et al. (2017), beta-VAE: learning basic visual concepts with a constrained
        variational framework, ICLR, section 3.
    """
    from sklearn.linear_model import LogisticRegression

    check_draws(batch_size, train=train, tests=tests)
    report = reported(progress, -(-train // _BLOCK) + -(-tests // _BLOCK))

    def points(each: Sampler, number: int, stream: int) -> tuple[Floats, Integers]:
        rng = generator(seed, stream)
        labels = rng.integers(0, sampler.factors, number)
        found = []
        for start in range(0, number, _BLOCK):
            one, other = each.pairs(labels[start : start + _BLOCK], batch_size, rng)
            found.append(np.abs(one - other).mean(axis=1))
            report()
        return np.concatenate(found), labels

    x, y = points(sampler, train, 4)
    others, truth = points(test or sampler, tests, 5)
    if len(np.unique(y)) < 2:
        return Accuracy(float(np.mean(truth == y[0])), 1.0)
    with quiet():
        model = LogisticRegression(random_state=state(seed)).fit(x, y)
    return Accuracy(float(model.score(others, truth)), float(model.score(x, y)))
