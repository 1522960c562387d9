"""Models of x given a condition."""

from __future__ import annotations

from typing import Any, Unpack

import tfvae
from tfvae.zoo.base import Options, encoder_of, vae


def cvae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    classes: int = 10,
    vector: int = 0,
    **options: Unpack[Options],
) -> tfvae.VAE:
    r"""Conditional VAE: encoder and decoder see a label or a vector, which generation is given.

    .. math:: p(x|c) = \int p(x|z, c)\, p(z)\, dz, \qquad q(z|x, c)

    Train with ``fit(x, c)``, generate with ``generate(n, condition=c)``.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        classes: the number of classes, of labels from 0 on.
        vector: the length of a vector in place of a label; 0 for labels.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=StandardNormal, posterior=Normal

    Reference: Sohn, Lee and Yan (2015), Learning structured output representation using deep
        conditional generative models, NeurIPS.
    """
    condition = (vector,) if vector else classes
    return vae(data_shape, latent_dim, condition=condition, **options)


def supervised_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 8,
    *,
    outputs: int = 1,
    hidden: tuple[int, ...] = (64, 64),
    activation: str = "tanh",
    likelihood: str | tfvae.layers.DistributionLayer = "Normal",
    seed: int = 0,
) -> tfvae.families.SupervisedVAE:
    r"""Supervised model with latent variables: a density p(y|x) that may split, bend and widen.

    .. math:: p(y|x) = \int p(y|x, z)\, p(z|x)\, dz, \qquad q(z|x, y)

    Train with ``fit(x, y)``, draw targets with ``generate(n, condition=x)``.

    Args:
        data_shape: the shape of one input x.
        latent_dim: the number of latent variables.
        outputs: the number of targets, y.
        hidden: widths of the dense layers of prior, encoder and decoder.
        activation: the networks' activation.
        likelihood: of the targets: a distribution layer, or the name of one.
        seed: of the weights, the noise and the data order.

    Returns:
        The model, ready for ``fit(x, y)``.

    Raises:
        ValueError: for sizes below 1, and unknown names (the nearest is suggested).

    Slots: prior=Conditional, posterior=Normal, likelihood=Normal

    Reference: Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114, section
        7; Sohn, Lee and Yan (2015), Learning structured output representation using deep
        conditional generative models, NeurIPS.
    """
    layers, nets, shape = tfvae.layers, tfvae.networks, (latent_dim,)
    likelihood = layers.get(likelihood, (outputs,), "likelihood")
    posterior = layers.Normal(shape, name="posterior")
    options: dict[str, Any] = {"hidden": tuple(hidden), "activation": activation}
    given = nets.mlp_encoder(
        data_shape, posterior.params_shape, seed=seed + 2, name="prior_network", **options
    )
    return tfvae.families.SupervisedVAE(
        nets.mlp_encoder(
            (outputs,), posterior.params_shape, condition=data_shape, seed=seed, **options
        ),
        nets.mlp_decoder(
            shape, likelihood.params_shape, condition=data_shape, seed=seed + 1, **options
        ),
        prior=tfvae.priors.Conditional(given, layers.Normal(shape), name="prior"),
        posterior=posterior,
        likelihood=likelihood,
        seed=seed,
    )


def semi_supervised_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 50,
    *,
    classes: int = 10,
    alpha: float = 50.0,
    **options: Unpack[Options],
) -> tfvae.families.SemiSupervisedVAE:
    r"""Semi-supervised VAE (M2): a classifier inside a generative model, for few labels.

    .. math:: p(y)\, p(z)\, p(x|y, z), \qquad q(y|x)\, q(z|x, y)

    Train with ``fit(x, y)``, where y is -1 for examples without a label. The classifier is a
    network like the encoder.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        classes: the number of classes, of labels from 0 on.
        alpha: weight of the classifier's cross-entropy on labelled examples.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit(x, y)``.

    Raises:
        ValueError: for fewer than 2 classes, and as :func:`vae`.

    Slots: prior=StandardNormal, posterior=Normal, objective=ELBO + Classification

    Reference: Kingma, Rezende, Mohamed and Welling (2014), Semi-supervised learning with deep
        generative models, arXiv:1406.5298.
    """
    parts = vae(data_shape, latent_dim, condition=classes, **options)
    alike: dict[str, Any] = {
        name: value
        for name, value in options.items()
        if name in ("network", "hidden", "filters", "activation")
    }
    seed = options.get("seed", 0)
    classifier = encoder_of(
        tuple(data_shape), (classes,), seed=seed + 2, name="classifier", **alike
    )
    return tfvae.families.SemiSupervisedVAE(
        parts.encoder,
        parts.decoder,
        classifier,
        prior=parts.prior,
        posterior=parts.posterior,
        likelihood=parts.likelihood,
        objective=tfvae.objectives.ELBO() + tfvae.objectives.Classification(alpha),
        seed=seed,
    )
