"""Discrete latents: one-hot categories, and relaxations through which gradients flow."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.numerics import Bound, bounded
from tfvae.layers.support import Support

LOGIT = Bound(high=10.0)


class _Relaxed(DistributionLayer):
    """A discrete distribution at a positive temperature, which makes it continuous."""

    noise = "uniform"
    bounds = bounded(logits=LOGIT)

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        temperature: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not 0.1 <= temperature <= 10.0:
            raise ValueError(
                "Expected `temperature` to be a number from 0.1 to 10: below, draws are not "
                f"told from 0 and 1 in float32. Received: temperature={temperature!r}."
            )
        self.temperature = temperature

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("tfvae")
class RelaxedBernoulli(_Relaxed):
    r"""Relaxed Bernoulli (binary Concrete): a Bernoulli through which gradients flow.

    *Inverse CDF*: :math:`\sigma\bigl((\eta + \operatorname{logit} u) / T\bigr)` with uniform
    noise. It rounds to a draw of the Bernoulli with logits :math:`\eta`, and is one as T falls
    to 0.

    Args:
        event_shape: the shape of one draw. The network emits the logits, bounded to (-10, 10).
        temperature: T, from 0.1 to 10. Low temperatures are nearer to the Bernoulli and have
            noisier gradients.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `temperature` is not in [0.1, 10].

    Example:
        >>> layer = tfvae.layers.RelaxedBernoulli((1,), temperature=0.5)
        >>> float(layer.transform(tf.constant([[0.5]]), tf.zeros([1, 1]))[0, 0])
        0.5

    References:
        Maddison, Mnih and Teh (2017), The Concrete distribution, arXiv:1611.00712.
    """

    support = Support.OPEN_UNIT

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.RelaxedBernoulli``, its draws kept inside (0, 1)."""
        return _RelaxedBernoulli(self.temperature, **parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the probability that a draw rounds to 1; its mean has no closed form."""
        return tf.sigmoid(self.parameters(params)["logits"])

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the quantile, kept inside (0, 1)."""
        logits = self.parameters(params)["logits"]
        uniform = tf.cast(noise, logits.dtype)
        logistic = tf.math.log(uniform) - tf.math.log(1.0 - uniform)
        return _inside(tf.sigmoid((logits + logistic) / self.temperature))


@keras.saving.register_keras_serializable("tfvae")
class Concrete(_Relaxed):
    r"""Concrete (Gumbel-softmax): a one-hot categorical through which gradients flow.

    :math:`\operatorname{softmax}\bigl((\eta - \log(-\log u)) / T\bigr)` along the last axis, with
    uniform noise. Its largest entry is a draw of the categorical with logits :math:`\eta`, and it
    is a one-hot draw as T falls to 0. The axes before the last are independent of each other.

    Args:
        event_shape: the shape of one draw, its last axis the classes, at least 2. The network
            emits the logits, bounded to (-10, 10).
        temperature: T, from 0.1 to 10. Densities have no mode at the corners where
            T > 1 / (classes - 1).
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if there are fewer than 2 classes, or `temperature` is not in [0.1, 10].

    Example:
        >>> layer = tfvae.layers.Concrete((20, 10), temperature=0.5)  # 20 variables of 10 classes
        >>> float(tf.reduce_sum(layer.transform(tf.fill([20, 10], 0.5), tf.zeros([20, 10]))))
        20.0

    References:
        Maddison, Mnih and Teh (2017), The Concrete distribution, arXiv:1611.00712.
        Jang, Gu and Poole (2017), Categorical reparameterization with Gumbel-softmax,
        arXiv:1611.01144.
    """

    support = Support.SIMPLEX

    def __init__(self, event_shape: tuple[int, ...] | int, **options: Any) -> None:
        super().__init__(event_shape, **options)
        _check_classes(self)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.RelaxedOneHotCategorical``, its draws kept off the corners."""
        return _RelaxedOneHotCategorical(self.temperature, **parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the probability of each class to be largest; the mean has no closed form."""
        return tf.nn.softmax(self.parameters(params)["logits"])

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the softmax of logits with Gumbel noise."""
        perturbed = _gumbel(noise, self.parameters(params)["logits"])
        return _inside(tf.nn.softmax(perturbed / self.temperature))


@keras.saving.register_keras_serializable("tfvae")
class OneHotCategorical(DistributionLayer):
    r"""One-hot categorical: one of the last axis's classes, as a vector that a decoder can read.

    *Gumbel-max*: the largest of :math:`\eta_k - \log(-\log u_k)`. No gradient flows through it:
    train with :class:`tfvae.objectives.ScoreFunction` or :class:`tfvae.objectives.VIMCO`, or
    straight through.

    Args:
        event_shape: the shape of one draw, its last axis the classes, at least 2. The network
            emits the logits. The axes before the last are independent of each other.
        straight_through: take the gradient of a draw to be that of the probabilities. It is
            biased, and has little variance.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if there are fewer than 2 classes.

    Example:
        >>> layer = tfvae.layers.OneHotCategorical((3,))
        >>> layer.transform(tf.constant([0.2, 0.9, 0.5]), tf.zeros([3])).numpy()
        array([0., 1., 0.], dtype=float32)

    References:
        Bengio, Léonard and Courville (2013), Estimating or propagating gradients through
        stochastic neurons, arXiv:1308.3432 (straight through).
    """

    noise = "uniform"
    bounds = bounded(logits=Bound())
    support = Support.ONE_HOT

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
        _check_classes(self)
        self.straight_through = straight_through
        self.reparameterised = straight_through

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.OneHotCategorical`` over floats."""
        return tfd.OneHotCategorical(**parameters, dtype=parameters["logits"].dtype)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the probabilities."""
        return tf.nn.softmax(self.parameters(params)["logits"])

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the class whose logit is largest once Gumbel noise is added, as a vector."""
        logits = self.parameters(params)["logits"]
        classes = self.event_shape[-1]
        drawn = tf.one_hot(tf.argmax(_gumbel(noise, logits), axis=-1), classes, dtype=logits.dtype)
        if not self.straight_through:
            return drawn
        soft = tf.nn.softmax(logits)
        return drawn + (soft - tf.stop_gradient(soft))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "straight_through": self.straight_through}


class _RelaxedBernoulli(tfd.RelaxedBernoulli):  # type: ignore[misc, name-defined]
    def _call_sample_n(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        return _inside(super()._call_sample_n(*args, **kwargs))


class _RelaxedOneHotCategorical(tfd.RelaxedOneHotCategorical):  # type: ignore[misc, name-defined]
    def _call_sample_n(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        return _inside(super()._call_sample_n(*args, **kwargs))


def _inside(draws: tf.Tensor) -> tf.Tensor:
    """Keep draws off 0 and 1, to which floats round them and where densities are infinite."""
    single = draws.dtype == tf.float32
    return tf.clip_by_value(
        draws, 1e-30 if single else 1e-300, 1.0 - (2.0**-24 if single else 2.0**-53)
    )


def _gumbel(noise: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return logits - tf.math.log(-tf.math.log(tf.cast(noise, logits.dtype)))


def _check_classes(layer: DistributionLayer) -> None:
    if layer.event_shape[-1] < 2:
        raise ValueError(
            "Expected `event_shape` with at least 2 classes along its last axis. "
            f"Received: event_shape={layer.event_shape}."
        )
