"""What one pass through a model yields: its log terms and KL, computed when asked for."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.kl import AnyIndependent, has_closed_form

tfd = tfp.distributions

Distribution = Any
"""A ``tfd.Distribution``; TensorFlow Probability ships no types."""


@dataclass(frozen=True)
class Latent:
    """One group of latent variables: a flat VAE has one, a hierarchy one for each level.

    Attributes:
        z: draws from the posterior, [S, B, *event].
        prior: p(z), batch shape [], [B] or [S, B].
        posterior: q(z|x), batch shape [B] or [S, B].
        name: what the group is called in reports.
        closed_form: whether a closed form of KL(q‖p) may stand for the mean of log q - log p:
            not where the prior is given draws that themselves depend on z, as those of the level
            above do in bottom-up inference.
    """

    z: tf.Tensor
    prior: Distribution
    posterior: Distribution
    name: str = "z"
    closed_form: bool = True

    @property
    def pair(self) -> tuple[Distribution, Distribution]:
        """The posterior and the prior; of paths, the distributions of their steps at the draw."""
        q, p = (
            each.conditionals(self.z) if hasattr(each, "conditionals") else each
            for each in (self.posterior, self.prior)
        )
        return q, p

    @property
    def has_closed_form_kl(self) -> bool:
        """Whether KL(q‖p) of this pair of distributions has a registered closed form."""
        return self.closed_form and has_closed_form(*self.pair)

    @property
    def log_prior(self) -> tf.Tensor:
        """Return log p(z), [S, B]."""
        return self.prior.log_prob(self.z)

    @property
    def log_posterior(self) -> tf.Tensor:
        """Return log q(z|x), [S, B]."""
        return self.posterior.log_prob(self.z)

    @property
    def kl_monte_carlo(self) -> tf.Tensor:
        """Return the mean over samples of log q(z|x) - log p(z), [B]."""
        return tf.reduce_mean(self.log_posterior - self.log_prior, axis=0)

    @property
    def kl(self) -> tf.Tensor:
        """Return KL(q(z|x)‖p(z)), [B]: closed form where one exists, Monte Carlo otherwise."""
        q, p = self.pair
        if not (self.closed_form and has_closed_form(q, p)):
            return self.kl_monte_carlo
        kl = tfd.kl_divergence(q, p)
        # In a hierarchy the posterior of a level depends on the draw of the level above.
        return kl if kl.shape.rank == 1 else tf.reduce_mean(kl, axis=0)

    @property
    def kl_per_dimension(self) -> tf.Tensor:
        """Return the KL of each value of z, [B, d], where posterior and prior are independent.

        Raises:
            TypeError: if either has no distribution for each value.
        """
        q, p = self.pair
        for slot, distribution in (("posterior", q), ("prior", p)):
            if not isinstance(distribution, AnyIndependent) or (
                distribution.distribution.event_shape.rank
            ):
                raise TypeError(
                    f"Expected a {slot} that is independent over the latents, each of which has "
                    f"a KL of its own. Received: {type(distribution).__name__}."
                )
        q, p = q.distribution, p.distribution
        if self.closed_form and has_closed_form(q, p):
            each = tfd.kl_divergence(q, p)
            each = each if each.shape.rank < self.z.shape.rank else tf.reduce_mean(each, axis=0)
        else:
            each = tf.reduce_mean(q.log_prob(self.z) - p.log_prob(self.z), axis=0)
        return tf.reshape(each, [tf.shape(self.z)[1], math.prod(self.z.shape[2:])])


@dataclass(frozen=True)
class Trace:
    """One pass of a batch of B examples with S posterior samples each.

    Every model family yields a Trace, so every objective and every evaluation works with every
    family. All terms are in nats and summed over the event.

    Attributes:
        x: the target of the likelihood, [B, *data].
        latents: the groups of latent variables.
        decode: from the groups' draws to p(x|z), batch shape [S, B].
        condition: what prior, encoder and decoder were given beside their input, or None.
        mask: 1 where a value of x was observed and 0 where not, broadcastable to x; or None.
        weight: weights of the examples, [B], or None.
        training: whether the pass is part of training.
        step: number of optimizer steps taken so far, int64, for schedules.
        dataset_size: number of training examples, or None where it is not known.
        jacobian: returns the derivative of the codes, the posterior's means, by what the encoder
            saw, [B, d, *data]; None where a family has none.
        log_label: log q(y|x) of the labels, [B], 0 of examples without one; None where the model
            has no classifier.
        labelled: the share of labelled examples in the data set, or None where it is not known.
        relate: of groups that depend on each other's draws, returns the groups at draws that it
            is given; None where groups are independent.
        weight_kl: KL of the posterior of Bayesian layers' weights from its prior, of all of them,
            a scalar; None where there are none.
    """

    x: tf.Tensor
    latents: tuple[Latent, ...]
    decode: Callable[[tuple[tf.Tensor, ...]], Distribution]
    condition: tf.Tensor | None = None
    mask: tf.Tensor | None = None
    weight: tf.Tensor | None = None
    training: bool = False
    step: tf.Tensor | int = 0
    dataset_size: int | None = None
    jacobian: Callable[[], tf.Tensor] | None = None
    log_label: tf.Tensor | None = None
    labelled: tf.Tensor | None = None
    relate: Callable[[tuple[tf.Tensor, ...]], tuple[Latent, ...]] | None = None
    weight_kl: tf.Tensor | None = None

    @property
    def samples(self) -> int:
        """S, the number of posterior samples of each example."""
        return int(self.latents[0].z.shape[0])

    @functools.cached_property
    def likelihood(self) -> Distribution:
        """Return p(x|z), batch shape [S, B]."""
        return self.decode(tuple(latent.z for latent in self.latents))

    @functools.cached_property
    def log_likelihood(self) -> tf.Tensor:
        """Return log p(x|z), [S, B], over the observed values of x."""
        if self.mask is None:
            return self.likelihood.log_prob(self.x)
        mask, joint = tf.cast(self.mask, tf.bool), 0
        if isinstance(self.likelihood, AnyIndependent):
            joint = self.likelihood.distribution.event_shape.rank
        # Values that are not independent of each other are all there, or none.
        whole = mask.shape.rank == self.x.shape.rank and mask.shape[-joint:] == [1] * joint
        if not isinstance(self.likelihood, AnyIndependent) or (joint and not whole):
            raise TypeError(
                "Expected a likelihood that is independent over the values of x, since a mask "
                f"leaves some of them out. Received: {type(self.likelihood).__name__}."
            )
        each = self.likelihood.distribution.log_prob(self.x)  # [S, B, *data]
        mask = tf.reshape(mask, tf.shape(mask)[: mask.shape.rank - joint]) if joint else mask
        mask = tf.broadcast_to(mask, tf.shape(each)[1:])
        # where and not a product: an unobserved value may have log-density -inf.
        observed = tf.where(mask, each, tf.zeros_like(each))
        return tf.reduce_sum(observed, axis=list(range(2, each.shape.rank)))

    @functools.cached_property
    def log_prior(self) -> tf.Tensor:
        """Return log p(z), [S, B], summed over the groups."""
        return tf.add_n([latent.log_prior for latent in self.latents])

    @functools.cached_property
    def log_posterior(self) -> tf.Tensor:
        """Return log q(z|x), [S, B], summed over the groups."""
        return tf.add_n([latent.log_posterior for latent in self.latents])

    @functools.cached_property
    def log_weight(self) -> tf.Tensor:
        """Return the log importance weight log p(x|z) + log p(z) - log q(z|x), [S, B]."""
        return self.log_likelihood + self.log_prior - self.log_posterior

    @functools.cached_property
    def kl_per_latent(self) -> tf.Tensor:
        """Return the KL of each group of latents, [B, groups]."""
        return tf.stack([latent.kl for latent in self.latents], axis=-1)

    @functools.cached_property
    def kl(self) -> tf.Tensor:
        """Return KL(q(z|x)‖p(z)), [B], summed over the groups."""
        return tf.reduce_sum(self.kl_per_latent, axis=-1)

    @functools.cached_property
    def kl_monte_carlo(self) -> tf.Tensor:
        """Return the sampled estimate of the KL, [B], even where a closed form exists."""
        return tf.add_n([latent.kl_monte_carlo for latent in self.latents])

    @functools.cached_property
    def detached(self) -> Trace:
        """The same pass at stop_gradient(z): its gradients do not flow through the draws.

        A term's gradient along the path through z alone is the difference between the term and
        its detached twin; the difference of their values is zero.
        """
        return self.at(tf.stop_gradient)

    def at(self, change: Callable[[tf.Tensor], tf.Tensor]) -> Trace:
        """Return the same pass at draws that are changed, such as in their gradients."""
        return self.given(tuple(change(latent.z) for latent in self.latents))

    def given(self, draws: tuple[tf.Tensor, ...]) -> Trace:
        """Return the same pass at other draws, one [S', B, *event] for each group.

        What broadcasts to that does too: of draws [S', 1, *event] the posterior's terms are those
        of every draw under every example, [S', B].
        """
        if self.relate is not None:
            return replace(self, latents=self.relate(draws))
        pairs = zip(self.latents, draws, strict=True)
        return replace(self, latents=tuple(replace(latent, z=z) for latent, z in pairs))
