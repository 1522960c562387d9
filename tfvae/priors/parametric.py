"""A prior of the family of any distribution layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.layers.base import DistributionLayer
from tfvae.priors.base import Prior


@keras.saving.register_keras_serializable("tfvae.priors")
class Parametric(Prior):
    r"""A prior of the family of any distribution layer, learned or fixed.

    .. math:: p(z) = f(z; \theta)

    with one set of parameters theta in place of a network's. A posterior and its prior can so be
    of one family, on whatever support: Gamma against Gamma, Dirichlet against Dirichlet.

    Args:
        layer: a distribution layer; the prior has its event shape, support and sampler.
        learn: train the parameters and the layer's own weights, which a flow has, with the model,
            or keep them.
        values: the parameters to start from, by the names of ``layer.parameters``: numbers, or
            arrays that broadcast to the event. Those left out start where the network's raw
            output would be 0.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `layer` is not a distribution layer, or is itself a prior.
        ValueError: for an unknown parameter, or a value outside the layer's bounds.

    Example:
        >>> gamma = tfvae.layers.Gamma((3,))
        >>> prior = tfvae.priors.Parametric(gamma, values={"concentration": 2.0, "rate": 4.0})
        >>> np.round(prior(None).mean(), 3)
        array([0.5, 0.5, 0.5], dtype=float32)
    """

    parts: ClassVar[tuple[str, ...]] = ("layer",)

    def __init__(
        self,
        layer: DistributionLayer,
        *,
        learn: bool = True,
        values: Mapping[str, npt.ArrayLike] | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        self._check_layer(layer)
        super().__init__(layer.event_shape, name=name, dtype=dtype, trainable=trainable)
        self.layer = layer
        if not learn:  # nor what the layer itself may train, such as a flow's networks
            layer.trainable = False
        self.learn = learn
        self.values = {} if values is None else dict(values)
        self._take_after(layer)
        raw = self.initial()
        self.raw = self.add_weight(
            shape=layer.params_shape,
            initializer=lambda shape, dtype: tf.constant(raw, dtype),
            trainable=learn,
            name="raw",
        )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the base noise that the layer's map takes."""
        return self.layer.noise_shape

    def initial(self) -> npt.NDArray[np.float64]:
        """Return the layer's raw outputs to start from, [*layer.params_shape]."""
        return _raw_outputs(self.layer, self.values)

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return the layer's distribution at the prior's parameters."""
        return self.layer(tf.convert_to_tensor(self.raw))

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Map base noise as the layer does."""
        return self.layer.transform(noise, tf.convert_to_tensor(self.raw))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        values = {name: np.asarray(value).tolist() for name, value in self.values.items()}
        return {**super().get_config(), "learn": self.learn, "values": values}


def _raw_outputs(
    layer: DistributionLayer, values: Mapping[str, npt.ArrayLike]
) -> npt.NDArray[np.float64]:
    """Return the raw outputs at which a layer's parameters have these values, by bisection."""
    raw = np.zeros(layer.params_shape)
    names = list(layer.parameters(tf.constant(raw)))
    ends = np.cumsum([0, *layer.block_sizes])
    for name, value in values.items():
        if name not in names or len(names) != len(layer.block_sizes):
            raise ValueError(
                f"Expected `values` to name parameters of {type(layer).__name__}, "
                f"{', '.join(names)}, each with a block of its own. Received: {name!r}."
            )
        block = np.s_[..., ends[names.index(name)] : ends[names.index(name) + 1]]
        wanted = np.broadcast_to(np.asarray(value, np.float64), raw[block].shape)
        low, high = np.full(wanted.shape, -100.0), np.full(wanted.shape, 100.0)
        for _ in range(60):  # 200 / 2^60 is below a float32's spacing: parameters rise with raw
            raw[block] = 0.5 * (low + high)
            less = np.asarray(layer.parameters(tf.constant(raw))[name]) < wanted
            low, high = np.where(less, raw[block], low), np.where(less, high, raw[block])
        reached = np.asarray(layer.parameters(tf.constant(raw))[name])
        if not np.allclose(reached, wanted, rtol=1e-4, atol=1e-4):
            raise ValueError(
                f"Expected `values[{name!r}]` within the bounds of {type(layer).__name__}. "
                f"Received: {value!r}; the nearest is {reached.ravel()[0]:.6g}."
            )
    return raw
