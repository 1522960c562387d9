"""How much of what discrete latents could say is said: the use of codes and categories."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tfvae.evaluate.batches import UndefinedError, read
from tfvae.layers.codes import Quantized
from tfvae.layers.quantized import VectorQuantizer
from tfvae.layers.relaxed import Concrete, OneHotCategorical
from tfvae.model import VAE


class CodeUse(NamedTuple):
    """How examples use the codes of discrete latents.

    Attributes:
        perplexity: the exponential of the entropy of the codes' frequencies: K where all are as
            frequent, 1 where one is all there is. Of several categorical latents, each with K
            categories of its own, the geometric mean over them.
        used: how many codes or categories were used at all, of all latents together.
        codes: how many there are, of all latents together.
        frequencies: of each code, [K]; of several latents [d, K].
    """

    perplexity: float
    used: int
    codes: int
    frequencies: npt.NDArray[np.float64]


def code_usage(vae: VAE, x: Any, *, condition: Any = None, batch_size: int = 256) -> CodeUse:
    r"""Count which codes examples are given, or which category of each latent is most probable.

    .. math:: \exp\Bigl(-\sum_k f_k \log f_k\Bigr)

    Args:
        vae: a model whose posterior is a :class:`tfvae.layers.VectorQuantizer`,
            :class:`tfvae.layers.OneHotCategorical` or :class:`tfvae.layers.Concrete`.
        x: [N, *data], or Examples.
        condition: for a conditional model, one for each example; Examples bring theirs as y.
        batch_size: examples at a time.

    Raises:
        ValueError: for another posterior, and data that do not fit the model.

    Example:
        >>> vae = tfvae.zoo.vq_vae((8, 8), 4, codes=8, positions=2, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8))
        >>> found = tfvae.evaluate.code_usage(vae, x)
        >>> found.codes, 1 <= found.perplexity <= 8
        (8, True)
    """
    layer = vae.posterior
    if not isinstance(layer, VectorQuantizer | OneHotCategorical | Concrete):
        raise UndefinedError(
            "Expected a posterior over codes or categories: VectorQuantizer, OneHotCategorical or "
            f"Concrete. Received: {type(layer).__name__}."
        )
    data = read(vae, x, condition, "code_usage", batch_size=batch_size)
    quantized = isinstance(layer, VectorQuantizer)
    size = layer.codes if quantized else layer.event_shape[-1]
    latents = 1 if quantized else math.prod(layer.event_shape[:-1])
    counts = np.zeros((latents, size), np.int64)
    for rows in data.parts(batch_size):
        batch = data.rows(rows)
        given = vae.given(batch.seen, batch.condition)
        params = vae.encoder_params(batch.seen, condition=given)
        if quantized:
            posterior = layer(params)
            assert isinstance(posterior, Quantized)
            chosen = np.asarray(posterior.codes).reshape(-1, 1)
        else:
            shares = np.asarray(layer.mean(params))
            chosen = shares.argmax(axis=-1).reshape(len(rows), latents)
        for latent in range(latents):
            counts[latent] += np.bincount(chosen[:, latent], minlength=size)
    frequencies = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(counts > 0, frequencies * np.log(frequencies), 0)
    return CodeUse(
        perplexity=float(np.exp(-each.sum(axis=1).mean())),
        used=int(np.count_nonzero(counts)),
        codes=counts.size,
        frequencies=frequencies[0] if latents == 1 else frequencies,
    )
