"""Rows drawn from a model, each a function of its own seed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfvae import random
from tfvae.layers.base import DistributionLayer
from tfvae.priors import Prior


class Generated(NamedTuple):
    """What :meth:`tfvae.VAE.generate` makes: latents, the means of p(x|z), and draws from it."""

    z: tf.Tensor
    mean: tf.Tensor
    sample: tf.Tensor


def row_seeds(n: int | None, seed: int, seeds: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the rows' seeds, int64 [n]: those given, or n from `seed` on.

    Raises:
        ValueError: unless it is one or the other, with at least one row and 64-bit integers.
    """
    if seeds is not None:
        rows = np.asarray(seeds)
        if n is not None or rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
            raise ValueError(
                "Expected `seeds` to be a list of at least one integer, given without `n`. "
                f"Received: n={n}, seeds of shape {rows.shape} and dtype {rows.dtype}."
            )
        return rows.astype(np.int64)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"Expected `n` to be a whole number of at least 1. Received: n={n!r}.")
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"Expected `seed` to be a 64-bit integer. Received: seed={seed}.")
    # From the last of them on, rows wrap around.
    return np.arange(n, dtype=np.uint64).__add__(np.uint64(seed % 2**64)).view(np.int64)


def check_request(prior: Prior, rows: int, temperature: float, condition: Any) -> None:
    """Refuse temperatures and conditions that a prior cannot follow.

    Raises:
        ValueError: for a temperature that is negative, or other than 1 where the prior is no map
            of base noise, and for conditions that are missing, not asked for, or not one a row.
    """
    number = isinstance(temperature, int | float | np.number)
    if not (number and np.isfinite(temperature) and temperature >= 0):
        raise ValueError(
            "Expected `temperature` to be a number that is not negative. "
            f"Received: temperature={temperature!r}."
        )
    if temperature != 1 and prior.noise is None:
        raise ValueError(
            f"Expected temperature=1, for the draws of the prior {type(prior).__name__} are no map "
            f"of base noise that it could scale. Received: temperature={temperature}."
        )
    kind = f"the prior {type(prior).__name__}"
    if condition is not None and not prior.conditional:
        raise ValueError(f"Expected no `condition`: {kind} is not conditional. Received: one.")
    given = 0 if condition is None or not np.ndim(condition) else len(condition)
    if prior.conditional and given != rows:
        raise ValueError(
            f"Expected `condition` to be one for each row, as {kind} asks. "
            f"Received: {given or 'none'} for {rows} rows."
        )


def draw_latents(
    prior: Prior, seed: tf.Tensor, temperature: tf.Tensor, condition: tf.Tensor | None
) -> tf.Tensor:
    """Draw z [B, *event] from int64 seeds [B] and float32 temperatures [B]."""
    if prior.noise is None:
        return draw_rows(prior, seed, random.LATENT, condition)
    noise = random.row_noise(prior.noise, seed, prior.noise_shape, random.LATENT, prior.choices)
    scale = tf.reshape(temperature, [-1] + [1] * len(prior.noise_shape))
    return prior.transform(prior.tempered(noise, scale), condition)


def draw_rows(
    layer: DistributionLayer, seed: tf.Tensor, stream: int, params: tf.Tensor | None
) -> tf.Tensor:
    """Draw [B, *event] from int64 seeds [B] and what the layer is called with, [B, ...].

    A layer that is a map of base noise draws in portable operations; another by TFP's sampler,
    row by row.
    """
    if layer.noise is not None:
        noise = random.row_noise(layer.noise, seed, layer.noise_shape, stream, layer.choices)
        return layer.transform(noise, params)

    def one(row: tuple[tf.Tensor, ...]) -> tf.Tensor:
        key = tf.cast(random.fold(row[0], stream), tf.int32)
        return layer(row[1][None] if len(row) > 1 else None).sample(seed=key)

    rows = (seed,) if params is None else (seed, params)
    shape = tf.TensorSpec([None, *layer.event_shape][int(params is None) :], layer.compute_dtype)
    drawn = tf.map_fn(one, rows, fn_output_signature=shape)
    return tf.reshape(drawn, [-1, *layer.event_shape])
