"""Posteriors other than the diagonal normal."""

from __future__ import annotations

from typing import Literal, Unpack

import tfvae
from tfvae.zoo.base import Options, latent_shape, vae


def full_covariance_vae(
    data_shape: tuple[int, ...], latent_dim: int = 32, **options: Unpack[Options]
) -> tfvae.VAE:
    """Full-covariance VAE: the posterior's latents may depend on each other.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=MultivariateNormal

    Reference: Kingma and Welling (2019), An introduction to variational autoencoders, section
        2.5.1, arXiv:1906.02691.
    """
    return vae(data_shape, latent_dim, posterior="MultivariateNormal", **options)


def laplace_vae(
    data_shape: tuple[int, ...], latent_dim: int = 32, **options: Unpack[Options]
) -> tfvae.VAE:
    """Laplace VAE: posteriors with sharper peaks and heavier tails than the normal's.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=Laplace

    Reference: Kingma and Welling (2014), Auto-encoding variational Bayes, section 2.4,
        arXiv:1312.6114.
    """
    return vae(data_shape, latent_dim, posterior="Laplace", **options)


def logistic_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Logistic VAE: posteriors with heavier tails than the normal's, drawn by inverse CDF.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: posterior=Logistic

    Reference: Kingma and Welling (2014), Auto-encoding variational Bayes, section 2.4,
        arXiv:1312.6114.
    """
    return vae(data_shape, latent_dim, posterior="Logistic", **options)


def gamma_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    concentration: float = 0.5,
    rate: float = 0.5,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Gamma VAE: positive latents, sparse where the prior's concentration is below 1.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        concentration: of the prior; small ones put most latents near 0.
        rate: of the prior.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=Gamma, posterior=Gamma

    Reference: Knowles (2015), Stochastic gradient variational Bayes for gamma approximating
        distributions, arXiv:1509.01631; Figurnov, Mohamed and Mnih (2018), Implicit
        reparameterization gradients, arXiv:1805.08498.
    """
    values = {"concentration": concentration, "rate": rate}
    prior = tfvae.priors.Parametric(
        tfvae.layers.Gamma(latent_shape(latent_dim)), learn=False, values=values, name="prior"
    )
    return vae(data_shape, latent_dim, posterior="Gamma", prior=prior, **options)


def dirichlet_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    concentration: float = 0.9,
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Dirichlet VAE: latents are shares of a whole, such as topics.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of shares, at least 2.
        concentration: of the prior, in each share; below 1 few shares are large.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=Dirichlet, posterior=Dirichlet

    Reference: Joo, Lee, Park and Moon (2020), Dirichlet variational autoencoder,
        arXiv:1901.02739.
    """
    prior = tfvae.priors.Parametric(
        tfvae.layers.Dirichlet(latent_shape(latent_dim)),
        learn=False,
        values={"concentration": concentration},
        name="prior",
    )
    return vae(data_shape, latent_dim, posterior="Dirichlet", prior=prior, **options)


def hyperspherical_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    family: Literal["von_mises_fisher", "power_spherical"] = "von_mises_fisher",
    **options: Unpack[Options],
) -> tfvae.VAE:
    """Hyperspherical VAE: latents on the unit sphere, uniform a priori.

    Args:
        data_shape: the shape of one example.
        latent_dim: the sphere's space: z has so many values, and unit length.
        family: of the posteriors; power_spherical is faster in high dimensions.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=HypersphericalUniform, posterior=VonMisesFisher

    Reference: Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), Hyperspherical variational
        auto-encoders, arXiv:1804.00891; De Cao and Aziz (2020), The power spherical
        distribution, arXiv:2006.04437.
    """
    families = {"von_mises_fisher": "VonMisesFisher", "power_spherical": "PowerSpherical"}
    if family not in families:
        raise ValueError(
            f"Expected `family` to be one of {', '.join(families)}. Received: family={family!r}."
        )
    prior = tfvae.priors.HypersphericalUniform(latent_shape(latent_dim), name="prior")
    return vae(data_shape, latent_dim, posterior=families[family], prior=prior, **options)
