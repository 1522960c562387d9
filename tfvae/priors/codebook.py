"""The prior of a VQ-VAE: which code of a codebook, at each position."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.codes import Codes, pick
from tfvae.layers.quantized import VectorQuantizer
from tfvae.layers.support import Support
from tfvae.priors.base import Prior


@keras.saving.register_keras_serializable("tfvae.priors")
class Codebook(Prior):
    r"""Categorical over the rows of a codebook, at each position on its own.

    .. math:: p(z) = \prod_i p_i(k_i), \qquad z_i = c_{k_i}

    uniform, or with learned logits. It shares the codebook with the posterior of a VQ-VAE. Under
    the uniform prior the KL is log K for each position, a constant. Learned logits go to the
    logarithms of the codes' frequencies; the encoder has no gradient from them, since which code
    is nearest has none.

    *Inverse CDF*: one uniform number for each position picks its code. A temperature leaves the
    draw as it is.

    Args:
        quantizer: the :class:`tfvae.layers.VectorQuantizer` whose codes these are.
        learn: give each position logits of its own, [*positions, codes], and train them.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `quantizer` is no VectorQuantizer.

    Example:
        >>> posterior = tfvae.layers.VectorQuantizer((7, 7, 16), codes=64)
        >>> prior = tfvae.priors.Codebook(posterior)
        >>> z = prior.transform(tf.fill([2, 7, 7], 0.5), None)
        >>> z.shape, np.round(prior(None).log_prob(z) / np.log(64), 3)  # at 49 positions
        (TensorShape([2, 7, 7, 16]), array([-49., -49.], dtype=float32))

    References:
        Van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation learning,
        arXiv:1711.00937.
    """

    noise = "uniform"
    support = Support.CODES
    reparameterised = False
    parts = ("quantizer",)

    def __init__(
        self,
        quantizer: VectorQuantizer,
        *,
        learn: bool = False,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        if not isinstance(quantizer, VectorQuantizer):
            raise TypeError(
                "Expected `quantizer` to be a tfvae.layers.VectorQuantizer: the posterior whose "
                f"codes this prior draws. Received: quantizer={quantizer!r}."
            )
        super().__init__(quantizer.event_shape, name=name, dtype=dtype, trainable=trainable)
        self.quantizer = quantizer
        self.learn = learn
        positions = self.event_shape[:-1] if learn else ()
        self.logits = self.add_weight(
            shape=(*positions, quantizer.codes), initializer="zeros", trainable=learn, name="logits"
        )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One number for each position."""
        return self.event_shape[:-1]

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return :class:`tfvae.layers.codes.Codes`."""
        return Codes(self.logits, self.quantizer.codebook, self.event_shape)

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Return the codes that uniform noise [..., *positions] picks."""
        picked = pick(noise, tf.convert_to_tensor(self.logits))
        return tf.gather(tf.convert_to_tensor(self.quantizer.codebook), picked)

    def tempered(self, noise: tf.Tensor, temperature: tf.Tensor) -> tf.Tensor:
        """Return the noise as it is: it picks codes, which have no middle."""
        return noise

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "learn": self.learn}
