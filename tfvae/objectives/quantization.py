"""What a vector-quantised posterior adds to the ELBO: vectors and codes drawn to each other."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from tfvae.layers.codes import Quantized
from tfvae.objectives.base import Capability, Objective, only_latent
from tfvae.trace import Trace


class _Distance(Objective):
    """A squared distance between vectors and codes, with the gradient to one of them."""

    @property
    def latent_groups(self) -> frozenset[int]:
        """One: it is defined for flat VAEs."""
        return frozenset({1})

    @property
    def requires(self) -> frozenset[Capability]:
        """Nothing: it is a function of the posterior's parameters."""
        return frozenset()

    def _posterior(self, trace: Trace) -> Quantized:
        posterior = only_latent(self, trace).posterior
        if not isinstance(posterior, Quantized):
            raise TypeError(
                "Expected the posterior layers.VectorQuantizer, for whose codes "
                f"{type(self).__name__} is defined. Received: {type(posterior).__name__}."
            )
        return posterior


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class Commitment(_Distance):
    r"""The commitment loss, which keeps the encoder's vectors near their codes.

    .. math:: \| e(x) - \mathrm{sg}[c] \|^2

    summed over the event; sg stops gradients. A VQ-VAE is ``ELBO() + 0.25 * Commitment()``, to
    which a codebook that gradients train adds :class:`CodebookLoss`.

    Raises:
        TypeError: if the posterior is not a :class:`tfvae.layers.VectorQuantizer`.

    References:
        Van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation learning,
        arXiv:1711.00937.
    """

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the squared distance, [B]."""
        posterior = self._posterior(trace)
        return _distance(posterior, posterior.encoded, tf.stop_gradient(posterior.quantized))


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class CodebookLoss(_Distance):
    r"""The codebook loss, which draws the codes to the encoder's vectors.

    .. math:: \| \mathrm{sg}[e(x)] - c \|^2

    summed over the event. For ``VectorQuantizer(update="gradient")``: its VQ-VAE is
    ``ELBO() + CodebookLoss() + 0.25 * Commitment()``. A codebook of moving averages has no
    gradient, so it adds no more than its value.

    Raises:
        TypeError: if the posterior is not a :class:`tfvae.layers.VectorQuantizer`.

    References:
        Van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation learning,
        arXiv:1711.00937.
    """

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the squared distance, [B]."""
        posterior = self._posterior(trace)
        return _distance(posterior, tf.stop_gradient(posterior.encoded), posterior.quantized)


def _distance(posterior: Quantized, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    axes = list(range(-posterior.event_shape.rank, 0))
    return tf.reduce_sum(tf.math.squared_difference(a, b), axis=axes)
