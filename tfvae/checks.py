"""What is refused when a VAE is built: slots that do not fit each other or the networks."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfvae import conditions
from tfvae.corruptions import Corruption
from tfvae.layers.base import DistributionLayer
from tfvae.objectives import Capability, Objective
from tfvae.priors import Codebook, Prior


def check_slots(
    prior: Any, posterior: Any, likelihood: Any, objective: Any, corruption: Any = None
) -> None:
    """Check kinds, shapes, supports and capabilities.

    Raises:
        TypeError: if a slot is not of its kind.
        ValueError: if the prior does not cover the posterior, or a slot lacks what the
            objective needs.

    Warns:
        UserWarning: if the posterior's support is a part of the prior's.
    """
    kinds = {
        "prior": (prior, Prior),
        "posterior": (posterior, DistributionLayer),
        "likelihood": (likelihood, DistributionLayer),
        "objective": (objective, Objective),
        **({} if corruption is None else {"corruption": (corruption, Corruption)}),
    }
    for slot, (value, kind) in kinds.items():
        swapped = kind is DistributionLayer and isinstance(value, Prior)
        if not isinstance(value, kind) or swapped:
            raise TypeError(
                f"Expected `{slot}` to be a tfvae {kind.__name__}. "
                f"Received: {slot}={value!r} of type {type(value).__name__}."
            )
    if prior.event_shape != posterior.event_shape:
        raise ValueError(
            "Expected prior and posterior to have the same event_shape. Received: "
            f"prior {prior.event_shape}, posterior {posterior.event_shape}."
        )
    if not posterior.support <= prior.support:
        raise ValueError(
            f"Expected a prior that covers the posterior's support, {posterior.support.value}. "
            f"Received: {type(prior).__name__} on {prior.support.value} for the posterior "
            f"{type(posterior).__name__}: their KL divergence would be infinite or undefined. "
            f"What fits: {fitting_priors(posterior)}."
        )
    # A point has no density whose ratio to the prior's could fail to converge.
    if posterior.has_density and posterior.support < prior.support:
        warnings.warn(
            f"The posterior {type(posterior).__name__} lies in {posterior.support.value}, a part "
            f"of the prior's {prior.support.value}: importance weights never converge to log p(x). "
            + (
                "Its interval moves with the data, so no prior mends this."
                if posterior.support.moving
                else f"What fits: {fitting_priors(posterior)}."
            ),
            stacklevel=3,
        )
    _check_objective(objective, prior, posterior)
    if isinstance(prior, Codebook) and prior.quantizer is not posterior:
        raise ValueError(
            "Expected the prior Codebook to hold the codes of the posterior itself. Received: one "
            "of another layer. Make it of the VAE's posterior: priors.Codebook(posterior)."
        )
    if not likelihood.has_density:
        raise ValueError(
            "Expected a likelihood with a density. "
            f"Received: {type(likelihood).__name__}, which has none."
        )


def _check_objective(objective: Objective, prior: Prior, posterior: DistributionLayer) -> None:
    for capability in sorted(objective.requires):
        if not getattr(posterior, capability):
            what, fix = _CAPABILITIES[capability]
            raise ValueError(
                f"Expected a posterior {what} (`{capability}`), which the objective "
                f"{_named(objective)} needs. Received: {type(posterior).__name__}. {fix}"
            )
    for codes in objective.codes:
        if not posterior.support <= codes:
            raise ValueError(
                f"Expected a posterior whose draws lie in {codes.value}, which the objective "
                f"{_named(objective)} needs. Received: {type(posterior).__name__} on "
                f"{posterior.support.value}. Of an autoencoder that is "
                'layers.Deterministic(shape, activation="sigmoid").'
            )
    if "has_density" in objective.requires and not prior.has_density:
        raise ValueError(
            f"Expected a prior with a density, which the objective {_named(objective)} needs. "
            f"Received: {type(prior).__name__}, which has none. Use another prior, or an objective "
            "made of Reconstruction and penalties."
        )
    if "has_density" in objective.requires and not prior.pointwise:
        raise ValueError(
            "Expected a prior whose density can be evaluated at any value: those that the "
            f"posterior draws. Received: {type(prior).__name__} of a flow without an inverse."
        )


def check_groups(objective: Objective, groups: int) -> None:
    """Refuse an objective that is for another number of groups of latents.

    Raises:
        ValueError: if it is.
    """
    if others := objective.latent_groups - {groups}:
        written = ", ".join(map(str, sorted(others)))
        raise ValueError(
            f"Expected an objective for {groups} group{'s' if groups > 1 else ''} of latents, as "
            f"many as the model has levels. Received: {_named(objective)}, which is for {written}. "
            "Give tuples one value for each level."
        )


_CAPABILITIES: dict[Capability, tuple[str, str]] = {
    "reparameterised": (
        "that is reparameterised",
        "Use another posterior, a relaxed or straight-through one (Concrete, RelaxedBernoulli, "
        "straight_through=True), or an objective that does without (ScoreFunction, VIMCO).",
    ),
    "has_density": (
        "with a density",
        "Use another posterior, or an objective made of Reconstruction and penalties.",
    ),
    "pointwise": (
        "whose density can be evaluated at any value",
        "Give its steps an inverse, or use an objective with plain gradients (ELBO, IWAE).",
    ),
}


def _named(objective: Objective) -> str:
    terms = getattr(objective, "terms", ((1.0, objective),))
    return " + ".join(type(term).__name__ for _, term in terms)


def fitting_priors(posterior: DistributionLayer) -> str:
    """Name priors whose support holds the posterior's, as one would write them."""
    shape, support = posterior.event_shape, posterior.support
    exact, families = _FITTING.get((support.kind, *support.bounds), ("", ()))
    if not exact and not families:
        if support.kind == "interval" and math.isfinite(support.high):
            exact = f"priors.Uniform({{shape}}, low={support.low:g}, high={support.high:g})"
        else:
            families = (type(posterior).__name__,)
    named = [f"priors.Parametric(layers.{family}({shape}))" for family in families]
    return ", ".join([exact.format(shape=shape), *named] if exact else named)


_LINE = (-math.inf, math.inf)
# By kind and bounds of a support: a prior as one would write it, and families of layers.
_FITTING: dict[tuple[str, float, float], tuple[str, tuple[str, ...]]] = {
    ("interval", *_LINE): ("priors.StandardNormal({shape})", ("Normal", "Laplace", "Logistic")),
    ("interval", 0.0, math.inf): ("", ("Gamma", "LogNormal")),
    ("interval", 0.0, 1.0): ("priors.Uniform({shape})", ("Beta", "Kumaraswamy")),
    ("integers", 0.0, 1.0): ("", ("Bernoulli",)),
    ("simplex", 0.0, 1.0): ("", ("Dirichlet", "Concrete")),
    ("one-hot", 0.0, 1.0): ("", ("OneHotCategorical",)),
    ("sphere", -1.0, 1.0): ("priors.HypersphericalUniform({shape})", ("VonMisesFisher",)),
    ("codes", *_LINE): ("priors.Codebook(posterior)", ()),
}


def check_network(
    network: Any,
    argument: str,
    input_shape: tuple[int, ...],
    layer: DistributionLayer,
    slot: str,
) -> None:
    """Run a network on one example, which builds it, and check what it emits.

    One that takes a condition and does not say its shape is run when it is first given one.

    Raises:
        TypeError: if it is not a Keras model, or emits anything but one tensor.
        ValueError: if its input or output does not have the shape that the slots need.
    """
    check_emits(
        network,
        argument,
        input_shape,
        layer.params_shape,
        f"the parameters of the {slot} {type(layer).__name__}(event_shape={layer.event_shape})",
        layer.compute_dtype,
    )


def check_emits(
    network: Any,
    argument: str,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    what: str,
    dtype: str = "float32",
) -> None:
    """Run a network on one example, which builds it, and check that it emits one tensor.

    Args:
        network: what should be a Keras model.
        argument: what it was passed as.
        input_shape: of one example.
        output_shape: of what it should emit for it.
        what: what that is, in words.
        dtype: of the example.

    Raises:
        TypeError, ValueError: as :func:`check_network`.
    """
    if not isinstance(network, keras.layers.Layer):
        raise TypeError(
            f"Expected `{argument}` to be a Keras model. "
            f"Received: {argument}={network!r} of type {type(network).__name__}."
        )
    needed = (
        f"`{argument}` to map [batch, {_row(input_shape)}] to {what}, [batch, {_row(output_shape)}]"
    )
    example: Any = np.zeros((1, *input_shape), dtype)
    if conditions.takes_condition(network):
        try:
            shape, given = conditions.spec_of(network)
        except NotImplementedError:
            return
        # A size that is left free is that of the example, where they have as many axes.
        free = input_shape if len(input_shape) == len(shape) else [1] * len(shape)
        sizes = [size or other for size, other in zip(shape, free, strict=True)]
        example = [example, np.zeros((1, *sizes), given)]
    try:
        output = network(example)
    except Exception as error:
        declared = getattr(network, "input_shape", None)
        raise ValueError(
            f"Expected {needed}. Received: {argument} with input shape {declared}, which failed "
            f"on an example of zeros: {_first_line(error)}"
        ) from error
    if not hasattr(output, "shape") or not hasattr(output, "dtype"):
        raise TypeError(
            f"Expected {needed}, as one tensor. "
            f"Received: {argument} that returns a {type(output).__name__}. Concatenate its "
            "outputs along the last axis."
        )
    if tuple(output.shape) != (1, *output_shape):
        raise ValueError(
            f"Expected {needed}. Received: {argument} that returns shape "
            f"{(None, *output.shape[1:])}. End it in Dense({int(np.prod(output_shape))})"
            f"{'' if len(output_shape) == 1 else f' and Reshape({output_shape})'}."
        )


def check_conditions_agree(takers: Mapping[str, Any]) -> None:
    """Refuse a model whose parts take conditions of several shapes or types.

    Raises:
        ValueError: if they differ.
    """
    specs: dict[str, conditions.Spec] = {}
    for name, taker in takers.items():
        with contextlib.suppress(NotImplementedError):
            specs[name] = (
                taker.condition_spec if isinstance(taker, Prior) else conditions.spec_of(taker)
            )
    if len(set(specs.values())) > 1:
        listed = ", ".join(
            f"{name} {list(shape)} {dtype}" for name, (shape, dtype) in specs.items()
        )
        raise ValueError(
            f"Expected one condition for all parts of the model. Received: {listed}. Give their "
            "inputs for it the same shape and dtype."
        )


def _row(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
