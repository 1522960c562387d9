"""One level of a hierarchy: its prior given the level above, its posterior, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae import conditions
from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.normal import Normal
from tfvae.priors import Conditional, Prior
from tfvae.trace import Distribution


class Part(NamedTuple):
    """A level's posterior, before a value of it is chosen.

    Attributes:
        distribution: makes the distribution.
        mean: makes its mean.
        draw: from base noise, makes a draw and the distribution that it is from.
    """

    distribution: Callable[[], Distribution]
    mean: Callable[[], tf.Tensor]
    draw: Callable[[tf.Tensor], tuple[tf.Tensor, Distribution]]


class Given:
    """A conditional prior given a value of the level above.

    Args:
        prior: p(z_l|z_{l+1}).
        value: of the level above, [..., B, *latent].
        training: passed to its network.
    """

    def __init__(self, prior: Any, value: tf.Tensor, training: bool) -> None:
        self.layer: DistributionLayer = prior.layer
        shape, _ = prior.condition_spec
        self.params = conditions.run_samples(
            prior.network, value, shape, self.layer.params_shape, training=training
        )

    @property
    def distribution(self) -> Distribution:
        """The distribution, batch shape [..., B]."""
        return self.layer(self.params)


def of_layer(layer: DistributionLayer, params: tf.Tensor) -> Part:
    """Return the posterior that a layer makes of parameters."""
    params = tf.cast(params, layer.compute_dtype)
    return Part(
        distribution=lambda: layer(params),
        mean=lambda: layer.mean(params),
        draw=lambda noise: layer.draw(noise, params),
    )


def merged(layer: DistributionLayer, params: tf.Tensor, given: Given) -> Part:
    """Return the precision-weighted product of a Gaussian of the encoder's and a prior."""
    loc, scale = product_of_normals(
        **layer.parameters(tf.cast(params, layer.compute_dtype)),
        **{f"prior_{name}": each for name, each in given.layer.parameters(given.params).items()},
    )

    def distribution() -> Distribution:
        return tfd.Independent(tfd.Normal(loc, scale), len(layer.event_shape))

    return Part(
        distribution=distribution,
        mean=lambda: loc,
        draw=lambda noise: (loc + scale * tf.cast(noise, loc.dtype), distribution()),
    )


def product_of_normals(
    loc: tf.Tensor, scale: tf.Tensor, prior_loc: tf.Tensor, prior_scale: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""Return mean and standard deviation of the product of two Gaussian densities, scaled to one.

    .. math:: \sigma^{-2} = \sigma_1^{-2} + \sigma_2^{-2}, \qquad
        \mu = \sigma^2 (\mu_1 \sigma_1^{-2} + \mu_2 \sigma_2^{-2})

    Example:
        >>> loc, scale = product_of_normals(2.0, 1.0, 0.0, 1.0)
        >>> float(loc), round(float(scale) ** 2, 6)
        (1.0, 0.5)
    """
    # By way of the hypotenuse, not of precisions, of which a small deviation's would overflow.
    ratio = scale / prior_scale
    weight = 1.0 / (1.0 + ratio * ratio)  # of the first
    return prior_loc + weight * (loc - prior_loc), scale * tf.sqrt(weight)


def check_levels(priors: Any, posteriors: Any, bottom_up: Sequence[keras.Model] | None) -> None:
    """Check that levels are there, fit together, and have what their place needs.

    Raises:
        TypeError: if a prior below the top is not conditional, or a layer is not of its kind.
        ValueError: if there is no level, numbers or shapes do not fit, or a slot lacks a density
            or a map from base noise.
    """
    for argument, value in (("priors", priors), ("posteriors", posteriors)):
        if not isinstance(value, list | tuple) or not len(value):
            raise ValueError(
                f"Expected `{argument}` to be a list of at least one, level 0's first. "
                f"Received: {argument}={value!r}."
            )
    if len(priors) != len(posteriors):
        raise ValueError(
            "Expected as many `priors` as `posteriors`, one of each for each level. Received: "
            f"{len(priors)} and {len(posteriors)}."
        )
    if bottom_up is not None and len(bottom_up) != len(priors) - 1:
        raise ValueError(
            "Expected `bottom_up` to hold a network for each level above the first, "
            f"{len(priors) - 1}. Received: {len(bottom_up)}. For ladder inference pass None."
        )
    for level, (prior, posterior) in enumerate(zip(priors, posteriors, strict=True)):
        if not isinstance(posterior, DistributionLayer) or not isinstance(prior, Prior):
            raise TypeError(
                f"Expected a tfvae prior and a distribution layer for level {level}. "
                f"Received: {prior!r} and {posterior!r}."
            )
        top = level == len(priors) - 1
        if not top:
            _check_below(level, prior, posteriors[level + 1])
            _check_gaussian(level, prior, posterior, ladder=bottom_up is None)
        _check_capable(level, prior, posterior)
    for level, network in enumerate(bottom_up or (), 1):
        below, layer = posteriors[level - 1], posteriors[level]
        _check_between(network, f"bottom_up[{level - 1}]", below.event_shape, layer)


def _check_below(level: int, prior: Any, above: DistributionLayer) -> None:
    if not isinstance(prior, Conditional):
        raise TypeError(
            f"Expected the prior of level {level} to be a priors.Conditional, a function of the "
            f"draw of level {level + 1}. Received: {type(prior).__name__}."
        )
    _check_between(prior.network, f"priors[{level}].network", above.event_shape, prior.layer)


def _check_gaussian(level: int, prior: Any, posterior: Any, *, ladder: bool) -> None:
    for slot, layer in (("prior", prior.layer), ("posterior", posterior)):
        if ladder and not isinstance(layer, Normal):
            raise TypeError(
                f"Expected the {slot} of level {level} to be a layers.Normal, for ladder inference "
                f"multiplies Gaussians. Received: {type(layer).__name__}. Use bottom-up inference "
                "with other families."
            )


def _check_capable(level: int, prior: Prior, posterior: DistributionLayer) -> None:
    for slot, layer in (("prior", prior), ("posterior", posterior)):
        if not layer.has_density:
            raise ValueError(
                f"Expected a {slot} of level {level} with a density. "
                f"Received: {type(layer).__name__}, which has none."
            )
    if posterior.noise is None:
        raise ValueError(
            f"Expected a posterior of level {level} that is a map of base noise, whose draws the "
            f"other levels are given. Received: {type(posterior).__name__}."
        )


def _check_between(
    network: Any, argument: str, given: tuple[int, ...], layer: DistributionLayer
) -> None:
    """Check a network from one level to the next."""
    if not isinstance(network, keras.Model):
        raise TypeError(
            f"Expected `{argument}` to be a Keras model. Received: {argument}={network!r}."
        )
    needed = (
        f"`{argument}` to map [batch, {', '.join(map(str, given))}] to the parameters of "
        f"{type(layer).__name__}(event_shape={layer.event_shape}), "
        f"[batch, {', '.join(map(str, layer.params_shape))}]"
    )
    inputs = tuple(tuple(each.shape[1:]) for each in network.inputs or ())
    emitted = [tuple(each.shape[1:]) for each in network.outputs or ()]
    if inputs != (given,) or emitted != [layer.params_shape]:
        raise ValueError(f"Expected {needed}. Received: one that maps {inputs} to {emitted}.")


def emitted_levels(emitted: Any) -> list[tf.Tensor]:
    """Return what an encoder emitted as a list, level 0's first."""
    return list(emitted) if isinstance(emitted, list | tuple) else [emitted]


def check_encoder(
    encoder: Any, data_shape: tuple[int, ...], posteriors: Sequence[DistributionLayer]
) -> None:
    """Run a ladder's encoder on an example and check what it emits for each level.

    Raises:
        TypeError: if it is not a Keras model.
        ValueError: if it does not emit each posterior's parameters.
    """
    if not isinstance(encoder, keras.Model):
        raise TypeError(f"Expected `encoder` to be a Keras model. Received: encoder={encoder!r}.")
    needed = [(1, *layer.params_shape) for layer in posteriors]
    shape = ", ".join(map(str, data_shape))
    words = (
        f"`encoder` to map [batch, {shape}] to a list of the levels' parameters, of shapes "
        f"{[('batch', *each[1:]) for each in needed]}"
    )
    try:
        emitted = emitted_levels(encoder(np.zeros((1, *data_shape), posteriors[0].compute_dtype)))
    except Exception as error:
        raise ValueError(
            f"Expected {words}. Received: one that failed on an example of zeros: {error}"
        ) from error
    received = [tuple(each.shape) for each in emitted]
    if received != needed:
        raise ValueError(
            f"Expected {words}. Received: {[('batch', *each[1:]) for each in received]}. Make it "
            "with tfvae.families.ladder_encoder, or pass `bottom_up` for bottom-up inference."
        )
