"""Mixtures: one of several components, chosen by a uniform, makes the draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.multivariate import MultivariateNormal
from tfvae.layers.normal import Normal


@keras.saving.register_keras_serializable("tfvae")
class MixtureOfGaussians(DistributionLayer):
    r"""Mixture of Gaussians over the last axis, :math:`\sum_k \pi_k \mathcal N(\mu_k, \Sigma_k)`.

    As a likelihood it is a mixture density network, for data with several modes. The axes before
    the last are independent of each other, each with a choice of its own.

    A draw takes one uniform to choose a component, by the inverse CDF of :math:`\pi`, and d
    normals for its *location-scale*: :math:`\mu_k + A_k \varepsilon`. No gradient flows through
    the choice.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits
            ``[logits | loc | raw scale]``, K + 2 K d values, component after component in each
            block; the weights are ``softmax(logits)`` and the scale is ``softplus(raw) + 1e-4``.
            A full covariance adds ``[raw tilts]``, K d (d - 1) / 2 values: each component is
            then a :class:`MultivariateNormal` with its bounds. Where every output is saturated
            at once, log-densities and their gradients stay finite up to some 16 dimensions in
            float32.
        components: the number of components K.
        covariance: ``"diagonal"`` or ``"full"``.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `components` is not a positive integer or `covariance` is neither.

    Example:
        >>> layer = tfvae.layers.MixtureOfGaussians((2,), components=3)
        >>> layer.params_shape, layer.noise_shape, layer.choices
        ((15,), (3,), 1)
        >>> layer(tf.zeros([4, 15])).log_prob(tf.zeros([4, 2])).shape
        TensorShape([4])

    References:
        Bishop (1994), Mixture density networks.
    """

    noise = "normal"
    reparameterised = False

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        components: int = 5,
        covariance: Literal["diagonal", "full"] = "diagonal",
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        check_components(components)
        if covariance not in ("diagonal", "full"):
            raise ValueError(
                'Expected `covariance` to be "diagonal" or "full". '
                f"Received: covariance={covariance!r}."
            )
        self.components = components
        self.covariance = covariance
        self.choices = math.prod(self.event_shape[:-1])
        family = Normal if covariance == "diagonal" else MultivariateNormal
        shape = (*self.event_shape[:-1], components, self.event_shape[-1])
        self._component: DistributionLayer = family(shape, dtype=dtype)

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Logits, then what all components' locations, scales and tilts take."""
        each = (size for size in self._component.block_sizes if size)
        return (self.components, *(self.components * size for size in each))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The uniforms that choose, then a normal for each value."""
        return (self.choices + math.prod(self.event_shape),)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``logits`` [..., K], ``loc`` [..., K, d] and ``scale`` [..., K, d].

        With full covariances ``scale_tril`` [..., K, d, d] instead of ``scale``.
        """
        logits, raw = self._raw(params)
        return {"logits": logits, **self._component.parameters(raw)}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.MixtureSameFamily``."""
        weights = tfd.Categorical(logits=parameters.pop("logits"))
        component = self._component.distribution(**parameters)
        if component.event_shape.rank == 0:
            component = tfd.Independent(component, reinterpreted_batch_ndims=1)
        return tfd.MixtureSameFamily(weights, component)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`\sum_k \pi_k \mu_k`."""
        logits, raw = self._raw(params)
        weights = tf.nn.softmax(logits)[..., tf.newaxis]
        return tf.reduce_sum(weights * self._component.mean(raw), axis=-2)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the draw of the component that the first uniforms choose."""
        logits, raw = self._raw(params)
        uniform, normal = split_noise(tf.cast(noise, logits.dtype), self.choices, self.event_shape)
        draws = self._component.transform(normal[..., tf.newaxis, :], raw)
        return tf.reduce_sum(choose(uniform, logits)[..., tf.newaxis] * draws, axis=-2)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"components": self.components, "covariance": self.covariance}
        return {**super().get_config(), **own}

    def _raw(self, params: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the logits, [..., K], and what each component's layer takes, [..., K, m]."""
        logits, *blocks = self._split(params)
        count = self.components
        rows = [unflatten(block, (count, block.shape[-1] // count)) for block in blocks]
        return logits, tf.concat(rows, axis=-1)


def check_components(components: int) -> None:
    """Refuse a number of components that is not a positive integer."""
    if not (isinstance(components, int) and components > 0):
        raise ValueError(
            f"Expected `components` to be a positive integer. Received: components={components!r}."
        )


def choose(uniform: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the component where the cumulative weights pass `uniform`, as a one-hot vector.

    Args:
        uniform: values in (0, 1), [...].
        logits: unnormalised log-weights, [..., K].

    Returns:
        One-hot vectors [..., K].

    Example:
        >>> from tfvae.layers.mixture import choose
        >>> choose(tf.constant([0.2, 0.7]), tf.math.log([0.5, 0.25, 0.25])).numpy()
        array([[1., 0., 0.],
               [0., 1., 0.]], dtype=float32)
    """
    return tf.one_hot(choose_index(uniform, logits), logits.shape[-1], dtype=logits.dtype)


def choose_index(uniform: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the index of what :func:`choose` picks, int32 [...].

    The uniform is scaled by the very total that was summed up. It stays below it, so that the
    last component is never chosen for want of a rounding error.
    """
    weights = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
    cumulative = tf.cumsum(weights, axis=-1)
    passed = cumulative[..., :-1] <= uniform[..., tf.newaxis] * cumulative[..., -1:]
    return tf.reduce_sum(tf.cast(passed, tf.int32), axis=-1)


def split_noise(
    noise: tf.Tensor, choices: int, event_shape: tuple[int, ...]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Split flat noise into one value for each last axis and one for each value of an event."""
    chooser, rest = tf.split(noise, [choices, math.prod(event_shape)], axis=-1)
    return unflatten(chooser, event_shape[:-1]), unflatten(rest, event_shape)


def unflatten(values: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Reshape the last axis of `values` into `shape`."""
    sizes = tf.constant(shape, tf.int32, [len(shape)])
    reshaped = tf.reshape(values, tf.concat([tf.shape(values)[:-1], sizes], axis=0))
    reshaped.set_shape([*values.shape[:-1], *shape])
    return reshaped


def flatten(values: tf.Tensor, rank: int) -> tf.Tensor:
    """Reshape the last `rank` axes of `values` into one."""
    sizes = values.shape[-rank:]
    flat = tf.reshape(values, tf.concat([tf.shape(values)[:-rank], [math.prod(sizes)]], axis=0))
    flat.set_shape([*values.shape[:-rank], math.prod(sizes)])
    return flat
