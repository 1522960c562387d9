"""The distance between aggregate posterior and prior, by a kernel."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import keras
import tensorflow as tf

from tfvae import random
from tfvae.objectives.base import (
    Capability,
    Objective,
    check_choice,
    check_number,
    only_latent,
)
from tfvae.trace import Latent, Trace

_STREAM = 0x4D4D44
"""Keeps the prior's draws apart from the noise of the same step."""


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class MMD(Objective):
    r"""The squared maximum mean discrepancy between the batch's latents and prior draws.

    .. math:: \frac{1}{B(B-1)} \sum_{i \ne j} \bigl(k(z_i, z_j) + k(z'_i, z'_j)\bigr)
        - \frac{2}{B^2} \sum_{i,j} k(z_i, z'_j), \qquad z \sim q(z|x),\ z' \sim p(z)

    with :math:`k = \exp(-r^2 / C)` (rbf) or :math:`C / (C + r^2)` (imq) of the distance r, and
    C = 2 D s² for D latents: the mean r² of two draws from a normal of scale s. It is an
    unbiased estimate, so it may be negative. Kernels of several scales are summed. Unlike other
    terms it is not in nats.

    Wasserstein autoencoder: ``Reconstruction() + 10.0 * MMD("imq")``. InfoVAE with its alpha and
    lambda: ``ELBO(beta=1 - alpha) + (alpha + lambda - 1) * MMD()``.

    Prior draws are a function of `seed` and the step.

    Args:
        kernel: ``"rbf"`` or ``"imq"``.
        scales: the scales s of the kernels, positive.
        seed: of the prior draws.

    Raises:
        ValueError: if `kernel` is unknown, or `scales` is empty or holds a number that is not
            positive and finite.

    References:
        Gretton et al. (2012), A kernel two-sample test, JMLR 13.
        Zhao, Song and Ermon (2019), InfoVAE, arXiv:1706.02262.
        Tolstikhin et al. (2018), Wasserstein auto-encoders, arXiv:1711.01558.
    """

    kernel: Literal["rbf", "imq"] = "rbf"
    scales: tuple[float, ...] = (1.0,)
    seed: int = 0

    @property
    def latent_groups(self) -> frozenset[int]:
        """One: it is defined for flat VAEs."""
        return frozenset({1})

    def __post_init__(self) -> None:
        check_choice("kernel", self.kernel, ("rbf", "imq"))
        if not isinstance(self.scales, tuple) or not self.scales:
            raise ValueError(
                "Expected `scales` to be a tuple of at least one positive number. "
                f"Received: scales={self.scales!r}."
            )
        for scale in self.scales:
            check_number("scales", scale, minimum=0)
            if scale == 0:
                raise ValueError("Expected `scales` to be positive. Received: 0.")

    @property
    def requires(self) -> frozenset[Capability]:
        """Draws that gradients flow through; no density."""
        return frozenset({"reparameterised"})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the squared discrepancy, a scalar."""
        latent = only_latent(self, trace)
        z = _flat(latent.z)
        seed = tf.cast(random.fold(self.seed, _STREAM, trace.step), tf.int32)
        return self.distance(z, _flat(_prior_draws(latent, seed)))

    def distance(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Return the estimate from draws [S, B, D] of two distributions, its mean over S."""
        count = tf.cast(tf.shape(a)[1], a.dtype)
        pairs = tf.maximum(count * (count - 1), 1)

        def within(z: tf.Tensor) -> tf.Tensor:
            each = self._kernel(z, z)
            diagonal = tf.reduce_sum(tf.linalg.diag_part(each), axis=-1)
            return (tf.reduce_sum(each, axis=[-2, -1]) - diagonal) / pairs

        between = tf.reduce_mean(self._kernel(a, b), axis=[-2, -1])
        return tf.reduce_mean(within(a) + within(b) - 2 * between)

    def _kernel(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        square = tf.reduce_sum((a[:, :, None] - b[:, None]) ** 2, axis=-1)
        widths = [2 * scale**2 * a.shape[-1] for scale in self.scales]
        if self.kernel == "rbf":
            return tf.add_n([tf.exp(-square / width) for width in widths])
        return tf.add_n([width / (width + square) for width in widths])


def _flat(z: tf.Tensor) -> tf.Tensor:
    size = functools.reduce(lambda a, b: a * b, z.shape[2:], 1)
    return tf.reshape(z, [z.shape[0], -1, size])


def _prior_draws(latent: Latent, seed: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(latent.z)
    if latent.prior.batch_shape.rank:
        return latent.prior.sample(shape[0], seed=seed)  # One prior for each example.
    return tf.reshape(latent.prior.sample(shape[0] * shape[1], seed=seed), shape)
