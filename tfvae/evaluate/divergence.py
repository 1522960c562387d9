"""The KL of each latent: what each of them costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import random
from tfvae.evaluate.batches import UndefinedError, read
from tfvae.model import VAE
from tfvae.objectives import check_samples


def kl_per_dimension(
    vae: VAE,
    x: Any,
    *,
    samples: int = 16,
    seed: int = 0,
    condition: Any = None,
    batch_size: int = 256,
) -> tuple[npt.NDArray[np.float64], ...]:
    r"""Return the mean KL of each latent, in nats.

    .. math:: \frac1N \sum_n \mathrm{KL}(q(z_d|x_n) \| p(z_d))

    of posteriors and priors that are independent over the latents. Closed form where there is
    one, the mean over `samples` draws otherwise.

    Args:
        vae: the model.
        x: [N, *data], or Examples.
        samples: draws of each example, S.
        seed: of the draws.
        condition: for a conditional model, one for each example; Examples bring theirs as y.
        batch_size: examples at a time.

    Returns:
        For each group of latents [d].

    Raises:
        ValueError: for samples < 1, data that do not fit, and latents that are not independent.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=3, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8))
        >>> tfvae.evaluate.kl_per_dimension(vae, x)[0].shape
        (3,)
    """
    check_samples(samples)
    check_densities(vae)
    data = read(vae, x, condition, "kl_per_dimension", batch_size=batch_size)
    totals: list[npt.NDArray[np.float64]] | None = None
    for rows in data.parts(batch_size):
        batch = data.rows(rows)
        folded = random.fold(seed, random.TEST, int(rows[0]))
        latents = vae.latents(
            batch.seen, samples, folded, condition=batch.condition, mask=batch.mask
        )
        try:
            each = [tf.reduce_sum(latent.kl_per_dimension, axis=0).numpy() for latent in latents]
        except TypeError as error:
            raise UndefinedError(str(error)) from error
        parts = [part.astype(np.float64) for part in each]
        totals = parts if totals is None else [a + b for a, b in zip(totals, parts, strict=True)]
    assert totals is not None
    return tuple(total / len(data) for total in totals)


def check_densities(vae: VAE) -> None:
    """Refuse models that have no KL.

    Raises:
        ValueError: for a prior or posterior without a density.
    """
    pairs = [("prior", prior) for prior in vae.latent_priors]
    pairs += [("posterior", each) for each in getattr(vae, "posteriors", [vae.posterior])]
    for slot, layer in pairs:
        if not layer.has_density:
            raise UndefinedError(
                f"Expected a {slot} with a density, without which there is no KL. "
                f"Received: {slot}={type(layer).__name__}."
            )
