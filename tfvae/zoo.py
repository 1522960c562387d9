"""Named models: each a short function that composes slots, with its paper.

Adding a public function here adds a model: ``tfvae models`` lists it and ``tfvae train --model``
takes it, with options read from its signature. So that the command line can do so in no time,
this module imports no TensorFlow: ``tfvae`` resolves names when a model is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import tfvae

if TYPE_CHECKING:
    import keras


class Options(TypedDict, total=False):
    """What every model takes, as :func:`vae` documents it."""

    network: Literal["mlp", "conv"]
    hidden: tuple[int, ...] | None
    filters: tuple[int, ...] | None
    activation: str
    likelihood: str | tfvae.layers.DistributionLayer
    encoder: keras.Model | None
    decoder: keras.Model | None
    seed: int


def vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    network: Literal["mlp", "conv"] = "mlp",
    hidden: tuple[int, ...] | None = None,
    filters: tuple[int, ...] | None = None,
    activation: str = "relu",
    likelihood: str | tfvae.layers.DistributionLayer = "Bernoulli",
    posterior: str | tfvae.layers.DistributionLayer = "Normal",
    prior: tfvae.priors.Prior | None = None,
    objective: tfvae.objectives.Objective | None = None,
    encoder: keras.Model | None = None,
    decoder: keras.Model | None = None,
    seed: int = 0,
) -> tfvae.VAE:
    """Variational autoencoder: standard normal prior, diagonal normal posterior, ELBO.

    Every other model is this function with other slots.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        network: dense (``"mlp"``) or convolutional (``"conv"``) encoder and decoder.
        hidden: widths of the encoder's dense layers, (512, 256) by default; the decoder's are
            the reverse. Of a convolutional network: one width, of its dense layer.
        filters: filters of the encoder's convolutions, each of which halves the image,
            (32, 64) by default; the decoder's are the reverse.
        activation: the networks' activation.
        likelihood: a distribution layer, or the name of one: Bernoulli for binary data,
            ContinuousBernoulli for grey values in [0, 1], Normal for real values.
        posterior: a distribution layer, or the name of one; a diagonal Normal by default.
        prior: a prior; StandardNormal by default.
        objective: an objective; ELBO by default.
        encoder: your own Keras model, from x to the posterior's parameters.
        decoder: your own Keras model, from z to the likelihood's parameters.
        seed: of the weights, the noise and the data order.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for sizes below 1, unknown names (the nearest is suggested), or networks
            that do not fit the slots.

    Reference: Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114.
    """
    data_shape, latent_shape = tuple(data_shape), (latent_dim,)
    _check_network_options(network, hidden, filters)
    prior = tfvae.priors.StandardNormal(latent_shape, name="prior") if prior is None else prior
    posterior = tfvae.layers.get(posterior, latent_shape, "posterior")
    likelihood = tfvae.layers.get(likelihood, data_shape, "likelihood")
    options: dict[str, Any] = {"activation": activation}
    nets = tfvae.networks
    if network == "mlp":
        widths = (512, 256) if hidden is None else tuple(hidden)
        encoder = encoder or nets.mlp_encoder(
            data_shape, posterior.params_shape, hidden=widths, seed=seed, **options
        )
        decoder = decoder or nets.mlp_decoder(
            latent_shape, likelihood.params_shape, hidden=widths[::-1], seed=seed + 1, **options
        )
    else:
        stages = (32, 64) if filters is None else tuple(filters)
        options["dense"] = 128 if hidden is None else hidden[0]
        encoder = encoder or nets.conv_encoder(
            data_shape, posterior.params_shape, filters=stages, seed=seed, **options
        )
        decoder = decoder or nets.conv_decoder(
            latent_shape,
            likelihood.params_shape,
            data_shape=data_shape,
            filters=stages[::-1],
            seed=seed + 1,
            **options,
        )
    return tfvae.VAE(
        encoder,
        decoder,
        prior=prior,
        posterior=posterior,
        likelihood=likelihood,
        objective=objective,
        seed=seed,
    )


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

    Reference: Zhao, Song and Ermon (2019), InfoVAE: balancing learning and inference in
        variational autoencoders, arXiv:1706.02262.
    """
    o = tfvae.objectives
    objective = o.ELBO(beta=1.0 - alpha) + (alpha + weight - 1.0) * o.MMD("rbf")
    return vae(data_shape, latent_dim, objective=objective, **options)


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

    Reference: Tolstikhin et al. (2018), Wasserstein auto-encoders, arXiv:1711.01558.
    """
    o = tfvae.objectives
    objective = o.Reconstruction() + weight * o.MMD("imq")
    return vae(data_shape, latent_dim, objective=objective, **options)


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

    Reference: Rainforth et al. (2018), Tighter variational bounds are not necessarily better,
        arXiv:1802.04537.
    """
    objective = tfvae.objectives.PIWAE(samples=samples, groups=groups)
    return vae(data_shape, latent_dim, objective=objective, **options)


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

    Reference: Kingma and Welling (2014), Auto-encoding variational Bayes, section 2.4,
        arXiv:1312.6114.
    """
    return vae(data_shape, latent_dim, posterior="Laplace", **options)


def models() -> dict[str, Callable[..., tfvae.VAE]]:
    """Return every named model by its name."""
    return {
        name: value
        for name, value in globals().items()
        if inspect.isfunction(value)
        and value.__module__ == __name__
        and "data_shape" in inspect.signature(value).parameters
    }


def parameters(model: Callable[..., tfvae.VAE]) -> dict[str, inspect.Parameter]:
    """Return a model's keyword arguments with those that it passes on to :func:`vae`."""
    own = inspect.signature(model).parameters
    passed_on = {
        name: parameter
        for name, parameter in inspect.signature(vae).parameters.items()
        if name in Options.__annotations__ and name not in own
    }
    kept = {
        name: parameter
        for name, parameter in own.items()
        if name != "data_shape" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    takes_more = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in own.values())
    return {**kept, **(passed_on if takes_more else {})}


def _check_network_options(
    network: str, hidden: tuple[int, ...] | None, filters: tuple[int, ...] | None
) -> None:
    if network not in ("mlp", "conv"):
        raise ValueError(f'Expected `network` to be "mlp" or "conv". Received: {network!r}.')
    if network == "mlp" and filters is not None:
        raise ValueError(
            'Expected `filters` only with network="conv". '
            f"Received: filters={filters} with a dense network; give `hidden` instead."
        )
    if network == "conv" and hidden is not None and len(hidden) != 1:
        raise ValueError(
            "Expected `hidden` of a convolutional network to hold one width, of its dense layer. "
            f"Received: hidden={hidden}."
        )
