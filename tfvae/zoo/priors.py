"""Priors that learn, with the model or after it."""

from __future__ import annotations

from typing import Unpack

import tfvae
from tfvae.zoo.base import Options, latent_shape, vae


def mixture_prior_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    components: int = 10,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Mixture-prior VAE: a learned mixture of Gaussians as prior.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        components: of the mixture.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=MixtureOfGaussians

    Reference: Dilokthanakul et al. (2016), Deep unsupervised clustering with Gaussian mixture
        variational autoencoders, arXiv:1611.02648.
    """
    prior = tfvae.priors.MixtureOfGaussians(
        latent_shape(latent_dim), components=components, seed=options.get("seed", 0), name="prior"
    )
    return vae(data_shape, latent_dim, prior=prior, **options)


def vamp_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    components: int = 500,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """VampPrior VAE: the prior is a mixture of posteriors at learned pseudo-inputs.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        components: the number of pseudo-inputs.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=VampPrior

    Reference: Tomczak and Welling (2018), VAE with a VampPrior, arXiv:1705.07120.
    """
    model = vae(data_shape, latent_dim, **options)
    low, high = (
        end if abs(end) < float("inf") else None for end in model.likelihood.support.bounds
    )
    prior = tfvae.priors.VampPrior(
        model.encoder,
        model.posterior,
        model.data_shape,
        components=components,
        low=low,
        high=high,
        seed=model.seed,
        name="prior",
    )
    return tfvae.VAE(
        model.encoder,
        model.decoder,
        prior=prior,
        posterior=model.posterior,
        likelihood=model.likelihood,
        seed=model.seed,
    )


def flow_prior_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    steps: int = 4,
    width: int = 128,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Flow-prior VAE: a learned RealNVP as prior.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables, at least 2.
        steps: of the flow.
        width: of the hidden layer of each step's network.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=RealNVP

    Reference: Huang et al. (2017), Learnable explicit density for continuous latent space and
        variational inference, arXiv:1710.02248; Dinh, Sohl-Dickstein and Bengio (2017),
        arXiv:1605.08803.
    """
    layer = tfvae.layers.RealNVP(latent_shape(latent_dim), steps=steps, hidden=(width,))
    values = {"loc": 0.0, "scale": 1.0}
    prior = tfvae.priors.Parametric(layer, values=values, name="prior")
    return vae(data_shape, latent_dim, prior=prior, **options)
