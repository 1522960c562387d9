"""What is done to networks that exist: another view of input or output, a penalty on weights."""

from __future__ import annotations

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable("tfvae")
class LogCounts(keras.layers.Layer):
    """log(1 + x) of counts, which may be thousands, for an encoder to start from."""

    def call(self, x: Any) -> Any:
        """Return log(1 + x)."""
        return keras.ops.log1p(x)


@keras.saving.register_keras_serializable("tfvae")
class Logit(keras.layers.Layer):
    """log(p / (1 - p)), for a decoder that ends in a sigmoid: a Bernoulli layer takes logits.

    Probabilities are clipped to (1e-7, 1 - 1e-7) first, beyond which float32 has few of them.

    Example:
        >>> trained = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "sigmoid")])
        >>> decoder = keras.Sequential([trained, tfvae.adapters.Logit()])
    """

    def call(self, probabilities: Any) -> Any:
        """Return the logits."""
        p = keras.ops.clip(keras.ops.cast(probabilities, "float32"), 1e-7, 1.0 - 1e-7)
        return keras.ops.log(p) - keras.ops.log(1.0 - p)


def of_log_counts(encoder: keras.Model) -> keras.Model:
    """Return an encoder that sees the logarithms of counts, log(1 + x).

    Example:
        >>> of_log_counts(tfvae.networks.mlp_encoder((50,), (4,), hidden=(8,))).output_shape
        (None, 4)
    """
    inputs = keras.Input(encoder.input_shape[1:], dtype=encoder.inputs[0].dtype, name="counts")
    logs = LogCounts(dtype=encoder.inputs[0].dtype, name="log_counts")(inputs)
    return keras.Model(inputs, encoder(logs), name=encoder.name)


def decay_kernels(network: keras.Model, weight: float) -> None:
    """Add `weight` times the squared length of each kernel to a network's penalties, in place.

    Raises:
        ValueError: if `weight` is negative or not finite.

    Example:
        >>> network = tfvae.networks.mlp_encoder((3,), (4,), hidden=(8,))
        >>> decay_kernels(network, 0.5)
        >>> len(network.losses)
        2
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(
            f"Expected `weight` to be a number that is not negative. Received: weight={weight!r}."
        )
    for layer in network.layers:
        if getattr(layer, "kernel", None) is not None:
            # In the layer's configuration, and in the variable that was made without it.
            layer.kernel_regularizer = keras.regularizers.L2(weight)
            layer.kernel.regularizer = layer.kernel_regularizer
