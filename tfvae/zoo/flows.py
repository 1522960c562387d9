"""Posteriors bent by normalising flows."""

from __future__ import annotations

from typing import Unpack

import tfvae
from tfvae.zoo.base import Options, latent_shape, vae


def iaf_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    steps: int = 2,
    width: int = 128,
    context: int = 64,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """IAF-VAE: posteriors by inverse autoregressive flow.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        steps: of the flow.
        width: of the hidden layer of each step's network.
        context: how many numbers the encoder passes to the flow.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=IAF

    Reference: Kingma et al. (2016), Improved variational inference with inverse autoregressive
        flow, arXiv:1606.04934.
    """
    posterior = tfvae.layers.IAF(
        latent_shape(latent_dim), steps=steps, hidden=(width,), context=context, name="posterior"
    )
    return vae(data_shape, latent_dim, posterior=posterior, **options)


def planar_flow_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    steps: int = 8,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Planar-flow VAE: posteriors by planar flows, whose parameters the encoder emits.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        steps: of the flow.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=Planar

    Reference: Rezende and Mohamed (2015), Variational inference with normalizing flows,
        arXiv:1505.05770.
    """
    posterior = tfvae.layers.Planar(latent_shape(latent_dim), steps=steps, name="posterior")
    return vae(data_shape, latent_dim, posterior=posterior, **options)


def radial_flow_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    steps: int = 8,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Radial-flow VAE: posteriors by radial flows, whose parameters the encoder emits.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        steps: of the flow.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=Radial

    Reference: Rezende and Mohamed (2015), Variational inference with normalizing flows,
        arXiv:1505.05770.
    """
    posterior = tfvae.layers.Radial(latent_shape(latent_dim), steps=steps, name="posterior")
    return vae(data_shape, latent_dim, posterior=posterior, **options)


def spline_flow_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    steps: int = 2,
    bins: int = 8,
    context: int = 64,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Neural-spline VAE: posteriors by rational-quadratic coupling flows.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables, at least 2.
        steps: of the flow.
        bins: pieces of each spline.
        context: how many numbers the encoder passes to the flow.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=NeuralSpline

    Reference: Durkan, Bekasov, Murray and Papamakarios (2019), Neural spline flows,
        arXiv:1906.04032.
    """
    posterior = tfvae.layers.NeuralSpline(
        latent_shape(latent_dim), steps=steps, bins=bins, context=context, name="posterior"
    )
    return vae(data_shape, latent_dim, posterior=posterior, **options)
