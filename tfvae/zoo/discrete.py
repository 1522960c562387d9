"""Discrete latents."""

from __future__ import annotations

from typing import Any, Unpack

import tfvae
from tfvae.zoo.base import Options, latent_shape, vae


def gumbel_softmax_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 20,
    *,
    classes: int = 10,
    temperature: float = 0.5,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Gumbel-softmax (categorical) VAE: relaxed categorical latents.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of categorical latents.
        classes: of each of them.
        temperature: of posterior and prior; low ones are nearer to categories.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=Concrete, posterior=Concrete

    Reference: Jang, Gu and Poole (2017), Categorical reparameterization with Gumbel-softmax,
        arXiv:1611.01144; Maddison, Mnih and Teh (2017), The Concrete distribution,
        arXiv:1611.00712.
    """
    shape = (latent_dim, classes)
    layer = tfvae.layers.Concrete(shape, temperature=temperature)
    posterior = tfvae.layers.Concrete(shape, temperature=temperature, name="posterior")
    prior = tfvae.priors.Parametric(layer, learn=False, name="prior")
    return vae(data_shape, shape, posterior=posterior, prior=prior, **options)


def bernoulli_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 200,
    *,
    samples: int = 5,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Discrete (Bernoulli) VAE: binary latents, trained by VIMCO without relaxation.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of binary latents.
        samples: importance samples of each example, at least 2.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=Bernoulli, posterior=Bernoulli, objective=VIMCO

    Reference: Mnih and Rezende (2016), Variational inference for Monte Carlo objectives,
        arXiv:1602.06725.
    """
    prior = tfvae.priors.Parametric(tfvae.layers.Bernoulli(latent_shape(latent_dim)), name="prior")
    objective = tfvae.objectives.VIMCO(samples=samples)
    return vae(
        data_shape, latent_dim, posterior="Bernoulli", prior=prior, objective=objective, **options
    )


def vq_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 16,
    *,
    codes: int = 128,
    positions: int = 16,
    commitment: float = 0.25,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """VQ-VAE: latents are rows of a learned codebook.

    Args:
        data_shape: the shape of one example.
        latent_dim: the length of a code.
        codes: rows of the codebook.
        positions: how many codes an example has with dense networks; a convolutional encoder has
            one at each place of its smallest grid.
        commitment: weight of the commitment loss.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=Codebook, posterior=VectorQuantizer, objective=ELBO + Commitment

    Reference: Van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation
        learning, arXiv:1711.00937.
    """
    shape: tuple[int, ...] = (positions, latent_dim)
    if options.get("network") == "conv":
        stages = options.get("filters") or (32, 64)
        shape = (*tfvae.networks.smallest_grid(data_shape, stages), latent_dim)
    seed = options.get("seed", 0)
    posterior = tfvae.layers.VectorQuantizer(shape, codes=codes, seed=seed, name="posterior")
    prior = tfvae.priors.Codebook(posterior, learn=True, name="prior")
    o = tfvae.objectives
    objective = o.ELBO() + commitment * o.Commitment()
    slots: dict[str, Any] = {"posterior": posterior, "prior": prior, "objective": objective}
    return vae(data_shape, shape, **slots, **options)
