"""Penalties on the aggregate posterior q(z) that push its latents apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.kl import AnyIndependent
from tfvae.objectives.base import (
    Capability,
    Objective,
    check_choice,
    check_number,
    check_samples,
    only_latent,
)
from tfvae.trace import Distribution, Trace

tfd = tfp.distributions


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class TotalCorrelation(Objective):
    r"""The total correlation of the aggregate posterior, estimated from a batch.

    .. math:: \mathrm{KL}\Bigl(q(z) \Big\| \prod_d q(z_d)\Bigr), \qquad
        q(z) = \frac1N \sum_{n=1}^N q(z|x_n)

    The beta-TCVAE is ``ELBO() + (beta - 1) * TotalCorrelation()``. q(z) is estimated from the
    posteriors of the batch's B examples:

    - ``"weighted"``: all weigh 1/B. Its q(z_i) is too large, for the example that z_i came from
      counts 1/B and not 1/N. Chen et al. weigh 1/(N B), which adds the constant (D - 1) log N
      to the estimate and nothing to its gradient.
    - ``"stratified"``: the example that z_i came from weighs 1/N, the others share the rest
      evenly. Its q(z_i) is unbiased. (Chen et al. put an uneven share on one of the others;
      this is the mean over which.)

    Args:
        sampling: ``"weighted"`` or ``"stratified"``.
        dataset_size: N, for ``"stratified"``; None takes what the pass knows, which is the
            number of examples in the arrays that ``fit`` was given.

    Raises:
        ValueError: if `sampling` is unknown, dataset_size < 1, or N is needed and not known.
        TypeError: if the posterior is not independent over the latents.

    References:
        Chen et al. (2018), Isolating sources of disentanglement in VAEs, arXiv:1802.04942.
    """

    sampling: Literal["weighted", "stratified"] = "weighted"
    dataset_size: int | None = None

    @property
    def latent_groups(self) -> frozenset[int]:
        """One: it is defined for flat VAEs."""
        return frozenset({1})

    def __post_init__(self) -> None:
        check_choice("sampling", self.sampling, ("weighted", "stratified"))
        if self.dataset_size is not None:
            check_samples(self.dataset_size, argument="dataset_size")

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the total correlation, a scalar."""
        latent = only_latent(self, trace)
        posterior = latent.posterior
        if not isinstance(posterior, AnyIndependent) or len(posterior.batch_shape) != 1:
            raise TypeError(
                "Expected a posterior that is independent over the latents, for whose marginals "
                f"TotalCorrelation asks. Received: {type(posterior).__name__}."
            )
        z = latent.z
        each = posterior.distribution.log_prob(z[:, :, None])  # [S, B of z, B of x, *event]
        each = tf.reshape(each, [z.shape[0], tf.shape(z)[1], tf.shape(z)[1], -1])
        weights = tf.cast(self._log_weights(trace), each.dtype)
        joint = tf.reduce_logsumexp(tf.reduce_sum(each, axis=-1) + weights, axis=2)
        marginals = tf.reduce_logsumexp(each + weights[:, :, None], axis=2)
        return tf.reduce_mean(joint - tf.reduce_sum(marginals, axis=-1))

    def _log_weights(self, trace: Trace) -> tf.Tensor:
        """Return the log weights of the posteriors (columns) in each z's q(z), [B, B]."""
        batch = tf.shape(trace.x)[0]
        count = tf.cast(batch, tf.float64)
        if self.sampling == "weighted":
            return tf.fill([batch, batch], -tf.math.log(count))
        size = self.dataset_size or trace.dataset_size
        if size is None:
            raise ValueError(
                "Expected the number of training examples, which stratified sampling needs and "
                "which a pass knows only while `fit` trains on arrays. Received: "
                "dataset_size=None. Give TotalCorrelation(dataset_size=...), or use "
                'sampling="weighted".'
            )
        own = tf.fill([batch], tf.constant(-math.log(size), tf.float64))
        rest = tf.math.log(tf.constant(1 - 1 / size, tf.float64) / tf.maximum(count - 1, 1))
        return tf.linalg.set_diag(tf.fill([batch, batch], rest), own)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class DIP(Objective):
    r"""DIP-VAE: the covariance of the aggregate posterior, pulled to the identity.

    .. math:: \lambda_{od} \sum_{i \ne j} C_{ij}^2 + \lambda_d \sum_i (C_{ii} - 1)^2

    Kind I takes :math:`C = \mathrm{Cov}_x(\mathrm E[z|x])`, kind II adds
    :math:`\mathrm E_x(\mathrm{Cov}[z|x])`, which makes it the covariance of z itself.
    Covariances are over the batch, divided by B.

    Args:
        lambda_od: weight of the entries off the diagonal.
        lambda_d: weight of the diagonal.
        kind: ``"i"`` or ``"ii"``.

    Raises:
        ValueError: if a weight is negative or not finite, or `kind` is unknown.
        TypeError: if the posterior has no mean or covariance in closed form.

    References:
        Kumar, Sattigeri and Balakrishnan (2018), Variational inference of disentangled latent
        concepts from unlabeled observations, arXiv:1711.00848.
    """

    lambda_od: float = 10.0
    lambda_d: float = 100.0
    kind: Literal["i", "ii"] = "i"

    @property
    def latent_groups(self) -> frozenset[int]:
        """One: it is defined for flat VAEs."""
        return frozenset({1})

    def __post_init__(self) -> None:
        check_number("lambda_od", self.lambda_od, minimum=0)
        check_number("lambda_d", self.lambda_d, minimum=0)
        check_choice("kind", self.kind, ("i", "ii"))

    @property
    def requires(self) -> frozenset[Capability]:
        """Nothing: moments are functions of the posterior's parameters."""
        return frozenset()

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the penalty, a scalar."""
        posterior = only_latent(self, trace).posterior
        size = math.prod(posterior.event_shape)
        try:
            mean = tf.reshape(posterior.mean(), [-1, size])
            centred = mean - tf.reduce_mean(mean, axis=0)
            covariance = tf.reduce_mean(centred[:, :, None] * centred[:, None], axis=0)
            if self.kind == "ii":
                covariance += tf.reduce_mean(_covariance(posterior, size), axis=0)
        except NotImplementedError as error:
            raise TypeError(
                "Expected a posterior with its mean and covariance in closed form, which DIP "
                f"needs. Received: {type(posterior).__name__}."
            ) from error
        diagonal = tf.linalg.diag_part(covariance)
        off = tf.reduce_sum(covariance**2) - tf.reduce_sum(diagonal**2)
        return self.lambda_od * off + self.lambda_d * tf.reduce_sum((diagonal - 1) ** 2)


def _covariance(posterior: Distribution, size: int) -> tf.Tensor:
    if isinstance(posterior, AnyIndependent):
        return tf.linalg.diag(tf.reshape(posterior.variance(), [-1, size]))
    return tf.reshape(posterior.covariance(), [-1, size, size])
