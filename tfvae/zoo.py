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
    posterior: tfvae.layers.DistributionLayer | None = None,
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
        posterior: a distribution layer; a diagonal Normal by default.
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
    posterior = tfvae.layers.get(posterior or "Normal", latent_shape, "posterior")
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
