"""Penalties on the codes themselves, for autoencoders whose posterior has no density."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from tfvae.objectives.base import Capability, Objective
from tfvae.trace import Trace


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class CodeNorm(Objective):
    r"""Half the squared length of the code, which keeps a regularised autoencoder's codes near 0.

    .. math:: \frac1S \sum_s \tfrac12 \|z_s\|^2

    It is what a standard normal prior asks of a point. Of all groups of latents the sum is taken.

    Example:
        >>> from tfvae import objectives
        >>> regularised = objectives.Reconstruction() + 0.1 * objectives.CodeNorm()

    References:
        Ghosh et al. (2020), From variational to deterministic autoencoders, arXiv:1903.12436.
    """

    @property
    def requires(self) -> frozenset[Capability]:
        """Draws that gradients flow through; no density."""
        return frozenset({"reparameterised"})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the penalty, [B]."""
        squares = [0.5 * tf.square(latent.z) for latent in trace.latents]
        return tf.add_n(
            [
                tf.reduce_mean(tf.reduce_sum(each, axis=list(range(2, each.shape.rank))), axis=0)
                for each in squares
            ]
        )
