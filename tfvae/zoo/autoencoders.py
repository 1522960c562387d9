"""Autoencoders: the code is a point, and nothing or a penalty stands for the KL."""

from __future__ import annotations

from typing import Any, Literal, Unpack

import tfvae
from tfvae.zoo.base import Options, latent_shape, vae


def autoencoder(
    data_shape: tuple[int, ...], latent_dim: int = 32, **options: Unpack[Options]
) -> tfvae.VAE:
    """Autoencoder: the code is a point, and the bottleneck alone keeps it from copying.

    It has no density of z, so it reports a reconstruction and no bound. To generate, fit a prior
    to its codes with ``vae.fit_prior(x)`` (``tfvae train --fit-prior mixture``).

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of values of the code.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=Deterministic, objective=Reconstruction

    Reference: Hinton and Salakhutdinov (2006), Reducing the dimensionality of data with neural
        networks, Science 313.
    """
    objective = tfvae.objectives.Reconstruction()
    return vae(data_shape, latent_dim, posterior="Deterministic", objective=objective, **options)


def sparse_autoencoder(
    data_shape: tuple[int, ...],
    latent_dim: int = 1024,
    *,
    sparsity: Literal["kl", "l1"] = "kl",
    beta: float = 1.0,
    rho: float = 0.05,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Sparse autoencoder: more codes than values, of which few are active at a time.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of values of the code.
        sparsity: ``"kl"`` keeps the mean activation of each sigmoid code at `rho`; ``"l1"`` sums
            the absolute values of linear codes.
        beta: weight of the penalty.
        rho: mean activation of a code, for ``"kl"``.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for an unknown `sparsity`, and values that the penalty does not take.

    Slots: prior=Uniform, posterior=Deterministic, objective=Reconstruction + KLSparsity

    Reference: Ng (2011), Sparse autoencoder, CS294A lecture notes.
    """
    o, shape = tfvae.objectives, latent_shape(latent_dim)
    o.check_choice("sparsity", sparsity, ("kl", "l1"))
    slots: dict[str, Any] = {}
    if sparsity == "kl":
        slots["prior"] = tfvae.priors.Uniform(shape, name="prior")
        slots["posterior"] = tfvae.layers.Deterministic(
            shape, activation="sigmoid", name="posterior"
        )
        slots["objective"] = o.Reconstruction() + o.KLSparsity(rho=rho, beta=beta)
    else:
        slots["posterior"] = "Deterministic"
        slots["objective"] = o.Reconstruction() + beta * o.L1Code()
    return vae(data_shape, latent_dim, **slots, **options)


def denoising_autoencoder(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    corruption: Literal["masking", "gaussian", "salt_and_pepper"] = "masking",
    amount: float = 0.3,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Denoising autoencoder: shown corrupted data in training, it gives back what is clean.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of values of the code.
        corruption: ``"masking"`` sets values to 0, ``"salt_and_pepper"`` to 0 or 1;
            ``"gaussian"`` adds normal noise.
        amount: the rate of values that are set, or the noise's standard deviation.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for an unknown `corruption`, and an `amount` that it does not take.

    Slots: posterior=Deterministic, objective=Reconstruction

    Reference: Vincent et al. (2008), Extracting and composing robust features with denoising
        autoencoders, ICML.
    """
    c = tfvae.corruptions
    kinds: dict[str, Any] = {
        "masking": c.Masking, "gaussian": c.GaussianNoise, "salt_and_pepper": c.SaltAndPepper,
    }  # fmt: skip
    tfvae.objectives.check_choice("corruption", corruption, tuple(kinds))
    return vae(
        data_shape,
        latent_dim,
        posterior="Deterministic",
        objective=tfvae.objectives.Reconstruction(),
        corruption=kinds[corruption](amount),
        **options,
    )


def contractive_autoencoder(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    weight: float = 0.1,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Contractive autoencoder: codes change little with the data, but where it must.

    Its penalty takes a backward pass for each value of the code.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of values of the code.
        weight: of the squared derivative of the code by the data.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=Deterministic, objective=Reconstruction + Contraction

    Reference: Rifai et al. (2011), Contractive auto-encoders: explicit invariance during feature
        extraction, ICML.
    """
    o = tfvae.objectives
    objective = o.Reconstruction() + weight * o.Contraction()
    return vae(data_shape, latent_dim, posterior="Deterministic", objective=objective, **options)
