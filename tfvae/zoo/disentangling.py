"""Disentangling: the KL, or a part of it, weighed otherwise."""

from __future__ import annotations

from typing import Literal, Unpack

import tfvae
from tfvae.zoo.base import Options, vae


def beta_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    beta: float = 4.0,
    samples: int = 1,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Beta-VAE: the KL weighed by beta, for latents that are more independent.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        beta: weight of the KL; 1 gives the VAE.
        samples: posterior samples of each example.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=ELBO

    Reference: Higgins et al. (2017), beta-VAE: learning basic visual concepts with a constrained
        variational framework, ICLR.
    """
    objective = tfvae.objectives.ELBO(beta=beta, samples=samples)
    return vae(data_shape, latent_dim, objective=objective, **options)


def annealed_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    capacity: float = 25.0,
    steps: int = 100_000,
    gamma: float = 1000.0,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Annealed beta-VAE: the KL is held to a capacity that rises during training.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        capacity: the KL at the end, in nats.
        steps: optimizer steps until it is reached.
        gamma: weight of the distance from the capacity.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=Reconstruction + Capacity

    Reference: Burgess et al. (2018), Understanding disentangling in beta-VAE, arXiv:1804.03599.
    """
    o = tfvae.objectives
    rising = o.LinearWarmup(steps, start=0.0, end=capacity)
    objective = o.Reconstruction() + gamma * o.Capacity(rising)
    return vae(data_shape, latent_dim, objective=objective, **options)


def beta_tcvae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    beta: float = 6.0,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Beta-TCVAE: beta weighs the total correlation alone, and not the whole KL.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        beta: weight of the total correlation; 1 gives the VAE.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=ELBO + TotalCorrelation

    Reference: Chen et al. (2018), Isolating sources of disentanglement in VAEs, arXiv:1802.04942.
    """
    o = tfvae.objectives
    objective = o.ELBO() + (beta - 1.0) * o.TotalCorrelation()
    return vae(data_shape, latent_dim, objective=objective, **options)


def dip_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    kind: Literal["i", "ii"] = "i",
    lambda_od: float = 10.0,
    lambda_d: float = 100.0,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """DIP-VAE: the covariance of the latents over the data is drawn to the identity.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        kind: "i" of the posteriors' means, "ii" of the aggregate posterior.
        lambda_od: weight of the entries off the diagonal.
        lambda_d: weight of the diagonal's distance from 1.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=ELBO + DIP

    Reference: Kumar, Sattigeri and Balakrishnan (2018), Variational inference of disentangled
        latent concepts from unlabeled observations, arXiv:1711.00848.
    """
    o = tfvae.objectives
    objective = o.ELBO() + o.DIP(lambda_od=lambda_od, lambda_d=lambda_d, kind=kind)
    return vae(data_shape, latent_dim, objective=objective, **options)


def info_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    alpha: float = 0.0,
    weight: float = 10.0,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """InfoVAE (MMD-VAE): less weight on the KL, more on the aggregate posterior's distance.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        alpha: how much mutual information is preferred, from 0 (as the VAE) to 1 (no KL).
        weight: lambda, of the divergence between the aggregate posterior and the prior.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=ELBO + MMD

    Reference: Zhao, Song and Ermon (2019), InfoVAE: balancing learning and inference in
        variational autoencoders, arXiv:1706.02262.
    """
    o = tfvae.objectives
    objective = o.ELBO(beta=1.0 - alpha) + (alpha + weight - 1.0) * o.MMD("rbf")
    return vae(data_shape, latent_dim, objective=objective, **options)
