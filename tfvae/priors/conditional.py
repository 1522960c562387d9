"""A prior p(z|c) whose parameters a network makes of a condition."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer
from tfvae.priors.base import Prior


@keras.saving.register_keras_serializable("tfvae.priors")
class Conditional(Prior):
    r"""A conditional prior, :math:`p(z|c) = f(z; \mathrm{network}(c))`.

    The condition is the `y` of ``vae.fit(x, y)``, the `condition` of ``vae.generate`` and of
    ``tfvae.evaluate``: vectors, or labels that the network embeds.

    Args:
        network: a Keras model, c [B, ...] to parameters [B, *layer.params_shape].
        layer: a distribution layer; the prior has its event shape, support and sampler.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `network` is not a Keras model or `layer` not a distribution layer.
        ValueError: if the network emits another shape than the layer's parameters have, or the
            prior is called without a condition.

    Example:
        >>> layer = tfvae.layers.Normal((2,))
        >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        >>> prior = tfvae.priors.Conditional(network, layer)
        >>> prior(tf.zeros([5, 3])).batch_shape
        TensorShape([5])

    References:
        Sohn, Lee and Yan (2015), Learning structured output representation using deep
        conditional generative models, NeurIPS.
    """

    conditional = True
    parts = ("network", "layer")

    def __init__(
        self,
        network: keras.Model,
        layer: DistributionLayer,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        if not isinstance(network, keras.Model):
            raise TypeError(
                f"Expected `network` to be a Keras model. Received: network={network!r}."
            )
        self._check_layer(layer)
        super().__init__(layer.event_shape, name=name, dtype=dtype, trainable=trainable)
        self.network = network
        self.layer = layer
        self._take_after(layer)
        if not network.built:
            raise ValueError(
                "Expected a `network` that knows the shape of its input. Received: one that is not "
                "built. Begin it with keras.Input(shape)."
            )
        emitted = tuple(network.output_shape[1:])
        if emitted != layer.params_shape:
            raise ValueError(
                f"Expected `network` to emit [batch, {', '.join(map(str, layer.params_shape))}], "
                f"the parameters of {type(layer).__name__}(event_shape={layer.event_shape}). "
                f"Received: a network that emits {(None, *emitted)}."
            )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the base noise that the layer's map takes."""
        return self.layer.noise_shape

    @property
    def condition_spec(self) -> tuple[tuple[int, ...], str]:
        """The shape and dtype of the network's input."""
        (given,) = self.network.inputs
        return tuple(given.shape[1:]), keras.backend.standardize_dtype(given.dtype)

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return the layer's distribution, batch shape [B]."""
        return self.layer(self._params(condition))

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Map base noise as the layer does, given the condition."""
        return self.layer.transform(noise, self._params(params))

    def _params(self, condition: tf.Tensor | None) -> tf.Tensor:
        if condition is None:
            raise ValueError(
                "Expected a `condition`, of which the prior Conditional is a function. "
                "Received: None. Pass it as y: vae.fit(x, c)."
            )
        return tf.cast(self.network(condition), self.layer.compute_dtype)
