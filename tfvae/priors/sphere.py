"""The uniform prior on the unit sphere."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.base import tfd
from tfvae.layers.sphere import check_sphere, unit
from tfvae.layers.support import Support
from tfvae.priors.base import Prior


@keras.saving.register_keras_serializable("tfvae.priors")
class HypersphericalUniform(Prior):
    r"""The uniform prior on the unit sphere of the last axis.

    A draw is a standard normal one over its length. It fits the posteriors
    :class:`tfvae.layers.VonMisesFisher` and :class:`tfvae.layers.PowerSpherical`, from both of
    which its KL divergence has a closed form.

    Args:
        event_shape: the shape of one latent, its last axis of unit length and at least 2 long; the
            axes before are independent.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if the last axis is 1 long.

    Example:
        >>> prior = tfvae.priors.HypersphericalUniform((3,))
        >>> float(prior(None).log_prob([0.0, 0.0, 1.0]))  # -log 4 pi
        -2.531024...

    References:
        Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), Hyperspherical variational
        auto-encoders, arXiv:1804.00891.
    """

    noise = "normal"
    support = Support.SPHERE

    def __init__(self, event_shape: tuple[int, ...] | int, **options: Any) -> None:
        super().__init__(event_shape, **options)
        check_sphere(self.event_shape)

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return ``tfd.SphericalUniform`` over the last axis."""
        *lead, dim = self.event_shape
        return self._independent(tfd.SphericalUniform(dim, lead, dtype=self.compute_dtype))

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Return the noise over its length."""
        return unit(tf.cast(noise, self.compute_dtype), 1e-10)

    def tempered(self, noise: tf.Tensor, temperature: tf.Tensor) -> tf.Tensor:
        """Return the noise as it is: a uniform law has no middle to draw nearer to."""
        return noise
