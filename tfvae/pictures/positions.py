"""Where pictures look in the space of latents, and which latents are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

import tfvae
from tfvae.pictures.subject import Array, Subject, no_conditions

MOST = 2000
"""Examples that are looked at to measure a latent or its range."""

_ROWS = 256
_EDGE = 0.01  # of the codes on either side, beyond which their range does not go


class Positions(NamedTuple):
    """Values of each latent, and where they come from.

    Attributes:
        z: [k, d]; row i holds each latent's i-th value.
        source: in words.
    """

    z: Array
    source: str


def positions(subject: Subject, levels: Sequence[float]) -> Positions:
    r"""Return values of each latent at levels u of its prior, by the inverse CDF.

    .. math:: z_i = F_i^{-1}(u), \qquad F_i(z) = P(z_i \le z)

    where the prior's latents are independent of each other and it is a map of base noise; over the
    range of the examples' codes otherwise, and where a posterior that is a point has none that a
    KL would hold to the prior.

    Args:
        subject: the model.
        levels: numbers in (0, 1), ascending.
    """
    loose = subject.examples is not None and not subject.vae.posterior.has_density
    if has_quantiles(subject) and not loose:
        prior = subject.vae.latent_priors[0]
        normal = NormalDist()
        noise = [normal.inv_cdf(u) if prior.noise == "normal" else u for u in levels]
        shape = (len(levels), *prior.noise_shape)
        column = np.reshape(np.array(noise), (-1, *[1] * len(prior.noise_shape)))
        z = prior.transform(np.broadcast_to(column, shape).astype(prior.compute_dtype), None)
        return Positions(np.asarray(z).reshape(len(levels), -1), "at quantiles of the prior")
    codes = codes_of(subject)
    low, high = (np.quantile(codes, edge, axis=0) for edge in (_EDGE, 1 - _EDGE))
    share = (np.array(levels) - levels[0]) / max(levels[-1] - levels[0], 1e-9)
    z = low + share[:, None] * (high - low)
    why = "no KL holds them to the prior" if loose else "the prior has no quantiles"
    return Positions(z, f"over the range of the examples' codes, as {why}")


def has_quantiles(subject: Subject) -> bool:
    """Say whether a prior's latents are independent, and drawn by an increasing map of noise."""
    from tfvae.layers.kl import AnyIndependent

    prior = subject.vae.latent_priors[0]
    if prior.conditional or prior.noise not in ("normal", "uniform") or prior.choices:
        return False
    law = prior(None)
    alone = isinstance(law, AnyIndependent) and not law.distribution.event_shape.rank
    return alone and tuple(prior.noise_shape) == tuple(prior.event_shape)


def no_positions(subject: Subject) -> str | None:
    """Say why latents cannot be moved one at a time."""
    kind = subject.vae.latent_priors[0].support.kind
    if kind != "interval":
        what = {
            "sphere": "on a sphere", "simplex": "shares, which sum to 1", "codes": "rows of a book",
        }.get(kind, "discrete")  # fmt: skip
        return f"it moves one latent at a time, and those of this model are {what}"
    if not has_quantiles(subject) and (subject.examples is None or no_conditions(subject)):
        return "the prior has no quantiles to look at; pass examples, for the range of their codes"
    return None


def codes_of(subject: Subject, limit: int = MOST) -> Array:
    """Return the codes of the first examples, the means of q(z|x), [N, d]."""
    rows = slice(limit)
    return tfvae.features.means(subject.vae, subject.x[rows], subject.beside(rows))


class Measured(NamedTuple):
    """How much each latent says of the data.

    Attributes:
        groups: of each group of latents, a number for each of them, [d].
        measure: which.
    """

    groups: tuple[Array, ...]
    measure: str


def measured(subject: Subject, samples: int = 8) -> Measured:
    """Return each latent's KL in nats, the mean over examples.

    Where posterior or prior are not independent over the latents, or have no density, it is the
    variance of the posterior's means over the examples (Burda et al.'s measure of activity).
    """
    vae = subject.vae
    try:
        return Measured(_kls(subject, samples), "KL [nats]")
    except (TypeError, NotImplementedError):
        examples = subject.examples
        assert examples is not None
        count = min(len(examples), MOST)
        found = tfvae.evaluate.active_units(vae, examples.take(count), seed=subject.seed)
        variances = tuple(np.ravel(each) for each in found.variances)
        return Measured(variances, "variance of E[z|x]")


def _kls(subject: Subject, samples: int) -> tuple[Array, ...]:
    from tfvae import random

    vae, x = subject.vae, subject.x[:MOST]
    if not all(layer.has_density for layer in (vae.posterior, vae.prior)):
        raise TypeError("Expected densities.")
    sums: list[Array] = []
    for start in range(0, len(x), _ROWS):
        rows = slice(start, min(start + _ROWS, len(x)))
        batch = vae.unpack((x[rows], subject.beside(rows)))
        seed = random.fold(subject.seed, random.TEST, start)
        groups = vae.latents(batch.seen, samples, seed, condition=batch.condition, mask=batch.mask)
        each = [_summed(vae, np.asarray(latent.kl_per_dimension, np.float64)) for latent in groups]
        sums = each if not sums else [total + more for total, more in zip(sums, each, strict=True)]
    return tuple(total / len(x) for total in sums)


def _summed(vae: Any, kl: Array) -> Array:
    """Sum the KL of each value of z [B, d] over examples, and of sequences over their steps."""
    if isinstance(vae, tfvae.families.SequentialVAE):
        kl = kl.reshape(len(kl), *vae.latent_shape).sum(axis=1)
    total: Array = kl.sum(axis=0)
    return total


def no_measure(subject: Subject) -> str | None:
    """Say why there is no latent to measure."""
    if subject.examples is None:
        return "it measures latents on examples; pass some"
    if len(subject.examples) < 2:
        return "it measures how latents vary with examples; pass at least two"
    if subject.vae.latent_priors[0].support.kind == "codes":
        return "latents are rows of a codebook, whose use the picture 'codebook' shows"
    return None
