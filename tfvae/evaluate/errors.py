"""How near reconstructions come to the data."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import metrics
from tfvae.evaluate.batches import Batches, Estimate, UndefinedError, read
from tfvae.metrics.images import decibels
from tfvae.model import VAE
from tfvae.text.tokeniser import PAD

_CHANNELS = (1, 3, 4)
_LEAST_SIDE = 3


class Reconstructions(NamedTuple):
    """Means over the examples, with standard errors. What is not defined for the data is None.

    Attributes:
        mse: squared error of a value.
        psnr: peak signal-to-noise ratio, in decibels; infinite where examples are reproduced.
        ssim: structural similarity, of pictures.
        accuracy: the share of tokens that are right, of sentences.
        data_range: R of psnr and ssim.
        why_not: why what is None has no meaning, by its name.
    """

    mse: Estimate | None
    psnr: Estimate | None
    ssim: Estimate | None
    accuracy: Estimate | None
    data_range: float | None
    why_not: dict[str, str]


def reconstruction(
    vae: VAE,
    x: Any,
    *,
    condition: Any = None,
    data_range: float | None = None,
    batch_size: int = 256,
) -> Reconstructions:
    """Compare examples with their reconstructions, the means of p(x|z) at the means of q(z|x).

    Where values are missing, an example's error is over those that were observed of it; an example
    of which nothing was observed has none, and is in no mean.

    Args:
        vae: the model.
        x: [N, *data], or Examples.
        condition: for a conditional model, one for each example; of sequences, what was observed
            of them. Examples bring theirs as y.
        data_range: the difference between the greatest and the least value that there can be; by
            default that of the likelihood's support or, where it has no bounds, of the data.
        batch_size: examples at a time.

    Raises:
        ValueError: for data that do not fit the model, or of which nothing was observed.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8))
        >>> found = tfvae.evaluate.reconstruction(vae, x)
        >>> found.data_range, 0.2 < found.mse.mean < 0.3
        (1.0, True)
    """
    data = read(vae, x, condition, "reconstruction", batch_size=batch_size)
    if vae.likelihood.support.kind == "tokens":
        why = dict.fromkeys(("mse", "psnr", "ssim"), "tokens are no amounts")
        right = Estimate.of(_token_accuracy(data, batch_size))
        return Reconstructions(None, None, None, right, None, why)
    made, mask = _made(data, batch_size)
    values = data.values.astype(np.float64)
    why = {"accuracy": "the data are no tokens"}
    error = metrics.mse(values, made) if mask is None else _of_observed(values, made, mask)
    span, reason = _range(vae, values, data_range)
    if span is None:
        why |= dict.fromkeys(("psnr", "ssim"), reason)
        return Reconstructions(Estimate.of(error), None, None, None, None, why)
    with np.errstate(invalid="ignore"):  # infinite less infinite, of perfect reconstructions
        ratio = Estimate.of(decibels(error, span))
    alike = None
    if reason := _no_picture(vae.data_shape, mask):
        why["ssim"] = reason
    else:
        alike = Estimate.of(metrics.ssim(values, made, span))
    return Reconstructions(Estimate.of(error), ratio, alike, None, span, why)


def _made(data: Batches, batch_size: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return reconstructions [N, *data], and what was observed or None."""
    vae, made, masks = data.vae, [], []
    for rows in data.parts(batch_size):
        batch = data.rows(rows)
        if batch.mask is not None:
            masks.append(np.asarray(batch.mask))
            given: dict[str, Any] = {"observed": batch.mask}
        else:
            given = {} if batch.condition is None else {"condition": batch.condition}
        made.append(np.asarray(vae.reconstruct(batch.seen, **given), np.float64))
    return np.concatenate(made), np.concatenate(masks) if masks else None


def _of_observed(
    values: npt.NDArray[Any], made: npt.NDArray[Any], mask: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return the squared error of each example, over what was observed; of those with nothing none.

    Raises:
        UndefinedError: if nothing was observed of any.
    """
    there = np.broadcast_to(mask, values.shape).reshape(len(values), -1)
    squares = np.where(there, (values - made).reshape(there.shape) ** 2, 0)
    count = there.sum(axis=1)
    if not count.any():
        raise UndefinedError("nothing was observed of any example, so that there are no errors")
    error: npt.NDArray[np.float64] = squares.sum(axis=1)[count > 0] / count[count > 0]
    return error


def _token_accuracy(data: Batches, batch_size: int) -> npt.NDArray[np.float64]:
    """Return of each sentence the share of its tokens that are right, [N]."""
    shares = []
    for rows in data.parts(batch_size):
        written = np.asarray(data.vae.reconstruct(tf.constant(data.values[rows])))
        true = data.values[rows].astype(written.dtype)
        there = true != PAD
        shares.append(np.sum((written == true) & there, axis=1) / there.sum(axis=1))
    return np.concatenate(shares)


def _range(vae: VAE, values: npt.NDArray[Any], given: float | None) -> tuple[float | None, str]:
    """Return the range of the data; or None, and why they have none."""
    support = vae.likelihood.support
    if given is not None:
        if not (math.isfinite(given) and given > 0):
            raise ValueError(
                f"Expected `data_range` to be a positive number. Received: data_range={given!r}."
            )
        return float(given), ""
    if support.kind == "integers" and not math.isfinite(support.high):
        return None, "counts have no peak"
    if support.kind not in ("interval", "integers", "levels"):
        return None, f"the data are {support.value}, whose values are no amounts of light"
    low, high = support.bounds
    if math.isfinite(high - low):
        return high - low, ""
    span = float(values.max() - values.min())
    return (span, "") if span > 0 else (None, "all values of the data are equal")


def _no_picture(shape: tuple[int, ...], mask: Any) -> str:
    """Say why examples are no pictures, or nothing."""
    if mask is not None:
        return "values are missing"
    if not (len(shape) == 2 or (len(shape) == 3 and shape[-1] in _CHANNELS)):
        return "examples are no pictures [height, width] or [height, width, channels]"
    if min(shape[:2]) < _LEAST_SIDE:
        return f"examples are no pictures of {_LEAST_SIDE} pixels or more on a side"
    return ""
