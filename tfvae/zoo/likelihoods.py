"""Likelihoods for counts, grey values and 8-bit images."""

from __future__ import annotations

from typing import Unpack

import tfvae
from tfvae.zoo.base import NetworkOptions, vae


def count_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 10,
    *,
    zero_inflated: bool = False,
    **options: Unpack[NetworkOptions],
) -> tfvae.VAE:
    """Count-data VAE: negative binomial counts, with an excess of zeros or without.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        zero_inflated: let any count be zero for a reason of its own.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: likelihood=NegativeBinomial

    Reference: Lopez, Regier, Cole, Jordan and Yosef (2018), Deep generative modeling for
        single-cell transcriptomics, Nature Methods 15.
    """
    likelihood = "ZeroInflatedNegativeBinomial" if zero_inflated else "NegativeBinomial"
    model = vae(data_shape, latent_dim, likelihood=likelihood, **options)
    if options.get("encoder") is not None:
        return model
    # Counts of some thousands would saturate the first layer: the encoder sees log(1 + x).
    return tfvae.VAE(
        tfvae.adapters.of_log_counts(model.encoder),
        model.decoder,
        prior=model.prior,
        posterior=model.posterior,
        likelihood=model.likelihood,
        seed=model.seed,
    )


def continuous_bernoulli_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    **options: Unpack[NetworkOptions],
) -> tfvae.VAE:
    """Continuous-Bernoulli VAE: grey values in [0, 1], with the normaliser that a Bernoulli lacks.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: likelihood=ContinuousBernoulli

    Reference: Loaiza-Ganem and Cunningham (2019), The continuous Bernoulli, arXiv:1907.06845.
    """
    return vae(data_shape, latent_dim, likelihood="ContinuousBernoulli", **options)


def discretized_logistic_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 64,
    *,
    components: int = 5,
    levels: int = 256,
    **options: Unpack[NetworkOptions],
) -> tfvae.VAE:
    """Discretised-logistic-mixture VAE: 8-bit images, channels coupled.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        components: of the mixture at each pixel.
        levels: how many grey levels the data have, evenly spaced from 0 to 1.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: likelihood=DiscretizedLogisticMixture

    Reference: Salimans, Karpathy, Chen and Kingma (2017), PixelCNN++, arXiv:1701.05517.
    """
    likelihood = tfvae.layers.DiscretizedLogisticMixture(
        tuple(data_shape), components=components, levels=levels, name="likelihood"
    )
    return vae(data_shape, latent_dim, likelihood=likelihood, **options)
