"""Distributions on {0, 1} and on [0, 1] with a logit for each value."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.numerics import softplus
from tfvae.layers.support import Support


@keras.saving.register_keras_serializable("tfvae")
class Bernoulli(DistributionLayer):
    r"""Independent Bernoullis, for binary data.

    .. math:: \log p(x) = \sum_i x_i \eta_i - \log(1 + e^{\eta_i}),

    with logits :math:`\eta`. *Inverse CDF*: a draw is ``noise < sigmoid(logits)`` with uniform
    noise, through which no gradient flows.

    Args:
        event_shape: the shape of one draw.
        straight_through: as a posterior, take the gradient of a draw to be that of the mean. It
            is biased, and has little variance.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Bernoulli((784,))
        >>> float(layer(tf.zeros([1, 784])).log_prob(tf.ones([1, 784]))[0])  # -784 log 2
        -543.427...
    """

    noise = "coin"
    reparameterised = False
    support = Support.BINARY

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        straight_through: bool = False,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        self.straight_through = straight_through
        self.reparameterised = straight_through

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``logits``."""
        return {"logits": self._split(params)[0]}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Bernoulli`` over floats."""
        return _Bernoulli(**parameters, dtype=parameters["logits"].dtype)

    def call(self, params: tf.Tensor) -> Any:
        """Return independent Bernoullis: batch shape ``[...]``, event shape ``event_shape``."""
        return _Bernoullis(self.distribution(**self.parameters(params)), len(self.event_shape))

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return ``sigmoid(logits)``."""
        return tf.sigmoid(self._split(params)[0])

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return 1 where the noise is below the mean, else 0."""
        mean = self.mean(params)
        drawn = tf.cast(tf.cast(noise, mean.dtype) < mean, mean.dtype)
        return drawn + (mean - tf.stop_gradient(mean)) if self.straight_through else drawn

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "straight_through": self.straight_through}


@keras.saving.register_keras_serializable("tfvae")
class ContinuousBernoulli(DistributionLayer):
    r"""Independent continuous Bernoullis, for grey values in [0, 1].

    .. math:: p(x) = C(\lambda)\, \lambda^x (1 - \lambda)^{1 - x}, \quad
              \log C(\lambda) = \log \frac{2 \tanh^{-1}(1 - 2 \lambda)}{1 - 2 \lambda},

    with logits :math:`\eta = \log \lambda / (1 - \lambda)`. This is the density that a Bernoulli
    likelihood on grey values forgets to normalise. *Inverse CDF*: see :meth:`transform`.

    Args:
        event_shape: the shape of one draw.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.ContinuousBernoulli((1,))
        >>> float(layer.mean(tf.zeros([1, 1]))[0, 0])
        0.5

    References:
        Loaiza-Ganem and Cunningham (2019), The continuous Bernoulli, arXiv:1907.06845.
    """

    noise = "uniform"
    support = Support.UNIT

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``logits``."""
        return {"logits": self._split(params)[0]}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.ContinuousBernoulli``."""
        return tfd.ContinuousBernoulli(**parameters, dtype=parameters["logits"].dtype)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`\frac12 + \frac12 \coth(\eta / 2) - 1 / \eta`, by its series near 0."""
        logits = self._split(params)[0]
        small = tf.abs(logits) < 0.5
        safe = tf.where(small, tf.ones_like(logits), logits)
        exact = 0.5 + 0.5 / tf.tanh(0.5 * safe) - 1.0 / safe
        square = tf.square(logits)
        # The next term is below 5e-8 at |logits| = 0.5.
        series = 0.5 + logits * (
            1 / 12 + square * (-1 / 720 + square * (1 / 30240 - square / 1209600))
        )
        return tf.where(small, series, exact)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        r"""Return the quantile :math:`\log(1 + u (e^\eta - 1)) / \eta`, by its series near 0.

        Positive logits are mirrored, so that the exponential never overflows.
        """
        logits = self._split(params)[0]
        uniform = tf.cast(noise, logits.dtype)
        negative = -tf.abs(logits)
        mirrored = tf.where(logits > 0, 1.0 - uniform, uniform)
        small = negative > -1e-2
        safe = tf.where(small, -tf.ones_like(negative), negative)
        # u (e^η - 1) by tanh, and log(1 + y) by artanh, keep their relative precision near 0
        # (ONNX has neither expm1 nor log1p); far from it, (1 - u) + u e^η does not cancel.
        half = tf.tanh(0.5 * safe)
        shift = 2.0 * mirrored * half / (1.0 - half)
        near = shift > -0.5
        ratio = tf.where(near, shift / (2.0 + shift), tf.zeros_like(shift))
        far = tf.math.log((1.0 - mirrored) + mirrored * tf.exp(safe))
        exact = tf.where(near, 2.0 * tf.atanh(ratio), far) / safe
        # Second order in the logit: the next term is below 5e-8 at |logits| = 0.01.
        bend = mirrored * (1.0 - mirrored)
        series = mirrored + negative * bend * (0.5 + negative * (1.0 - 2.0 * mirrored) / 6.0)
        value = tf.clip_by_value(tf.where(small, series, exact), 0.0, 1.0)
        return tf.where(logits > 0, 1.0 - value, value)


class _Bernoulli(tfd.Bernoulli):  # type: ignore[misc, name-defined]
    """Takes one softplus a value, where TFP takes two."""

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self._logits_parameter_no_checks()
        return tf.cast(event, logits.dtype) * logits - softplus(logits)


class _Bernoullis(tfd.Independent):  # type: ignore[misc, name-defined]
    """Sums over one long axis: over the short ones of an image, XLA's loops take twice as long."""

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self.distribution.logits
        size = self.event_shape.num_elements()

        def flat(values: tf.Tensor) -> tf.Tensor:
            outer = tf.shape(values)[: values.shape.rank - self.event_shape.rank]
            return tf.reshape(values, tf.concat([outer, [size]], axis=0))

        each = _Bernoulli(logits=flat(logits), dtype=self.dtype).log_prob(flat(event))
        return tf.reduce_sum(each, axis=-1)
