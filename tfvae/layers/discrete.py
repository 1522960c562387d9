"""Counts and classes: likelihoods through whose draws no gradient flows."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.counting import poisson_quantile
from tfvae.layers.mixture import flatten, unflatten
from tfvae.layers.numerics import Bound, bounded
from tfvae.layers.rejection import BOOSTS, PROPOSALS, TESTS, log_gamma_draws
from tfvae.layers.support import Support

LOG_RATE = Bound(high=10.0)


def _exactly(raw: list[tf.Tensor]) -> list[tf.Tensor]:
    """Return raw outputs in float64 and without gradients, for draws of large counts."""
    return [tf.cast(tf.stop_gradient(block), tf.float64) for block in raw]


@keras.saving.register_keras_serializable("tfvae")
class Poisson(DistributionLayer):
    r"""Poisson, for counts: :math:`p(x) = \lambda^x e^{-\lambda} / x!`.

    *Inverse CDF*: a draw is the quantile of a uniform, through which no gradient flows.

    Args:
        event_shape: the shape of one draw. The network emits the log-rate, bounded to (-10, 10):
            rates up to 22,000.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Poisson((2,))
        >>> float(layer(tf.zeros([1, 2])).log_prob(tf.zeros([1, 2]))[0])  # two rates of 1
        -2.0
    """

    noise = "uniform"
    bounds = bounded(log_rate=LOG_RATE)
    reparameterised = False
    support = Support.COUNTS

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Poisson``."""
        return tfd.Poisson(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the rate."""
        return tf.exp(self.parameters(params)["log_rate"])

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the counts at the quantiles that the noise picks."""
        (raw,) = _exactly(self._split(params))
        counts = poisson_quantile(tf.cast(noise, tf.float64), tf.exp(LOG_RATE(raw)))
        return tf.cast(counts, self.compute_dtype)


@keras.saving.register_keras_serializable("tfvae")
class NegativeBinomial(DistributionLayer):
    r"""Negative binomial: a Poisson with a Gamma rate, for counts that vary more than their mean.

    With mean m and total count r, the variance is :math:`m + m^2 / r`.

    *Composition*: a Poisson draw whose rate is a Gamma draw. No gradient flows through it.

    Args:
        event_shape: the shape of one draw. The network emits ``[log mean | raw total count]``,
            bounded to (-10, 10) and (0.01, 10000).
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.NegativeBinomial((2,))
        >>> float(layer.mean(tf.zeros([1, 4]))[0, 0])
        1.0

    References:
        Lopez, Regier, Cole, Jordan and Yosef (2018), Deep generative modeling for single-cell
        transcriptomics.
    """

    noise = "normal"
    blocks = 2
    reparameterised = False
    support = Support.COUNTS
    _count = Bound(0.01, 1e4)

    def __init__(self, event_shape: tuple[int, ...] | int, **options: Any) -> None:
        super().__init__(event_shape, **options)
        self._size = math.prod(self.event_shape)
        self.choices = (TESTS + BOOSTS + 1) * self._size
        self.quantiles = (BOOSTS + 1) * self._size

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The uniforms and normals of a Gamma draw for each value, and a uniform for its count."""
        return (self.choices + PROPOSALS * self._size,)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``total_count`` and ``logits``, the log of mean over total count."""
        return self._counts(*self._split(params))

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.NegativeBinomial``."""
        return tfd.NegativeBinomial(**parameters, require_integer_total_count=False)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the mean, which the network emits in logs."""
        return tf.exp(LOG_RATE(self._split(params)[0]))

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the counts of Poisson draws at Gamma rates."""
        uniform, rate = self._uniform_and_rate(noise, *_exactly(self._split(params)))
        return tf.cast(poisson_quantile(uniform, rate), self.compute_dtype)

    def _uniform_and_rate(
        self, noise: tf.Tensor, log_mean: tf.Tensor, raw: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return what a count is the quantile of, and its Gamma rate, in float64."""
        sizes = [self.choices - self._size, self._size, PROPOSALS * self._size]
        choices, uniform, normals = tf.split(noise, sizes, axis=-1)
        named = self._counts(log_mean, raw)
        concentration = flatten(named["total_count"], len(self.event_shape))
        log_gamma = log_gamma_draws(choices, normals, concentration)
        rate = tf.exp(unflatten(log_gamma, self.event_shape) + named["logits"])
        return tf.cast(unflatten(uniform, self.event_shape), tf.float64), rate

    def _counts(self, log_mean: tf.Tensor, raw: tf.Tensor) -> dict[str, tf.Tensor]:
        count = self._count(raw)
        return {"total_count": count, "logits": LOG_RATE(log_mean) - tf.math.log(count)}


@keras.saving.register_keras_serializable("tfvae")
class ZeroInflatedNegativeBinomial(NegativeBinomial):
    r"""Negative binomial with zeros of its own, for counts that are sometimes not seen.

    .. math:: p(x) = \pi \, [x = 0] + (1 - \pi) \operatorname{NB}(x; m, r)

    Args:
        event_shape: the shape of one draw. The network emits ``[log mean | raw total count |
            dropout logit]``: the first two as in :class:`NegativeBinomial`, the logit of
            :math:`\pi` bounded to (-10, 10).
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.ZeroInflatedNegativeBinomial((2,))
        >>> float(layer.mean(tf.zeros([1, 6]))[0, 0])  # (1 - 1/2) 1
        0.5

    References:
        Lopez, Regier, Cole, Jordan and Yosef (2018), Deep generative modeling for single-cell
        transcriptomics.
    """

    blocks = 3
    _dropout = Bound(high=10.0)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``total_count`` and ``logits`` of the counts, and ``dropout_logits``."""
        log_mean, raw, dropout = self._split(params)
        return {**self._counts(log_mean, raw), "dropout_logits": self._dropout(dropout)}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return a ``tfd.Mixture`` of zero and ``tfd.NegativeBinomial``.

        TFP's own ``ZeroInflatedNegativeBinomial`` takes half the logit.
        """
        logits = parameters.pop("dropout_logits")
        either = tfd.Categorical(logits=tf.stack([logits, tf.zeros_like(logits)], axis=-1))
        zero = tfd.Deterministic(tf.zeros_like(logits))
        return tfd.Mixture(either, [zero, super().distribution(**parameters)])

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the mean of the counts times the share of them that is seen."""
        log_mean, _, dropout = self._split(params)
        return tf.exp(LOG_RATE(log_mean)) * tf.sigmoid(-self._dropout(dropout))

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return zero where the uniform is below its share, and above it counts."""
        log_mean, raw, dropout = _exactly(self._split(params))
        uniform, rate = self._uniform_and_rate(noise, log_mean, raw)
        zeros = tf.sigmoid(self._dropout(dropout))
        seen = poisson_quantile(tf.maximum(uniform - zeros, 2.0**-54) / (1.0 - zeros), rate)
        counts = tf.where(uniform < zeros, tf.zeros_like(seen), seen)
        return tf.cast(counts, self.compute_dtype)


@keras.saving.register_keras_serializable("tfvae")
class Categorical(DistributionLayer):
    r"""Categorical: one of `classes` labels 0, 1, ... for each value, such as a grey level.

    *Gumbel-max*: a draw is :math:`\arg\max_k (\eta_k - \log(-\log u_k))`, through which no
    gradient flows. Its noise has one uniform for each class.

    Args:
        event_shape: the shape of one draw of labels. The network emits the logits
            ``[class 0 | class 1 | ...]``.
        classes: how many labels there are, at least 2.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if there are fewer than 2 classes.

    Example:
        >>> layer = tfvae.layers.Categorical((28, 28), classes=4)
        >>> layer.params_shape, layer.noise_shape
        ((28, 112), (28, 28, 4))
    """

    noise = "uniform"
    reparameterised = False

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        classes: int = 2,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not (isinstance(classes, int) and classes > 1):
            raise ValueError(
                f"Expected `classes` to be an integer above 1. Received: classes={classes!r}."
            )
        self.classes = classes
        self.blocks = classes
        self.support = Support.integers(classes - 1)

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """One block: hundreds of classes are not split one by one."""
        return (self.classes * self.event_shape[-1],)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One uniform for each class of each value."""
        return (*self.event_shape, self.classes)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``logits``, [..., *event_shape, classes]."""
        (flat,) = self._split(params)
        shape = tf.concat([tf.shape(flat)[:-1], [self.classes, self.event_shape[-1]]], axis=0)
        logits = tf.linalg.matrix_transpose(tf.reshape(flat, shape))
        logits.set_shape([*flat.shape[:-1], self.event_shape[-1], self.classes])
        return {"logits": logits}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Categorical`` over floats."""
        return tfd.Categorical(**parameters, dtype=parameters["logits"].dtype)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the mean label, which is of use where labels are ordered."""
        probabilities = tf.nn.softmax(self.parameters(params)["logits"])
        labels = tf.range(self.classes, dtype=probabilities.dtype)
        return tf.reduce_sum(labels * probabilities, axis=-1)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the label whose logit is largest once Gumbel noise is added."""
        logits = self.parameters(params)["logits"]
        gumbel = -tf.math.log(-tf.math.log(tf.cast(noise, logits.dtype)))
        return tf.cast(tf.argmax(logits + gumbel, axis=-1), logits.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "classes": self.classes}
