"""A point: the posterior of a plain autoencoder."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.numerics import FREE, bounded
from tfvae.layers.support import Support


@keras.saving.register_keras_serializable("tfvae")
class Deterministic(DistributionLayer):
    r"""A point mass, :math:`\delta(z - \mu)`: the encoder's output is the code.

    As a posterior it makes an autoencoder. It has no density, so there is no KL and no bound on
    log p(x): objectives are made of :class:`tfvae.objectives.Reconstruction` and penalties, and
    no ELBO is reported.

    Args:
        event_shape: the shape of one draw. The network emits it.
        activation: ``"linear"``, or ``"sigmoid"`` for codes in [0, 1], whose mean activations
            :class:`tfvae.objectives.KLSparsity` keeps low.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.Deterministic((2,))
        >>> layer.has_density, layer(tf.constant([[1.0, 2.0]])).sample().numpy()
        (False, array([[1., 2.]], dtype=float32))

    References:
        Ghosh et al. (2020), From variational to deterministic autoencoders, arXiv:1903.12436.
    """

    bounds = bounded(loc=FREE)
    has_density = False

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        activation: Literal["linear", "sigmoid"] = "linear",
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, **kwargs)
        if activation not in ("linear", "sigmoid"):
            raise ValueError(
                'Expected `activation` to be "linear" or "sigmoid". '
                f"Received: activation={activation!r}."
            )
        self.activation = activation
        if activation == "sigmoid":
            self.support = Support.UNIT

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the point as ``loc``."""
        (raw,) = self._split(params)
        return {"loc": tf.sigmoid(raw) if self.activation == "sigmoid" else raw}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.Deterministic``, whose ``log_prob`` is no density."""
        return tfd.Deterministic(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the point."""
        return self.parameters(params)["loc"]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "activation": self.activation}
