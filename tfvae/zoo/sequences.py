"""Models of sequences."""

from __future__ import annotations

import math
from typing import Literal

import tfvae


def deep_markov_model(
    data_shape: tuple[int, ...],
    latent_dim: int = 16,
    *,
    hidden: tuple[int, ...] = (64,),
    units: int = 64,
    cell: Literal["gru", "lstm"] = "gru",
    direction: Literal["both", "backward", "forward"] = "both",
    inference: Literal["structured", "mean_field"] = "structured",
    transition: Literal["gated", "mlp"] = "gated",
    activation: str = "relu",
    likelihood: str | tfvae.layers.DistributionLayer = "Bernoulli",
    objective: tfvae.objectives.Objective | None = None,
    ragged: bool = True,
    seed: int = 0,
) -> tfvae.families.SequentialVAE:
    r"""Deep Markov model: a sequence of latents, each a function of the one before.

    .. math:: p(x, z) = p(z_1) \prod_{t=2}^T p(z_t | z_{t-1}) \prod_{t=1}^T p(x_t | z_t)

    Sequences may differ in length and have values missing: ``fit(x, lengths)`` or
    ``fit(x, mask)``. It forecasts and imputes.

    Args:
        data_shape: steps T, and the shape of the values of one: (T, n). Shorter sequences are
            padded, with ``tfvae.sequences.pad``.
        latent_dim: the number of latent variables of a step.
        hidden: widths of the dense layers of emission, transition and inference.
        units: of the recurrent cells of the inference network, and of what combines them with the
            latent before.
        cell: the recurrent cells' kind.
        direction: in which time the inference network runs: both ways, backward, or forward,
            which filters: no step knows of later ones.
        inference: structured: a posterior that follows the chain; mean_field: one whose steps are
            independent.
        transition: gated: a step that keeps a part of the latent at first; mlp: a dense network.
        activation: the dense networks' activation.
        likelihood: the distribution layer of one step, or the name of one.
        objective: an objective; ELBO by default.
        ragged: whether the labels y that come with data say what was observed: lengths, or a
            mask. False where they are labels, which are not used.
        seed: of the weights, the noise and the data order.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for data without an axis of values, sizes below 1 and unknown names.

    Slots: prior=Markov, posterior=Structured, likelihood=Bernoulli

    Reference: Krishnan, Shalit and Sontag (2017), Structured inference networks for nonlinear
        state space models, arXiv:1609.09869.
    """
    families, nets, check = tfvae.families, tfvae.families.networks, tfvae.objectives.check_choice
    check("inference", inference, ("structured", "mean_field"))
    check("transition", transition, ("gated", "mlp"))
    shape = tuple(data_shape)
    nets.check_data_shape(shape)
    layer = tfvae.layers.Normal((latent_dim,))
    step = tfvae.layers.get(likelihood, shape[1:], "likelihood")
    initial = tfvae.priors.Parametric(layer, values={"loc": 0.0, "scale": 1.0}, name="initial")
    encoder = nets.inference_network(
        shape, units, hidden=hidden, direction=direction, cell=cell, activation=activation,
        seed=seed,
    )  # fmt: skip
    if transition == "gated":
        moves = nets.gated_transition(latent_dim, hidden=hidden, activation=activation, seed=seed)
    else:
        moves = tfvae.networks.mlp_decoder(
            (latent_dim,), layer.params_shape, hidden=hidden, activation=activation, seed=seed,
            name="transition",
        )  # fmt: skip
    combiner = nets.combiner(
        latent_dim, encoder.output_shape[-1], math.prod(layer.params_shape), units=units,
        follow=inference == "structured", seed=seed,
    )  # fmt: skip
    return families.SequentialVAE(
        encoder,
        nets.emission_network(
            latent_dim, step.params_shape, hidden=hidden[::-1], activation=activation, seed=seed
        ),
        prior=families.Markov(initial, moves, shape[0], name="prior"),
        posterior=families.Structured(
            combiner, tfvae.layers.Normal((latent_dim,)), shape[0], name="posterior"
        ),
        likelihood=families.Repeated(step, shape[0], name="likelihood"),
        objective=objective,
        ragged=ragged,
        seed=seed,
        name="deep_markov_model",
    )


def vrnn(
    data_shape: tuple[int, ...],
    latent_dim: int = 16,
    *,
    hidden: tuple[int, ...] = (64,),
    units: int = 64,
    cell: Literal["gru", "lstm"] = "gru",
    activation: str = "relu",
    likelihood: str | tfvae.layers.DistributionLayer = "Bernoulli",
    objective: tfvae.objectives.Objective | None = None,
    ragged: bool = True,
    seed: int = 0,
) -> tfvae.families.VRNN:
    r"""Variational recurrent network: a latent at each step of a recurrence over x and z.

    .. math:: p(x, z) = \prod_{t=1}^T p(z_t | h_{t-1})\, p(x_t | z_t, h_{t-1}), \qquad
        h_t = f(h_{t-1}, x_t, z_t)

    Where a step depends on many before it, as in sound or handwriting. Sequences may differ in
    length, but have no gaps: a step reads all of the one before. Where values are missing, use
    ``deep_markov_model``. It forecasts, and does not impute.

    Args:
        data_shape: steps T, and the shape of the values of one: (T, n). Shorter sequences are
            padded, with ``tfvae.sequences.pad``.
        latent_dim: the number of latent variables of a step.
        hidden: widths of the dense layers: of the features of x and of z, of the prior and of the
            emission.
        units: of the recurrent cell, and of what combines its state with the features of x.
        cell: the recurrent cell's kind.
        activation: the dense networks' activation.
        likelihood: the distribution layer of one step, or the name of one.
        objective: an objective; ELBO by default.
        ragged: whether the labels y that come with data say what was observed: lengths, or a
            mask without gaps. False where they are labels, which are not used.
        seed: of the weights, the noise and the data order.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for data without an axis of values, sizes below 1 and unknown names.

    Slots: prior=Memory, posterior=Filtered, likelihood=Bernoulli

    Reference: Chung, Kastner, Dinh, Goel, Courville and Bengio (2015), A recurrent latent
        variable model for sequential data, arXiv:1506.02216.
    """
    families, nets = tfvae.families, tfvae.families.networks
    shape = tuple(data_shape)
    nets.check_data_shape(shape)
    step = tfvae.layers.get(likelihood, shape[1:], "likelihood")
    recurrence = nets.cell_of(cell, units, seed)
    before, after = tfvae.layers.Normal((latent_dim,)), tfvae.layers.Normal((latent_dim,))
    encoder = nets.step_encoder(shape, hidden=hidden, activation=activation, seed=seed)
    features = encoder.output_shape[-1]
    return families.VRNN(
        encoder,
        nets.emission_network(
            latent_dim, step.params_shape, state=units, hidden=hidden[::-1],
            activation=activation, seed=seed,
        ),
        prior=families.Memory(
            tfvae.networks.mlp_decoder(
                (units,), before.params_shape, hidden=hidden, activation=activation, seed=seed,
                name="latents",
            ),
            nets.reader(features, latent_dim, hidden=hidden, activation=activation, seed=seed),
            recurrence,
            before,
            shape[0],
            name="prior",
        ),
        posterior=families.Filtered(
            nets.combiner(units, features, math.prod(after.params_shape), units=units, seed=seed),
            after,
            shape[0],
            name="posterior",
        ),
        likelihood=families.Repeated(step, shape[0], name="likelihood"),
        objective=objective,
        ragged=ragged,
        seed=seed,
        name="vrnn",
    )  # fmt: skip
