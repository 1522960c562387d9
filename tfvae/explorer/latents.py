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
from collections.abc import Sequence

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
    """The latents that can be moved, flattened, those of one level after those of another.

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


def study(
    export: LoadedExport, levels: Sequence[Tensor], condition: npt.ArrayLike | None
) -> Latents:
    """Find out about the latents of an export.

    Args:
        export: the export.
        levels: what ``decode`` takes, or of a hierarchy ``move``, level 0's first; where there is
            no ``decode``, what ``generate`` returns.
        condition: one, as the endpoints take it, of a conditional model.
    """
    means, stddevs = (_encoded(export, levels, moment) for moment in ("mean", "stddev"))
    low, high, centre = _reach(export, levels, condition, means, stddevs)
    if means is not None and len(means) > 1:
        signal = means.astype(np.float64).var(axis=0)
        if stddevs is None or not stddevs.any():  # a point is all that an autoencoder encodes to
            return Latents(signal, "variance of what it is encoded to", low, high, centre)
        noise = np.maximum((stddevs**2).mean(axis=0), np.finfo(np.float32).tiny)
        carried = 0.5 * np.log1p(signal / noise)
        return Latents(carried, "nats of information about the input, estimated", low, high, centre)
    if "decode" in export.endpoints and len(centre) <= _TRIED:
        moved = _moved(export, levels, condition, low, high, centre)
        return Latents(moved, "mean squared change of the picture", low, high, centre)
    return Latents(None, "", low, high, centre)


def _encoded(export: LoadedExport, levels: Sequence[Tensor], moment: str) -> Array | None:
    """Return means or standard deviations [N, n] of what the export was verified on."""
    path = export.path / export.manifest.test_vectors
    if "encode" not in export.endpoints or not path.is_file():
        return None
    parts = []
    with np.load(path, allow_pickle=False) as vectors:
        for level in levels:
            key = f"encode/{moment}{level.name.removeprefix('z')}"
            if key not in vectors:
                return None
            parts.append(np.asarray(vectors[key], np.float32).reshape(len(vectors[key]), -1))
            if parts[-1].shape[1] != level.row_size:
                return None
    return np.concatenate(parts, axis=1)


def _reach(
    export: LoadedExport,
    levels: Sequence[Tensor],
    condition: npt.ArrayLike | None,
    means: Array | None,
    stddevs: Array | None,
) -> tuple[Array, Array, Array]:
    """Return from where to where each latent goes, and its middle."""
    size = sum(level.row_size for level in levels)
    prior = export.manifest.slots.get("prior", {}).get("class")
    generates = export.endpoints.get("generate")
    names = [level.name for level in levels]
    drawn = [spec for spec in generates.outputs if spec.name in names] if generates else []
    if drawn and all(None not in spec.bounds for spec in drawn):
        low, high = (
            np.concatenate([np.full(spec.row_size, spec.bounds[end]) for spec in drawn])
            for end in (0, 1)
        )
        return _wide(low, high)
    if names == ["z"] and prior == "StandardNormal":
        centre, reach = np.zeros(size), np.full(size, _REACH)
    elif drawn:
        rows = export.generate(np.arange(_DRAWS), condition=condition)
        z = np.concatenate([rows[name].reshape(_DRAWS, -1) for name in names], axis=1)
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
    levels: Sequence[Tensor],
    condition: npt.ArrayLike | None,
    low: Array,
    high: Array,
    centre: Array,
) -> Array:
    """Return how far the output moves [n] as each latent goes a third of its way either side."""
    size = len(centre)
    step = np.diag((high - low) / 6)
    shifts = np.concatenate([step, -step]).astype(np.float32)
    parts = [
        _decoded(export, levels, condition, centre, part)
        for part in np.array_split(shifts, math.ceil(len(shifts) / 64))
    ]
    up, down = np.split(np.concatenate(parts).reshape(2 * size, -1), 2)
    return np.asarray(((up - down) ** 2).mean(axis=1), np.float32)


def _decoded(
    export: LoadedExport,
    levels: Sequence[Tensor],
    condition: npt.ArrayLike | None,
    centre: Array,
    shifts: Array,
) -> Array:
    """Return the means of latents that are moved from the centre, each row by its own shift."""
    if len(levels) == 1:
        (z,) = _by_level(levels, centre + shifts)
        mean = export.decode(z, condition)["mean"]
    else:
        start = _by_level(levels, np.tile(centre, (len(shifts), 1)))
        mean = export.move(start, dict(enumerate(_by_level(levels, shifts))))["mean"]
    return mean.astype(np.float32)


def _by_level(levels: Sequence[Tensor], rows: Array) -> list[Array]:
    """Return what is flat [N, n] as the levels have it, each [N, *latent]."""
    ends = np.cumsum([level.row_size for level in levels])[:-1]
    return [
        part.reshape(-1, *(size for size in level.shape if size is not None))
        for level, part in zip(levels, np.split(rows, ends, axis=1), strict=True)
    ]
