"""What latents do: the plane of two of them, and one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfvae import plots
from tfvae.drawing import positive
from tfvae.pictures.decoding import code_of, condition_of, decoded
from tfvae.pictures.positions import measured, no_measure, no_positions, positions
from tfvae.pictures.subject import Subject, no_conditions, no_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNUSED = 0.01  # nats, or squared units of z


def manifold(
    subject: Subject, *, n: int = 15, dims: Sequence[int] | None = None, condition: Any = None
) -> Figure:
    r"""The plane of two latents decoded, at even quantiles of the prior (Kingma & Welling, fig. 4).

    .. math:: z_{ij} = \bigl(F^{-1}(u_i), F^{-1}(u_j)\bigr), \quad u_i = (i + \tfrac12) / n

    Of a model with one latent it is a line; of one with more, the others are at their medians.

    Args:
        subject: the model.
        n: images a side.
        dims: which two latents, where there are more than two.
        condition: of a conditional model, one for all; by default the first class, or that of the
            first example.

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114.
    """
    chosen = _chosen(subject, dims)
    if chosen is None:
        raise ValueError(f"Could not draw 'manifold': {no_plane(subject)}.")
    count = positive("n", n)
    found = positions(subject, [(i + 0.5) / count for i in range(count)])
    middle = positions(subject, [0.25, 0.5, 0.75]).z[1]
    first = found.z[:, chosen[0]]
    second = found.z[:, chosen[1]] if len(chosen) == 2 else np.zeros(1)
    z = np.tile(middle, (len(second), count, 1))
    z[..., chosen[0]] = first
    if len(chosen) == 2:
        z[..., chosen[1]] = second[:, None]
    given, called = condition_of(subject, condition)
    pixels = decoded(subject, z, given)
    rest = "the other latents in the middle" if subject.size > 2 else ""
    return plots.manifold(
        pixels,
        first.tolist(),
        second.tolist() if len(chosen) == 2 else (),
        names=(_name(chosen[0]), _name(chosen[-1])),
        note=subject.noted(found.source, rest, called),
    )


def no_plane(subject: Subject) -> str | None:
    """Say that there are more than two latents, none of which are chosen."""
    if subject.size > 2:
        return (
            f"it draws the plane of two latents, and this model has {subject.size}; choose two, "
            "dims=(0, 1), or draw 'traversals'"
        )
    return None


def _chosen(subject: Subject, dims: Sequence[int] | None) -> tuple[int, ...] | None:
    size = subject.size
    if dims is None:
        return tuple(range(size)) if size <= 2 else None
    chosen = tuple(dims) if isinstance(dims, Sequence) else (dims,)
    good = all(isinstance(dim, int) and 0 <= dim < size for dim in chosen)
    if len(set(chosen)) != 2 or not good:
        raise ValueError(
            f"Expected `dims` to be two latents, from 0 to {size - 1}. Received: dims={chosen}."
        )
    return chosen


def traversals(
    subject: Subject,
    *,
    n: int = 11,
    latents: int = 10,
    example: int | None = None,
    condition: Any = None,
) -> Figure:
    """One latent at a time from one end of the prior to the other, the most used first.

    Rows are in the order of the latents' KL, where there are examples to measure it on; those that
    are not used are said to be.

    Args:
        subject: the model.
        n: images in a row.
        latents: how many of them, at most.
        example: which example the other latents are those of; by default they are at the prior's
            medians.
        condition: of a conditional model, one for all; by default that of the example, the first
            class, or that of the first example.
    """
    columns = positive("n", n)
    found = positions(subject, [0.01, 0.99])
    # Evenly spaced in z, as the eye expects, between quantiles.
    share = np.linspace(0, 1, columns) if columns > 1 else np.array([0.5])
    values = found.z[0] + share[:, None] * (found.z[1] - found.z[0])
    given, called = condition_of(subject, condition)
    if example is None:
        base = positions(subject, [0.25, 0.5, 0.75]).z[1]
    else:
        base, own = code_of(subject, example)
        given = own if condition is None else given
        called = f"around example {example}" if condition is None else called
    order, labels, what = _order(subject)
    shown = order[: positive("latents", latents)]
    z = np.tile(base, (len(shown), columns, 1))
    for row, latent in enumerate(shown):
        z[row, :, latent] = values[:, latent]
    pixels = decoded(subject, z, given)
    alike = np.allclose(values, values[:, :1], rtol=0, atol=5e-3)
    rounded = np.round(values[:, 0], 1) + 0.0  # and no zero below zero
    headings = [f"{value:.1f}".replace("-", "\N{MINUS SIGN}") for value in rounded]
    left_out = f"{len(shown)} of {len(order)} latents" if len(shown) < len(order) else ""
    level = "of level z_0, which is decoded" if len(subject.vae.latent_priors) > 1 else ""
    ends = "1% to 99% of the prior" if "quantiles of" in found.source else found.source
    return plots.rows(
        pixels,
        [labels[latent] for latent in shown],
        headings=headings if alike else (),
        note=subject.noted(ends, left_out, what, level, called),
    )


def no_traversals(subject: Subject) -> str | None:
    """Say why latents cannot be traversed."""
    return no_images(subject) or no_positions(subject) or no_middle(subject)


def no_middle(subject: Subject) -> str | None:
    """Say that there is no condition to decode under."""
    vae = subject.vae
    known = subject.examples is not None and subject.examples.y is not None
    if vae.conditional and vae.classes is None and not known:
        return "the model is given a condition with each example; pass some, (x, y)"
    return None


def _order(subject: Subject) -> tuple[list[int], list[str], str]:
    """Return latents, the most used first; a label for each latent; and what that is by."""
    names = [_name(latent) for latent in range(subject.size)]
    if no_measure(subject) or no_conditions(subject):
        return list(range(subject.size)), names, ""
    amounts, measure = measured(subject)
    each = amounts[0]
    short = "KL" if "KL" in measure else "var"
    labels = [
        f"{name}  {short} {value:.2f}" if value > _UNUSED else f"{name}  unused"
        for name, value in zip(names, each, strict=True)
    ]
    return np.argsort(-each, kind="stable").tolist(), labels, f"by {measure}"


def _name(latent: int) -> str:
    return "z" + "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(latent))
