"""The VAE that every named model is a variation of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

import tfvae

if TYPE_CHECKING:
    import keras


class NetworkOptions(TypedDict, total=False):
    """What every model takes, as :func:`vae` documents it."""

    network: Literal["mlp", "conv"]
    hidden: tuple[int, ...] | None
    filters: tuple[int, ...] | None
    activation: str
    encoder: keras.Model | None
    decoder: keras.Model | None
    seed: int


class Options(NetworkOptions, total=False):
    """What a model takes that works with any likelihood."""

    likelihood: str | tfvae.layers.DistributionLayer


def vae(
    data_shape: tuple[int, ...],
    latent_dim: int | tuple[int, ...] = 32,
    *,
    network: Literal["mlp", "conv"] = "mlp",
    hidden: tuple[int, ...] | None = None,
    filters: tuple[int, ...] | None = None,
    activation: str = "relu",
    likelihood: str | tfvae.layers.DistributionLayer = "Bernoulli",
    posterior: str | tfvae.layers.DistributionLayer = "Normal",
    prior: tfvae.priors.Prior | None = None,
    objective: tfvae.objectives.Objective | None = None,
    corruption: tfvae.corruptions.Corruption | None = None,
    condition: int | tuple[int, ...] | None = None,
    encoder: keras.Model | None = None,
    decoder: keras.Model | None = None,
    seed: int = 0,
) -> tfvae.VAE:
    """Variational autoencoder: standard normal prior, diagonal normal posterior, ELBO.

    Every other model is this function with other slots.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables, or the shape of one z.
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
        corruption: of what the encoder sees in training; none by default.
        condition: what encoder and decoder are given beside x and z: a number of classes, or the
            shape of a vector; nothing by default.
        encoder: your own Keras model, from x to the posterior's parameters.
        decoder: your own Keras model, from z to the likelihood's parameters.
        seed: of the weights, the noise and the data order.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for sizes below 1, unknown names (the nearest is suggested), or networks
            that do not fit the slots.

    Slots: prior=StandardNormal, posterior=Normal, likelihood=Bernoulli, objective=ELBO

    Reference: Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114.
    """
    data_shape, shape = tuple(data_shape), latent_shape(latent_dim)
    _check_network_options(network, hidden, filters)
    prior = tfvae.priors.StandardNormal(shape, name="prior") if prior is None else prior
    posterior = tfvae.layers.get(posterior, shape, "posterior")
    likelihood = tfvae.layers.get(likelihood, data_shape, "likelihood")
    options: dict[str, Any] = {"activation": activation, "condition": condition}
    encoder = encoder or encoder_of(
        data_shape, posterior.params_shape, network, hidden, filters, seed=seed, **options
    )
    if decoder is None and network == "mlp":
        widths = _widths(hidden)[::-1]
        decoder = tfvae.networks.mlp_decoder(
            shape, likelihood.params_shape, hidden=widths, seed=seed + 1, **options
        )
    elif decoder is None:
        decoder = tfvae.networks.conv_decoder(
            shape,
            likelihood.params_shape,
            data_shape=data_shape,
            filters=_stages(filters)[::-1],
            dense=_dense(hidden),
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
        corruption=corruption,
        seed=seed,
    )


def encoder_of(
    data_shape: tuple[int, ...],
    params_shape: tuple[int, ...],
    network: str = "mlp",
    hidden: tuple[int, ...] | None = None,
    filters: tuple[int, ...] | None = None,
    **options: Any,
) -> keras.Model:
    """Return a network of data, of the kind and the sizes that :func:`vae` documents."""
    if network == "mlp":
        return tfvae.networks.mlp_encoder(
            data_shape, params_shape, hidden=_widths(hidden), **options
        )
    return tfvae.networks.conv_encoder(
        data_shape, params_shape, filters=_stages(filters), dense=_dense(hidden), **options
    )


def _widths(hidden: tuple[int, ...] | None) -> tuple[int, ...]:
    return (512, 256) if hidden is None else tuple(hidden)


def _stages(filters: tuple[int, ...] | None) -> tuple[int, ...]:
    return (32, 64) if filters is None else tuple(filters)


def _dense(hidden: tuple[int, ...] | None) -> int:
    return 128 if hidden is None else hidden[0]


def latent_shape(latent_dim: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one z."""
    return (latent_dim,) if isinstance(latent_dim, int) else tuple(latent_dim)


def _check_network_options(
    network: str, hidden: tuple[int, ...] | None, filters: tuple[int, ...] | None
) -> None:
    if network not in ("mlp", "conv"):
        raise ValueError(
            f'Expected `network` to be "mlp" or "conv". Received: network={network!r}.'
        )
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
