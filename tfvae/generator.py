"""Any Keras decoder as a seeded generator: no VAE, no encoder, no training by tfvae."""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras

from tfvae.checks import check_network
from tfvae.generation import Generative
from tfvae.layers.base import DistributionLayer, get
from tfvae.layers.bernoulli import Bernoulli, ContinuousBernoulli
from tfvae.priors import Prior, StandardNormal

_OF_LOGITS = (Bernoulli, ContinuousBernoulli)
# Layers that change the shape of what they are given, and no value.
_VIEWS = (keras.layers.Flatten, keras.layers.InputLayer, keras.layers.Permute, keras.layers.Reshape)


class Generator(Generative):
    r"""A decoder that was trained anywhere, with the prior and the likelihood it was trained for.

    .. math:: z \sim p(z), \qquad x \sim p(x|z)

    It generates as a :class:`tfvae.VAE` does, each row a function of its own seed, and
    :func:`tfvae.export.export` takes it.

    Args:
        decoder: any Keras 3 model, z [B, *latent] to the likelihood's parameters
            [B, *likelihood.params_shape]. Bernoulli layers take logits: where the decoder ends in
            a sigmoid, follow it by ``tfvae.adapters.Logit()``.
        likelihood: p(x|z); a distribution layer, or its name where the decoder's output tells
            the shape of x.
        prior: p(z); the standard normal over the decoder's input by default.
        name: what exports are called by.

    Raises:
        TypeError: if a slot is not of its kind.
        ValueError: if the decoder does not map the prior's draws to the likelihood's parameters.

    Warns:
        UserWarning: if the decoder ends in a sigmoid where the likelihood takes logits.

    Example:
        >>> decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(9)])
        >>> generator = tfvae.Generator(decoder, "Bernoulli")
        >>> generator.generate(4, seed=0).sample.shape
        TensorShape([4, 9])
    """

    def __init__(
        self,
        decoder: keras.Model,
        likelihood: str | DistributionLayer,
        prior: Prior | None = None,
        *,
        name: str | None = None,
    ) -> None:
        if not isinstance(decoder, keras.Model):
            raise TypeError(
                f"Expected `decoder` to be a Keras model. Received: decoder={decoder!r} of type "
                f"{type(decoder).__name__}."
            )
        if prior is None:
            prior = StandardNormal(_shape(decoder, "input", "prior"))
        if not isinstance(prior, Prior):
            raise TypeError(
                "Expected `prior` to be a tfvae prior, such as "
                f"tfvae.priors.StandardNormal((2,)). Received: prior={prior!r}."
            )
        if isinstance(likelihood, str):
            emitted = _shape(decoder, "output", "likelihood")
            likelihood = get(likelihood, _event_shape(likelihood, emitted), "likelihood")
        if not isinstance(likelihood, DistributionLayer) or isinstance(likelihood, Prior):
            raise TypeError(
                "Expected `likelihood` to be a distribution layer or the name of one. "
                f"Received: likelihood={likelihood!r}."
            )
        check_network(decoder, "decoder", prior.event_shape, likelihood, "likelihood")
        if isinstance(likelihood, _OF_LOGITS) and _ends_in_sigmoid(decoder):
            warnings.warn(
                f"The decoder ends in a sigmoid, and the likelihood {type(likelihood).__name__} "
                "takes logits: it would be applied twice. Follow the decoder by "
                "tfvae.adapters.Logit().",
                stacklevel=2,
            )
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior
        self.name = name or decoder.name

    @property
    def weights(self) -> list[Any]:
        """The weights of the decoder and of the slots."""
        parts = (self.decoder, self.prior, self.likelihood)
        return list({id(w): w for part in parts for w in part.weights}.values())


def _ends_in_sigmoid(network: Any) -> bool:
    """Whether a Sequential or Functional network has a sigmoid for its last activation."""
    # Other models, which have no symbolic outputs, list their layers in any order.
    while getattr(network, "outputs", None):
        values = (each for each in reversed(network.layers) if not isinstance(each, _VIEWS))
        network = next(values, None)
    return getattr(network, "activation", None) is keras.activations.sigmoid


def _shape(decoder: keras.Model, side: str, slot: str) -> tuple[int, ...]:
    """Return the shape of a row of a decoder's one input or output."""
    shape = getattr(decoder, f"{side}_shape", None)
    if isinstance(shape, list | dict):
        raise ValueError(
            f"Expected a decoder with one {side}. Received: one with {len(shape)}. Wrap it in a "
            "model that splits or concatenates them along the last axis."
        )
    if not isinstance(shape, tuple) or None in shape[1:]:
        raise ValueError(
            f"Expected `{slot}` to be given, for the decoder does not say the shape of one "
            f"{side}: it has {side} shape {shape}. Pass a layer with its event_shape."
        )
    return shape[1:]


def _event_shape(name: str, emitted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of x for which a layer, named, has parameters of the emitted shape."""
    # An event of the emitted shape has `times` as many parameters.
    layer = get(name, emitted, "likelihood")
    times = math.prod(layer.params_shape) // math.prod(emitted)
    if emitted[-1] % times:
        raise ValueError(
            f"Expected a decoder that emits {times} values for each value of x, as the likelihood "
            f"{type(layer).__name__} takes. Received: one that emits {list(emitted)}."
        )
    return (*emitted[:-1], emitted[-1] // times)
