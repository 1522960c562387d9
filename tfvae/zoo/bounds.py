"""Tighter bounds on log p(x), from several samples."""

from __future__ import annotations

from typing import Unpack

import tfvae
from tfvae.zoo.base import Options, vae


def iwae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    samples: int = 5,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Importance weighted autoencoder: a bound that tightens with the number of samples.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        samples: importance samples of each example, k.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=IWAE

    Reference: Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders,
        arXiv:1509.00519.
    """
    objective = tfvae.objectives.IWAE(samples=samples)
    return vae(data_shape, latent_dim, objective=objective, **options)


def miwae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    samples: int = 8,
    groups: int = 2,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """MIWAE: the mean of several importance weighted bounds.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        samples: importance samples of each example in all.
        groups: the number of bounds, which divides `samples`.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=MIWAE

    Reference: Rainforth et al. (2018), Tighter variational bounds are not necessarily better,
        arXiv:1802.04537.
    """
    objective = tfvae.objectives.MIWAE(samples=samples, groups=groups)
    return vae(data_shape, latent_dim, objective=objective, **options)


def ciwae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    beta: float = 0.5,
    samples: int = 5,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """CIWAE: a convex combination of the ELBO and the importance weighted bound.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        beta: the ELBO's part, from 0 to 1.
        samples: importance samples of each example.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=CIWAE

    Reference: Rainforth et al. (2018), Tighter variational bounds are not necessarily better,
        arXiv:1802.04537.
    """
    objective = tfvae.objectives.CIWAE(beta=beta, samples=samples)
    return vae(data_shape, latent_dim, objective=objective, **options)


def piwae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    samples: int = 8,
    groups: int = 4,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """PIWAE: the decoder learns from the tighter bound, the encoder from the steadier.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        samples: importance samples of each example in all.
        groups: the number of bounds that the encoder learns from, which divides `samples`.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=PIWAE

    Reference: Rainforth et al. (2018), Tighter variational bounds are not necessarily better,
        arXiv:1802.04537.
    """
    objective = tfvae.objectives.PIWAE(samples=samples, groups=groups)
    return vae(data_shape, latent_dim, objective=objective, **options)
