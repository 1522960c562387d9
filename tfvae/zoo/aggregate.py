"""The aggregate posterior drawn to the prior, or the prior to it."""

from __future__ import annotations

from typing import Any, Unpack

import tfvae
from tfvae.zoo.base import NetworkOptions, Options, vae


def wae_mmd(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    weight: float = 10.0,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Wasserstein autoencoder (MMD): no KL; the aggregate posterior is drawn to the prior.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        weight: lambda, of the maximum mean discrepancy with inverse multiquadratic kernels.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: objective=Reconstruction + MMD

    Reference: Tolstikhin et al. (2018), Wasserstein auto-encoders, arXiv:1711.01558.
    """
    o = tfvae.objectives
    objective = o.Reconstruction() + weight * o.MMD("imq")
    return vae(data_shape, latent_dim, objective=objective, **options)


def rae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    norm: float = 0.1,
    decay: float = 1e-4,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Regularised autoencoder (RAE-L2): deterministic, with a prior fitted after training.

    Its standard normal prior is nothing that the codes follow: to generate, fit one to them with
    ``vae.fit_prior(x)`` (``tfvae train --fit-prior mixture``).

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        norm: weight of half the squared length of the code.
        decay: weight of half the squared length of the decoder's kernels.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=Deterministic, objective=Reconstruction + CodeNorm

    Reference: Ghosh et al. (2020), From variational to deterministic autoencoders,
        arXiv:1903.12436.
    """
    o = tfvae.objectives
    objective = o.Reconstruction() + norm * o.CodeNorm()
    slots: dict[str, Any] = {"posterior": "Deterministic", "objective": objective}
    model = vae(data_shape, latent_dim, **slots, **options)
    tfvae.adapters.decay_kernels(model.decoder, 0.5 * decay)
    return model


def two_stage_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    **options: Unpack[NetworkOptions],
) -> tfvae.VAE:
    """Two-stage VAE: a second VAE, trained on the first one's latents, is its prior.

    This is the first stage, a VAE whose normal likelihood has one learned scale. Once it is
    trained, ``vae.fit_prior(x, "vae")`` (``tfvae train --fit-prior vae``) returns the two stages
    as one model.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: likelihood=Normal

    Reference: Dai and Wipf (2019), Diagnosing and enhancing VAE models, arXiv:1903.05789.
    """
    likelihood = tfvae.layers.Normal(tuple(data_shape), scale="learned", name="likelihood")
    return vae(data_shape, latent_dim, likelihood=likelihood, **options)
