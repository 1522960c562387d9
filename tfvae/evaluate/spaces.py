"""Where chains move: the base noise that a prior is a map of, or its latents themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfvae import random
from tfvae.conditions import for_samples
from tfvae.evaluate.batches import UndefinedError
from tfvae.layers.support import Support
from tfvae.model import VAE


class Space:
    """Where chains move: points [C, B, D], their base density, and the latents they stand for."""

    def __init__(self, vae: VAE, sizes: Sequence[int]) -> None:
        self.vae = vae
        self.sizes = list(sizes)

    def start(self, seed: tf.Tensor, chains: int, batch: Any, condition: Any) -> tf.Tensor:
        """Draw from the prior."""
        raise NotImplementedError

    def log_base(self, points: tf.Tensor, condition: Any) -> tf.Tensor:
        """Return the log-density of the prior over points, [C, B]."""
        raise NotImplementedError

    def draws(self, points: tf.Tensor, condition: Any) -> tuple[tf.Tensor, ...]:
        """Return the latents of each group, [C, B, *latent]."""
        raise NotImplementedError


class Noise(Space):
    """The base noise of the priors, made normal: all of a chain of levels."""

    def start(self, seed: tf.Tensor, chains: int, batch: Any, condition: Any) -> tf.Tensor:
        """Draw from the prior: standard normal."""
        return random.noise("normal", seed, chains, batch, [sum(self.sizes)])

    def log_base(self, points: tf.Tensor, condition: Any) -> tf.Tensor:
        """Return the log-density of standard normal noise, [C, B]."""
        size = sum(self.sizes)
        return -0.5 * tf.reduce_sum(points**2, axis=-1) - 0.5 * size * math.log(2 * math.pi)

    def draws(self, points: tf.Tensor, condition: Any) -> tuple[tf.Tensor, ...]:
        """Return what the priors make of noise, each level given the one above it."""
        leading = tf.shape(points)[:2]
        rows = tf.reshape(points, [-1, points.shape[-1]])
        priors = self.vae.latent_priors
        parts = tf.split(rows, self.sizes, axis=-1)
        drawn: list[Any] = [None] * len(priors)
        for level in reversed(range(len(priors))):
            prior = priors[level]
            noise = tf.reshape(parts[level], [-1, *prior.noise_shape])
            if prior.noise == "uniform":
                # As near to the ends as float32 is told from them.
                noise = tf.clip_by_value(0.5 * tf.math.erfc(-noise / math.sqrt(2)), 1e-7, 1 - 1e-7)
            given = None if level == len(priors) - 1 else drawn[level + 1]
            if given is None and prior.conditional:
                given = for_samples(condition, leading)
            drawn[level] = prior.transform(tf.cast(noise, prior.compute_dtype), given)
        return tuple(
            tf.reshape(each, [leading[0], leading[1], *prior.event_shape])
            for each, prior in zip(drawn, priors, strict=True)
        )


class Latents(Space):
    """The latents themselves, of one group."""

    def start(self, seed: tf.Tensor, chains: int, batch: Any, condition: Any) -> tf.Tensor:
        """Draw from the prior, as its noise makes it."""
        prior = self.vae.prior
        assert prior.noise is not None
        noise = random.noise(prior.noise, seed, chains, batch, prior.noise_shape, prior.choices)
        rows = tf.reshape(tf.cast(noise, prior.compute_dtype), [-1, *prior.noise_shape])
        given = None
        if prior.conditional:
            given = for_samples(condition, tf.constant([chains, batch]))
        z = prior.transform(rows, given)
        return tf.reshape(z, [chains, batch, self.sizes[0]])

    def log_base(self, points: tf.Tensor, condition: Any) -> tf.Tensor:
        """Return the log-density of the prior, [C, B]."""
        (z,) = self.draws(points, condition)
        prior = self.vae.prior
        return prior(condition if prior.conditional else None).log_prob(z)

    def draws(self, points: tf.Tensor, condition: Any) -> tuple[tf.Tensor, ...]:
        """Return the points themselves, [C, B, *latent]."""
        shape = tf.concat([tf.shape(points)[:2], tf.constant(self.vae.prior.event_shape)], axis=0)
        z = tf.reshape(points, shape)
        z.set_shape([*points.shape[:2], *self.vae.prior.event_shape])
        return (z,)


def space_of(vae: VAE) -> Space:
    """Return where chains of a model move.

    Raises:
        ValueError: if there is no such space.
    """
    if vae.group_count != len(vae.latent_priors):
        raise UndefinedError(
            "Expected a model whose latents are all continuous. Received: a "
            f"{type(vae).__name__}, in which a class is summed over."
        )
    priors = vae.latent_priors
    smooth = [
        prior.noise in ("normal", "uniform") and not prior.choices and not prior.support.discrete
        for prior in priors
    ]
    if all(smooth):
        return Noise(vae, [math.prod(prior.noise_shape) for prior in priors])
    prior = priors[smooth.index(False)]
    real = prior.support == Support.REAL and prior.has_density and prior.pointwise
    if len(priors) == 1 and real and prior.noise is not None:
        return Latents(vae, [math.prod(prior.event_shape)])
    raise UndefinedError(
        "Expected priors that are smooth maps of base noise, or one of a density over real "
        f"numbers, over which chains can move. Received: prior={type(prior).__name__} over "
        f"{prior.support.value}."
    )
