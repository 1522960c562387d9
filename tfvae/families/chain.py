"""Rows drawn from a chain of priors, from the top down, each by its own seed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfvae import random
from tfvae.generation import (
    Generated,
    Generative,
    base_noise,
    check_request,
    compiled,
    in_batches,
    row_seeds,
    sampled,
)
from tfvae.layers.base import DistributionLayer
from tfvae.objectives.base import check_number
from tfvae.priors import Prior


class Chain(Generative):
    """What the priors of a hierarchy's levels, a decoder and a likelihood make together.

    Attributes:
        priors: of each level, level 0's first; below the top each is given the draw above.
    """

    priors: list[Prior]

    @property
    def levels(self) -> int:
        """How many levels of latents there are."""
        return len(self.priors)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one z_0, which the decoder takes."""
        return self.priors[0].event_shape

    @property
    def latent_priors(self) -> tuple[Prior, ...]:
        """The prior of each level."""
        return tuple(self.priors)

    @property
    def latent_names(self) -> tuple[str, ...]:
        """What the levels are called."""
        return tuple(f"z_{level}" for level in range(self.levels))

    @property
    def latent_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one draw of each level."""
        return tuple(prior.event_shape for prior in self.priors)

    def generate(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        seeds: Any = None,
        temperature: float | Sequence[float] = 1.0,
        condition: Any = None,
        batch_size: int = 1024,
    ) -> Generated:
        """Draw from the top down, each row a function of its own seed.

        Args:
            n: as of :meth:`tfvae.VAE.generate`, as are `seed`, `seeds` and `batch_size`.
            seed: the first row's seed.
            seeds: the rows' seeds, int64 [n], instead of `n` and `seed`.
            temperature: scale of the priors' noise, one for all levels or one for each, level 0's
                first. Each level's noise is a stream of its own: what one level draws does not
                change another's noise.
            condition: not taken.
            batch_size: rows decoded at a time.

        Returns:
            ``Generated(z, mean [n, *data], sample [n, *data])``, z a tuple of [n, *latent] for
            each level, level 0's first.

        Raises:
            ValueError: as of :meth:`tfvae.VAE.generate`, and for temperatures that are neither
                one nor as many as there are levels.
        """
        rows = row_seeds(n, seed, seeds)
        scales = self.temperatures(temperature)
        check_request(self, len(rows), scales[-1], condition)
        scale = np.tile(np.array(scales, np.float32), (len(rows), 1))
        *z, mean, sample = in_batches(self._draws, batch_size, rows, scale)
        return Generated(tuple(z), mean, sample)

    def temperatures(self, given: float | Sequence[float]) -> tuple[float, ...]:
        """Return a temperature for each level, or say what is wrong with those that are given."""
        values: tuple[Any, ...] = (given,) * self.levels
        if isinstance(given, Iterable) and not isinstance(given, str):
            values = tuple(given)
        # Of an array, numbers of NumPy's.
        values = tuple(each.item() if isinstance(each, np.generic) else each for each in values)
        if len(values) != self.levels:
            raise ValueError(
                f"Expected `temperature` to be one number, or one for each of the {self.levels} "
                f"levels. Received: temperature={given!r}."
            )
        for value in values:
            check_number("temperature", value, minimum=0)
        return tuple(map(float, values))

    def generate_rows(
        self, seed: tf.Tensor, temperature: tf.Tensor, condition: tf.Tensor | None = None
    ) -> Generated:
        """Draw rows from int64 seeds [B] and float32 temperatures [B, levels]."""
        top, likelihood = self.levels - 1, self.likelihood
        streams: list[tuple[DistributionLayer, int]] = [
            (prior, random.level(random.LATENT, level)) for level, prior in enumerate(self.priors)
        ]
        *noises, other = base_noise(seed, [*streams, (likelihood, random.OBSERVATION)])
        z: list[Any] = [None] * self.levels
        for level in reversed(range(self.levels)):
            prior, noise = self.priors[level], noises[level]
            given = None if level == top else z[level + 1]
            if noise is None:
                z[level] = sampled(prior, seed, streams[level][1], given)
            else:
                axes = [1] * len(prior.noise_shape)
                scale = tf.reshape(temperature[:, level], [-1, *axes])
                z[level] = prior.transform(prior.tempered(noise, scale), given)
        params = self.decoder_params(z[0])
        if other is None:
            sample = sampled(likelihood, seed, random.OBSERVATION, params)
        else:
            sample = likelihood.transform(other, params)
        return Generated(tuple(z), likelihood.mean(params), sample)

    def moved(self, z: Sequence[tf.Tensor], shift: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        r"""Move latents of any level, and take those of the levels below along.

        .. math:: z_l' = \mu_l(z_{l+1}') + \frac{\sigma_l(z_{l+1}')}{\sigma_l(z_{l+1})}
            (z_l - \mu_l(z_{l+1})) + s_l

        with the mean and the standard deviation of p(z_l|z_{l+1}): below what is moved, each level
        stays where it was within its prior. Of a prior that is a location plus a scale times noise,
        as the Normal is, that is the same noise.

        Args:
            z: the levels, level 0's first, each [B, *latent].
            shift: how far each is moved, [B, *latent].

        Returns:
            The levels after it, level 0's first.

        Raises:
            ValueError: if latents or shifts are not as many as there are levels.
        """
        for name, given in (("z", z), ("shift", shift)):
            if len(given) != self.levels:
                raise ValueError(
                    f"Expected `{name}` to hold one for each of the {self.levels} levels. "
                    f"Received: {len(given)}."
                )
        top = self.levels - 1
        out: list[Any] = [None] * self.levels
        out[top] = z[top] + shift[top]
        for level in reversed(range(top)):
            before, after = (self.priors[level](above[level + 1]) for above in (z, out))
            place = (tf.cast(z[level], before.dtype) - before.mean()) / before.stddev()
            step = tf.cast(shift[level], before.dtype)
            out[level] = after.mean() + after.stddev() * place + step
        return tuple(out)

    @functools.cached_property
    def _draws(self) -> Callable[..., tuple[tf.Tensor, ...]]:
        """Rows, compiled: the latents of each level, means and samples."""

        def rows(seed: tf.Tensor, temperature: tf.Tensor) -> tuple[tf.Tensor, ...]:
            z, mean, sample = self.generate_rows(seed, temperature)
            return (*z, mean, sample)

        specs = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, self.levels], tf.float32)
        return compiled(rows, self, *specs)
