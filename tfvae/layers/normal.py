"""The Normal distribution with a diagonal covariance."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd


@keras.saving.register_keras_serializable("tfvae")
class Normal(DistributionLayer):
    r"""Diagonal Normal, :math:`\mathcal N(\mu, \operatorname{diag} \sigma^2)`.

    *Location-scale*: a draw is :math:`\mu + \sigma \varepsilon` with standard normal noise.

    Args:
        event_shape: the shape of one draw.
        scale: where the standard deviation comes from. ``"network"``: one per value, from the
            network, as ``softplus(raw) + min_scale``; the network then emits two blocks
            ``[loc | raw]``. ``"learned"``: one for all values, a weight of this layer. A
            positive number: fixed.
        min_scale: the smallest standard deviation that ``"network"`` and ``"learned"`` can
            reach. Without a floor, a likelihood is unbounded on data with a constant value.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `scale` is neither of these or `min_scale` is not positive.

    Example:
        >>> layer = tfvae.layers.Normal((2,), scale=1.0)
        >>> float(layer(tf.zeros([1, 2])).log_prob(tf.zeros([1, 2]))[0])  # -log 2 pi
        -1.837877...

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114.
    """

    noise = "normal"

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        scale: float | Literal["network", "learned"] = "network",
        min_scale: float = 1e-4,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        known = (
            scale in ("network", "learned")
            if isinstance(scale, str)
            else math.isfinite(scale) and scale > 0
        )
        if not known:
            raise ValueError(
                'Expected `scale` to be "network", "learned" or a positive number. '
                f"Received: scale={scale!r}."
            )
        if not (math.isfinite(min_scale) and min_scale > 0):
            raise ValueError(
                f"Expected `min_scale` to be a positive number. Received: min_scale={min_scale!r}."
            )
        self.scale = scale
        self.min_scale = min_scale
        self.blocks = 2 if scale == "network" else 1
        if scale == "learned":
            # softplus(0.5413) = 1: training starts at the standard normal's scale.
            self.raw_scale = self.add_weight(
                shape=(), initializer=keras.initializers.Constant(0.541324855), name="raw_scale"
            )

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``loc`` and ``scale``."""
        loc, *raw = self._split(params)
        if self.scale == "network":
            scale = self._positive(raw[0])
        elif self.scale == "learned":
            scale = tf.zeros_like(loc) + self._positive(tf.convert_to_tensor(self.raw_scale))
        else:
            scale = tf.zeros_like(loc) + tf.constant(self.scale, loc.dtype)
        return {"loc": loc, "scale": scale}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Normal``."""
        return tfd.Normal(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc``."""
        return self._split(params)[0]

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc + scale * noise``."""
        named = self.parameters(params)
        return named["loc"] + named["scale"] * tf.cast(noise, named["loc"].dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "scale": self.scale, "min_scale": self.min_scale}

    def _positive(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.nn.softplus(raw) + self.min_scale
