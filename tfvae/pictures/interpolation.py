"""From one example to another, through the latents between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfvae import plots
from tfvae.drawing import positive
from tfvae.pictures import sequences
from tfvae.pictures.decoding import code_of, decoded
from tfvae.pictures.subject import Array, Subject, no_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def interpolation(
    subject: Subject, *, n: int = 11, pairs: Sequence[Sequence[int]] | int = 3
) -> Figure:
    """From one example to another, by a line between their codes and by an arc.

    Without examples, between draws from the prior. An arc keeps the distance from the origin, which
    of a normal prior's draws is nearly the same.

    Args:
        subject: the model, and its examples.
        n: images in a row, the ends among them, which are the examples' reconstructions.
        pairs: which examples (without any, which seeds, from the picture's on), two in each pair;
            or how many pairs.

    References:
        White (2016), Sampling generative networks, arXiv:1609.04468.
    """
    if sequences.is_text(subject):
        return _written(subject, min(n, 8), pairs)
    columns = positive("n", n)
    if columns < 2:
        raise ValueError(f"Expected `n` of at least 2, for the ends. Received: n={n}.")
    chosen = _pairs(subject, pairs)
    ways = _ways(subject)
    t = np.linspace(0, 1, columns)
    rows, labels, conditions = [], [], []
    for a, b in chosen:
        (start, given), (end, other) = _end(subject, a), _end(subject, b)
        for way, along in ways.items():
            rows.append(along(start.astype(np.float64), end.astype(np.float64), t))
            labels.append(way)
            if given is not None:
                conditions += [given if place < 0.5 else other for place in t]
    pixels = decoded(subject, np.stack(rows), np.array(conditions) if conditions else None)
    known = subject.examples is not None
    first = 0 if known else subject.seed
    text = ", ".join(f"{first + a} and {first + b}" for a, b in chosen)
    note = subject.noted(
        f"between {'examples' if known else 'seeds'} {text}",
        "" if known else subject.prior_note,
        "the condition is that of the nearer end" if conditions else "",
    )
    return plots.rows(pixels, labels, group=len(ways), note=note)


def _written(subject: Subject, steps: int, pairs: Any) -> Figure:
    """Draw the sentences between pairs of examples."""
    vae: Any = subject.vae
    chosen, rows = _pairs(subject, pairs), []
    for a, b in chosen:
        rows += vae.interpolate(subject.x[a], subject.x[b], steps)
    breaks = range(steps, len(rows), steps)
    text = ", ".join(f"{a} and {b}" for a, b in chosen)
    return plots.sentences(rows, breaks=breaks, note=f"between examples {text}")


def no_interpolation(subject: Subject) -> str | None:
    """Say why there is nothing between two examples."""
    text = sequences.is_text(subject)
    if (reason := no_images(subject)) and not text:
        return reason
    vae = subject.vae
    if vae.latent_priors[0].support.kind not in ("interval", "simplex", "sphere"):
        return "latents are discrete: there is nothing between two of them"
    examples = subject.examples
    if examples is None and text:
        return "it goes from one sentence to another; pass some"
    if examples is None:
        return "the model is given a condition; pass examples, (x, y)" if vae.conditional else None
    if vae.conditional and vae.missing_label is None and examples.y is None:
        return "the model is given a condition with each example; pass them too: (x, y)"
    return "it goes from one example to another; pass at least two" if len(examples) < 2 else None


def _ways(subject: Subject) -> dict[str, Any]:
    kind = subject.vae.latent_priors[0].support.kind
    ways = {"linear": lerp, "spherical": slerp}
    if kind == "sphere":
        del ways["linear"]
    elif kind == "simplex" or subject.size == 1 or _one_sided(subject):
        del ways["spherical"]
    return ways


def _one_sided(subject: Subject) -> bool:
    """Say whether latents lie in an interval that an arc around 0 would leave."""
    low, high = subject.vae.latent_priors[0].support.bounds
    return math.isfinite(low) or math.isfinite(high)


def _pairs(subject: Subject, pairs: Sequence[Sequence[int]] | int) -> list[tuple[int, int]]:
    """Return which examples or seeds; by default neighbours of different labels."""
    count = None if subject.examples is None else len(subject.examples)
    if not isinstance(pairs, int):
        chosen = [tuple(pair) for pair in pairs]
        good = bool(chosen) and all(
            len(pair) == 2 and all(0 <= i < (count or 2**31) for i in pair) for pair in chosen
        )
        if not good:
            raise ValueError(
                f"Expected `pairs` of two examples each, of the {count} that there are, as in "
                f"[(0, 1), (2, 3)]. Received: pairs={pairs!r}."
            )
        return [(a, b) for a, b in chosen]
    wanted = positive("pairs", pairs)
    if count is None:
        return [(2 * i, 2 * i + 1) for i in range(wanted)]
    labels = subject.labels
    free = list(range(count))
    found: list[tuple[int, int]] = []
    while len(found) < wanted and len(free) >= 2:
        a = free.pop(0)
        others = free if labels is None else [i for i in free if labels[i] != labels[a]]
        b = (others or free)[0]
        free.remove(b)
        found.append((a, b))
    return found


def _end(subject: Subject, place: int) -> tuple[Array, Any]:
    """Return the code of an example, or a draw from the prior; and its condition, or None."""
    if subject.examples is not None:
        return code_of(subject, place)
    drawn = subject.vae.generate(1, seed=subject.seed + place).z
    # Of a hierarchy, the level that the decoder takes.
    drawn = drawn[0] if isinstance(drawn, tuple) else drawn
    return np.asarray(drawn).ravel(), None


def lerp(a: Array, b: Array, t: Array) -> Array:
    r"""Return points on the line from a to b, [k, d]: :math:`(1 - t) a + t b`."""
    points: Array = (1 - t[:, None]) * a + t[:, None] * b
    return points


def slerp(a: Array, b: Array, t: Array) -> Array:
    r"""Return points on the arc from a to b, [k, d].

    .. math:: \frac{\sin((1 - t) \Omega)}{\sin \Omega} a + \frac{\sin(t \Omega)}{\sin \Omega} b

    where :math:`\Omega` is the angle between them: of ends of one length, all points have it.
    Where they point the same way, or opposite ones, or one is 0, it is the line.

    References:
        White (2016), Sampling generative networks, arXiv:1609.04468.
    """
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    cosine = np.dot(a, b) / max(math.prod(lengths), np.finfo(np.float64).tiny)
    angle = math.acos(min(1.0, max(-1.0, float(cosine))))
    if min(lengths) == 0 or math.sin(angle) < 1e-6:
        return lerp(a, b, t)
    first, second = np.sin((1 - t) * angle), np.sin(t * angle)
    points: Array = (first[:, None] * a + second[:, None] * b) / math.sin(angle)
    return points
