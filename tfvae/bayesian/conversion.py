"""From plain networks to Bayesian ones and back: to their means, or to a draw of their weights.

A network is rebuilt from its configuration with other classes of layers in it, so that whatever
Keras can save can be converted: Functional, Sequential and nested networks, and whole models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import random
from tfvae.bayesian.layers import (
    Bayesian,
    BayesianConv2D,
    BayesianConv2DTranspose,
    BayesianDense,
    Estimator,
    layers_of,
)
from tfvae.objectives import Schedule

Network = TypeVar("Network", bound=keras.layers.Layer)

_BAYESIAN: dict[type[keras.layers.Layer], type[Bayesian]] = {
    keras.layers.Dense: BayesianDense,
    keras.layers.Conv2D: BayesianConv2D,
    keras.layers.Conv2DTranspose: BayesianConv2DTranspose,
}
_PLAIN = {bayesian: plain for plain, bayesian in _BAYESIAN.items()}
# The arguments that a Bayesian layer has and a plain one has not.
_OWN = ("estimator", "prior_scale", "learn_prior", "initial_scale", "kl_weight")


def to_bayesian(
    network: Network,
    *,
    layers: Sequence[str] | None = None,
    estimator: Estimator = "auto",
    prior_scale: float = 1.0,
    learn_prior: bool = False,
    initial_scale: float = 0.01,
    kl_weight: float | Schedule = 1.0,
) -> Network:
    """Return a network with Bayesian layers where `network` has dense and convolutional ones.

    Their means begin as the network's weights, trained or not; `network` stays as it is.

    Args:
        network: a built Keras network.
        layers: the names of the layers to convert; by default all that can be.
        estimator: how weights are drawn in training; see :class:`tfvae.bayesian.layers.Bayesian`.
        prior_scale: standard deviation of the prior of all weights.
        learn_prior: whether each layer learns its own, from `prior_scale` on.
        initial_scale: standard deviation of the posterior of all weights at first.
        kl_weight: weight of their KL in the loss, a number or a schedule.

    Raises:
        ValueError: if it is not built, has no layer to convert, or none of a name; and for
            arguments that the layers do not take.

    Example:
        >>> plain = tfvae.networks.mlp_decoder((2,), (9,), hidden=(16,))
        >>> decoder = tfvae.bayesian.to_bayesian(plain, prior_scale=0.5)
        >>> [type(layer).__name__ for layer in decoder.layers]
        ['InputLayer', 'BayesianDense', 'BayesianDense']
    """
    if not network.built:
        raise ValueError(
            f"Expected a network that is built. Received: {network.name!r}, which has no weights "
            "yet. Begin it with keras.Input(shape)."
        )
    found = {each.name for each in network._flatten_layers() if type(each) in _BAYESIAN}
    wanted = found if layers is None else set(layers)
    if wanted - found or not wanted:
        received = f"layers={sorted(wanted - found)}" if wanted else "none of them"
        raise ValueError(
            "Expected `layers` to name dense or convolutional layers of the network, "
            f"{', '.join(sorted(found)) or 'of which there are none'}. Received: {received}."
        )
    own = {
        "estimator": estimator,
        "prior_scale": prior_scale,
        "learn_prior": learn_prior,
        "initial_scale": initial_scale,
        "kl_weight": keras.saving.serialize_keras_object(kl_weight),
    }

    def change(cls: type[Any] | None, config: dict[str, Any]) -> Any:
        if cls in _BAYESIAN and config.get("name") in wanted:
            return _BAYESIAN[cls], config | own
        return None

    twin = _rebuilt(network, change)
    if missing := wanted - {layer.name for layer in layers_of(twin)}:
        raise ValueError(
            "Expected a Functional or Sequential network, whose configuration has its layers. "
            f"Received: {network.name!r}, a {type(network).__name__} that makes "
            f"{', '.join(sorted(missing))} itself. Use tfvae.bayesian.BayesianDense and its like "
            "in its code."
        )
    _assign(twin, _plain_weights(twin), [weight.value for weight in network.weights])
    return twin


def mean(model: Any) -> Any:
    """Return a copy of a network, or of a whole model, whose weights are the posterior's means.

    It computes what `model` does outside of training, with plain layers wherever a network's
    configuration has its layers.

    Args:
        model: a network, a :class:`tfvae.VAE` or another family, or a :class:`tfvae.Generator`.

    Example:
        >>> vae = tfvae.zoo.bayesian_vae((6,), 2, hidden=(8,))
        >>> x = np.zeros((3, 6), "float32")
        >>> bool(np.allclose(tfvae.bayesian.mean(vae).reconstruct(x), vae.reconstruct(x)))
        True
    """
    return _plain(model, None)


def draw(model: Any, seed: tf.Tensor | int) -> Any:
    """Return a copy of a network, or of a whole model, with one draw of its weights.

    Layers are plain as those of :func:`mean` are. Draws are made of Philox words, the same on
    every machine.

    Args:
        model: a network, a :class:`tfvae.VAE` or another family, or a :class:`tfvae.Generator`.
        seed: of the draw; layers have numbers in their order in the model.

    Raises:
        ValueError: if the model has no Bayesian layer, of which all draws would be the same.

    Example:
        >>> vae = tfvae.zoo.bayesian_vae((6,), 2, hidden=(8,))
        >>> one, other = (tfvae.bayesian.draw(vae, seed) for seed in (1, 2))
        >>> bool(np.all(one.generate(2).mean == other.generate(2).mean))
        False
    """
    return _plain(model, seed)


def redraw(twin: Any, model: Any, seed: tf.Tensor | int | None) -> None:
    """Give a copy that :func:`draw` or :func:`mean` made another draw of weights, or the means.

    Raises:
        ValueError: for a draw of a model that has no Bayesian layer.
    """
    values = {id(weight): weight.value for weight in model.weights}
    if seed is not None:
        values |= _drawn(model, seed)
    # A subclassed network makes its own layers again: drawn means stand for plain weights there.
    _assign(twin, _plain_weights(twin), [values[id(weight)] for weight in _plain_weights(model)])


def _plain(model: Any, seed: tf.Tensor | int | None) -> Any:
    if isinstance(model, keras.layers.Layer):
        twin = _rebuilt(model, _to_plain)
    else:  # a Generator is no Keras object
        parts = (_rebuilt(part, _to_plain) for part in (model.decoder, model.likelihood))
        twin = type(model)(*parts, _rebuilt(model.prior, _to_plain), name=model.name)
    redraw(twin, model, seed)
    return twin


def _to_plain(cls: type[Any] | None, config: dict[str, Any]) -> Any:
    if cls not in _PLAIN:
        return None
    return _PLAIN[cls], {key: value for key, value in config.items() if key not in _OWN}


def _drawn(model: Any, seed: tf.Tensor | int) -> dict[int, npt.NDArray[Any]]:
    """Return draws of kernels and biases, by the identity of their variables."""
    found = bayesian_layers(model)
    if not found:
        raise ValueError(
            "Expected a model with Bayesian layers, of whose weights there are draws. Received: "
            f"{model.name!r}, which has none. Convert its networks: "
            "tfvae.bayesian.to_bayesian(network)."
        )
    values: dict[int, npt.NDArray[Any]] = {}
    key = random.fold(seed, random.WEIGHTS)
    for number, layer in enumerate(found):
        for part, (center, scale) in enumerate(zip(layer.means, layer.scales(), strict=True)):
            count = int(np.prod(center.shape))
            words = random.words(random.fold(key, number, part), [count + count % 2])
            noise = random.noise_from_words("normal", words)[:count]
            spread = scale * tf.cast(tf.reshape(noise, scale.shape), scale.dtype)
            values[id(center)] = np.asarray(tf.cast(center.value, scale.dtype) + spread)
    return values


def bayesian_layers(model: Any) -> list[Bayesian]:
    """Return the Bayesian layers of a network, a model or a Generator, each once."""
    if isinstance(model, keras.layers.Layer):
        return layers_of(model)
    parts = (model.decoder, model.prior, model.likelihood)
    return list({id(each): each for part in parts for each in layers_of(part)}.values())


def _plain_weights(model: Any) -> list[keras.Variable]:
    """Return the weights that a model's plain twin has, in its order."""
    extras = {id(extra) for layer in bayesian_layers(model) for extra in layer.extras}
    return [weight for weight in model.weights if id(weight) not in extras]


def _assign(model: Any, weights: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    pairs = list(zip(weights, values, strict=False))
    if len(weights) != len(values) or any(tuple(w.shape) != tuple(v.shape) for w, v in pairs):
        raise ValueError(
            f"Expected {model.name!r} to be rebuilt from its configuration with the same weights. "
            "Received: others. Does a layer of yours leave something out of `get_config`?"
        )
    for weight, value in pairs:
        weight.assign(value)


_Change = Callable[[type[Any] | None, dict[str, Any]], tuple[type[Any], dict[str, Any]] | None]


def _rebuilt(part: Network, change: _Change) -> Network:
    """Rebuild a Keras object with the classes and configurations that `change` returns in it."""
    config = keras.saving.serialize_keras_object(part)
    config.pop("compile_config", None)
    rebuilt: Network = keras.saving.deserialize_keras_object(_changed(config, change))
    return rebuilt


def _changed(config: Any, change: _Change) -> Any:
    if isinstance(config, list | tuple):
        return type(config)(_changed(each, change) for each in config)
    if not isinstance(config, dict):
        return config
    config = {key: _changed(value, change) for key, value in config.items()}
    if not {"class_name", "config"} <= config.keys() or not isinstance(config["config"], dict):
        return config
    name = config.get("registered_name") or config["class_name"]
    cls = keras.saving.get_registered_object(name)
    if cls is None and str(config.get("module")).startswith("keras"):
        cls = getattr(keras.layers, config["class_name"], None)
    if (new := change(cls, config["config"])) is None:
        return config
    made, arguments = new
    registered = keras.saving.get_registered_name(made)
    ours = registered != made.__name__
    return config | {
        "module": made.__module__ if ours else "keras.layers",
        "class_name": made.__name__,
        "config": arguments,
        "registered_name": registered if ours else None,
    }
