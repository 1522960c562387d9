"""Scores made of mutual information: MIG, and modularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfvae.disentanglement.checking import Floats, checked, several
from tfvae.disentanglement.information import BINS, discretised, entropy, mutual_information


@dataclass(frozen=True, eq=False)
class Gap:
    """What lies between the two latents that say most of a factor.

    Attributes:
        score: the mean over the factors.
        per_factor: the gap of each factor [K].
        latents: the latent that says most of each factor [K].
        matrix: what each latent says of each factor [D, K]: of MIG, the mutual information over
            the factor's entropy; of SAP, the accuracy or R^2 of a prediction.
    """

    score: float
    per_factor: Floats
    latents: tuple[int, ...]
    matrix: Floats

    @classmethod
    def of(cls, matrix: Floats, floor: float | Floats = 0.0) -> Gap:
        """Find the gaps in a matrix [D, K]; next to a single latent is one that says `floor`."""
        padded = np.vstack([matrix, np.broadcast_to(floor, (1, matrix.shape[1]))])
        ranked = np.sort(padded if len(matrix) == 1 else matrix, axis=0)
        gaps = ranked[-1] - ranked[-2]
        return cls(float(gaps.mean()), gaps, tuple(matrix.argmax(axis=0).tolist()), matrix)


@dataclass(frozen=True, eq=False)
class Modularity:
    """How far each latent depends on one factor alone.

    Attributes:
        score: the mean over the latents.
        per_latent: of each latent [D]; 0 where it tells nothing of any factor.
        matrix: mutual information in nats [D, K].
    """

    score: float
    per_latent: Floats
    matrix: Floats


def mig(codes: Any, factors: Any, *, bins: int = BINS) -> Gap:
    r"""Return the mutual information gap: whether one latent alone tells a factor.

    .. math:: \frac 1 K \sum_k \frac{I(c_{(1)}; v_k) - I(c_{(2)}; v_k)}{H(v_k)}

    where :math:`c_{(1)}` and :math:`c_{(2)}` are the latents that tell most of the factor. From 0
    to 1: 1 where each factor is told wholly by one latent, and no other tells anything of it.

    Implementations differ in the estimate and in what they divide by. As in disentanglement_lib,
    codes (means of posteriors) are divided into `bins` of one width each, shares stand for
    probabilities, and H is the entropy of the factor's values in the sample; Chen et al. estimate
    I under samples of q(z|x). Of a single latent, the gap is to one that tells nothing.

    Args:
        codes: [N, D].
        factors: whole numbers [N, K], or [N].
        bins: into which each dimension of the codes is divided.

    Returns:
        The score, and what it is made of.

    Raises:
        ValueError: for codes that are not finite, or factors that are continuous or constant.

    Example:
        >>> factors = np.stack(np.meshgrid(range(4), range(5)), -1).reshape(-1, 2)
        >>> round(tfvae.disentanglement.mig(3.0 * factors, factors).score, 6)
        1.0

    References:
        Chen, Li, Grosse and Duvenaud (2018), Isolating sources of disentanglement in variational
        autoencoders, arXiv:1802.04942. Locatello et al. (2019), Challenging common assumptions in
        the unsupervised learning of disentangled representations, arXiv:1811.12359.
    """
    found, values = checked(codes, factors)
    return Gap.of(mutual_information(discretised(found, bins), values) / entropy(values))


def modularity(codes: Any, factors: Any, *, bins: int = BINS) -> Modularity:
    r"""Return the modularity: whether each latent tells of one factor alone.

    .. math:: \frac 1 D \sum_d \Bigl(1 -
        \frac{\sum_{k \ne k_d} I(c_d; v_k)^2}{(K - 1)\, I(c_d; v_{k_d})^2}\Bigr)

    where :math:`k_d` is the factor that latent d tells most of. From 0 to 1; that several latents
    tell of one factor costs nothing. A latent that tells nothing counts as 0, as in
    disentanglement_lib; mutual information is estimated as for :func:`mig`, whose bias makes it
    small and not 0, so that a dead latent which is not constant gets what chance gives.

    Args:
        codes: [N, D].
        factors: whole numbers [N, K], of at least two factors.
        bins: into which each dimension of the codes is divided.

    Returns:
        The score, and what it is made of.

    Raises:
        ValueError: for codes that are not finite, or factors that are continuous, constant or
            alone.

    References:
        Ridgeway and Mozer (2018), Learning deep disentangled embeddings with the F-statistic loss,
        arXiv:1802.05312.
    """
    found, values = checked(codes, factors)
    several(values, "modularity")
    return of_information(mutual_information(discretised(found, bins), values))


def of_information(matrix: Floats) -> Modularity:
    """Return the modularity of latents whose mutual information with factors is known, [D, K]."""
    squared = matrix**2
    most = squared.max(axis=1)
    # Of constant codes, sums of logarithms leave 1e-16 and not 0.
    alive = most > 1e-24
    rest = (squared.sum(axis=1) - most) / (matrix.shape[1] - 1)
    per_latent = np.where(alive, 1 - rest / np.where(alive, most, 1), 0.0)
    return Modularity(float(per_latent.mean()), per_latent, matrix)
