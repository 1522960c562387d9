r"""What a page must know of an export's latents: which matter most, and how far they reach.

How much a latent says of the input is estimated from the test vectors that every export carries,
what ``encode`` makes of up to 64 inputs (held-out data, where it was exported with calibration,
else draws of the model):

.. math:: \tfrac12 \log\left(1 + \frac{\operatorname{Var}_x \mu_d(x)}
    {\operatorname{E}_x \sigma_d^2(x)}\right),

what a Gaussian channel of that signal and that noise carries, in nats. It is zero for a latent
whose posterior does not follow the input, and does not change with the units of the latent.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from tfvae.export import LoadedExport
from tfvae.export.manifest import Tensor

_DRAWS = 256
_REACH = 3.0
# Beyond this many, moving each latent by itself takes long where the decoder is large.
_TRIED = 256

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Latents:
    """The latents that ``decode`` takes, flattened.

    Attributes:
        activity: how much each matters [n], or None where nothing says so.
        measure: what `activity` is.
        low: where its slider begins [n].
        high: where it ends [n].
        centre: where it is to begin with [n].
    """

    activity: Array | None
    measure: str
    low: Array
    high: Array
    centre: Array


def study(export: LoadedExport, latent: Tensor, condition: npt.ArrayLike | None) -> Latents:
    """Find out about the latents of an export.

    Args:
        export: the export.
        latent: what ``decode`` takes; or, where there is no ``decode``, what ``generate`` returns.
        condition: one, as the endpoints take it, of a conditional model.
    """
    size = latent.row_size
    means, stddevs = _encoded(export, latent.name, size)
    low, high, centre = _reach(export, latent, condition, means, stddevs)
    if means is not None and len(means) > 1:
        signal = means.astype(np.float64).var(axis=0)
        if stddevs is None or not stddevs.any():  # a point is all that an autoencoder encodes to
            return Latents(signal, "variance of what it is encoded to", low, high, centre)
        noise = np.maximum((stddevs**2).mean(axis=0), np.finfo(np.float32).tiny)
        carried = 0.5 * np.log1p(signal / noise)
        return Latents(carried, "nats of information about the input, estimated", low, high, centre)
    if "decode" in export.endpoints and size <= _TRIED:
        moved = _moved(export, latent, condition, low, high, centre)
        return Latents(moved, "mean squared change of the picture", low, high, centre)
    return Latents(None, "", low, high, centre)


def _encoded(export: LoadedExport, name: str, size: int) -> tuple[Array | None, Array | None]:
    """Return means and standard deviations [N, n] of what the export was verified on."""
    suffix = name.removeprefix("z")
    path = export.path / export.manifest.test_vectors
    if "encode" not in export.endpoints or not path.is_file():
        return None, None
    with np.load(path, allow_pickle=False) as vectors:
        found = [
            np.asarray(vectors[key], np.float32).reshape(len(vectors[key]), -1)
            if (key := f"encode/{moment}{suffix}") in vectors
            else None
            for moment in ("mean", "stddev")
        ]
    fits = [each if each is not None and each.shape[1] == size else None for each in found]
    return fits[0], fits[1]


def _reach(
    export: LoadedExport,
    latent: Tensor,
    condition: npt.ArrayLike | None,
    means: Array | None,
    stddevs: Array | None,
) -> tuple[Array, Array, Array]:
    """Return from where to where each latent goes, and its middle."""
    size = latent.row_size
    prior = export.manifest.slots.get("prior", {}).get("class")
    generates = export.endpoints.get("generate")
    drawn = generates and next(spec for spec in generates.outputs if spec.name == latent.name)
    if drawn and None not in drawn.bounds:
        low, high = drawn.bounds
        return _wide(np.full(size, low), np.full(size, high))
    if latent.name == "z" and prior == "StandardNormal":
        centre, reach = np.zeros(size), np.full(size, _REACH)
    elif drawn:
        z = export.generate(np.arange(_DRAWS), condition=condition)[latent.name]
        z = z.reshape(_DRAWS, -1)
        centre, reach = z.mean(axis=0), _REACH * z.std(axis=0)
    elif means is not None:
        noise = 0 if stddevs is None else (stddevs**2).mean(axis=0)
        centre, reach = means.mean(axis=0), _REACH * np.sqrt(means.var(axis=0) + noise)
    else:
        centre, reach = np.zeros(size), np.full(size, _REACH)
    reach = np.where(reach > 0, reach, _REACH)
    return _wide(centre - reach, centre + reach)


def _wide(low: npt.ArrayLike, high: npt.ArrayLike) -> tuple[Array, Array, Array]:
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return low, high, (low + high) / 2


def _moved(
    export: LoadedExport,
    latent: Tensor,
    condition: npt.ArrayLike | None,
    low: Array,
    high: Array,
    centre: Array,
) -> Array:
    """Return how far the output moves [n] as each latent goes a third of its way either side."""
    size = latent.row_size
    step = np.diag((high - low) / 6)
    rows = np.concatenate([centre + step, centre - step]).astype(np.float32)
    shape = [each for each in latent.shape if each is not None]
    parts = [
        export.decode(part.reshape(-1, *shape), condition)["mean"].astype(np.float32)
        for part in np.array_split(rows, math.ceil(len(rows) / 64))
    ]
    up, down = np.split(np.concatenate(parts).reshape(2 * size, -1), 2)
    return np.asarray(((up - down) ** 2).mean(axis=1), np.float32)
