"""Endpoints as traced functions, and models to ask them of."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfvae
from tfvae.export.endpoints import endpoints


def call(subject: Any, name: str, **inputs: Any) -> dict[str, Any]:
    """Run one endpoint's traced function on arrays."""
    (endpoint,) = endpoints(subject, [name])
    tensors = {spec.name: tf.constant(inputs[spec.name], spec.dtype) for spec in endpoint.inputs}
    outputs = endpoint.function(**tensors)
    assert [spec.name for spec in endpoint.outputs] == list(outputs)
    return {key: value.numpy() for key, value in outputs.items()}


def image_model() -> tfvae.VAE:
    """A model of 4 by 3 images of one channel, with weights that are not those of the start."""
    return tfvae.zoo.vae((4, 3, 1), 2, hidden=(8,), likelihood="ContinuousBernoulli", seed=3)


def conditional_model() -> tfvae.VAE:
    """A prior whose mean is ten times the class, of which it is told one-hot."""
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    kernel = np.array([[0, 0], [10, 10], [20, 20]], np.float32)
    network.layers[0].set_weights([np.hstack([kernel, np.zeros((3, 2))]), np.zeros(4)])
    prior = tfvae.priors.Conditional(network, tfvae.layers.Normal((2,)))
    return tfvae.zoo.vae((5,), 2, hidden=(8,), prior=prior, likelihood="Normal")
