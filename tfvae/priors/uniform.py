"""The uniform prior on an interval."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.base import tfd
from tfvae.layers.support import Support
from tfvae.priors.base import Prior


@keras.saving.register_keras_serializable("tfvae.priors")
class Uniform(Prior):
    r"""The uniform prior on an interval, :math:`\mathcal U(a, b)` for each latent.

    It fits posteriors on the same interval: Beta, Kumaraswamy, continuous Bernoulli and relaxed
    Bernoulli on [0, 1], a Reciprocal on its own.

    Args:
        event_shape: the shape of one latent.
        low: the least value, a.
        high: the greatest value, b.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: unless low < high, both finite.

    Example:
        >>> prior = tfvae.priors.Uniform((2,), low=0.0, high=2.0)
        >>> float(prior(None).log_prob(tf.ones([2])))  # -2 log 2
        -1.386294...
    """

    noise = "uniform"

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        low: float = 0.0,
        high: float = 1.0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                "Expected `low` to be less than `high`, both finite. "
                f"Received: low={low!r}, high={high!r}."
            )
        self.low, self.high = low, high
        self.support = Support(f"[{low:g}, {high:g}]", float(low), float(high))

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return ``tfd.Uniform`` over the event."""
        zeros = tf.zeros(self.event_shape, self.compute_dtype)
        return self._independent(tfd.Uniform(zeros + self.low, zeros + self.high))

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Return ``low + (high - low) * noise``."""
        return self.low + (self.high - self.low) * tf.cast(noise, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "low": self.low, "high": self.high}
