"""Bars: how much each latent says, and how often each code is used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfvae.drawing import INK, MUTED, number, panelled, save, titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FULL, _EMPTY = "#0b5cad", "#c3c9d0"
_NAMED = 40  # bars, up to which each has its number below it
_SEPARATE = 100  # bars, up to which each stands alone


def kl(
    values: Sequence[npt.ArrayLike],
    path: str | os.PathLike[str] | None = None,
    *,
    names: Sequence[str] = (),
    threshold: float = 0.01,
    measure: str = "KL [nats]",
    note: str | None = None,
) -> Figure:
    """How much each latent says, the most first: a panel for each group of latents.

    Args:
        values: Of each group, its latents' KL [d], in nats, or another measure.
        path: Where to save the picture.
        names: Of the groups.
        threshold: Latents above it are in use, and their bars full.
        measure: What is measured; of nats the sums are written.
        note: A line below the bars.

    Returns:
        The figure. Bars stand in descending order, with the latents' numbers below.

    Raises:
        ValueError: There are no values, they are not finite, or names are not as many.
        OSError: The picture cannot be written.

    Example:
        >>> figure = kl([[0.5, 0.0, 2.0]])
        >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
        [2.0, 0.5, 0.0]
    """
    groups = [np.asarray(group, float).ravel() for group in values]
    if not groups or not all(group.size and np.isfinite(group).all() for group in groups):
        raise ValueError(
            "Expected finite numbers, of each group of latents some. Received: "
            f"{[np.shape(group) for group in values]} numbers, or NaN or infinity among them."
        )
    if len(names) not in (0, len(groups)):
        raise ValueError(f"Expected {len(groups)} names, or none. Received: {len(names)}.")
    widest = max(map(len, groups))
    # Panels are wide enough for the numbers below their bars.
    needed = 1.6 + 0.24 * widest if len(groups) == 1 else 1.2 + 0.2 * min(widest, _NAMED)
    width = min(11.0, max(4.4, needed))
    figure, panels = panelled(1, len(groups), (width, 3.7), sharey=len(groups) > 1, sharex=False)
    for place, (panel, group) in enumerate(zip(panels, groups, strict=True)):
        order = np.argsort(-group, kind="stable")
        used = int(np.count_nonzero(group > threshold))
        _columns(panel, group[order], group[order] > threshold)
        if len(group) <= _NAMED:
            panel.set_xticks(range(len(group)), [str(i) for i in order])
        total = f", {number(group.sum())} nats" if "nats" in measure else ""
        name = f"{names[place]}:  " if names else ""
        title = f"{name}{used} of {len(group)} in use{total}"
        below = "latent" if len(group) <= _NAMED else "latents, the most used first"
        below += f"; in use above {threshold:g}"
        titled(panel, title, below, measure)
        panel.tick_params(axis="x", labelsize=9 if len(group) <= 24 else 7)
        panel.grid(visible=False, axis="x")
        if min(map(np.min, groups)) >= 0:  # an estimate of the KL may be below
            panel.set_ylim(bottom=0)
    if note:
        figure.supxlabel(note, fontsize=9, color=MUTED, parse_math=False)
    return save(figure, path)


def codebook(
    shares: npt.ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    note: str | None = None,
) -> Figure:
    r"""How often each code is used, the commonest first, with the perplexity.

    .. math:: \exp\Bigl(-\sum_k f_k \log f_k\Bigr)

    Args:
        shares: How often each of the K codes was used: counts, or shares of all uses.
        path: Where to save the picture.
        note: A line below the bars.

    Returns:
        The figure. A dashed line is where all codes would be used alike.

    Raises:
        ValueError: They are no counts, or no code was used.
        OSError: The picture cannot be written.

    Example:
        >>> codebook([4, 0, 4, 0]).axes[0].get_title(loc="left")
        '2 of 4 codes in use, perplexity 2.00'
    """
    counts = np.asarray(shares, float)
    if counts.ndim != 1 or not np.isfinite(counts).all() or not counts.sum() > 0:
        raise ValueError(
            "Expected how often each code was used, [K], some of them at all. Received: shape "
            f"{counts.shape} with the sum {counts.sum():g}."
        )
    order = np.argsort(-counts, kind="stable")
    shown = counts[order] / counts.sum()
    used = shown > 0
    perplexity = np.exp(-np.sum(shown[used] * np.log(shown[used])))
    width = min(11.0, max(5.2, 1.6 + 0.2 * len(shown)))
    figure, (panel,) = panelled(1, 1, (width, 3.7))
    _columns(panel, shown, used)
    panel.axhline(1 / len(shown), color=MUTED, linewidth=1, linestyle="--")
    panel.annotate(
        "all alike", (len(shown) - 0.5, 1 / len(shown)), xytext=(0, 3), ha="right", va="bottom",
        textcoords="offset points", fontsize=9, color=MUTED,
    )  # fmt: skip
    if len(shown) <= _NAMED:
        panel.set_xticks(range(len(shown)), [str(i) for i in order])
    title = f"{used.sum()} of {len(shown)} codes in use, perplexity {number(perplexity)}"
    below = "code" if len(shown) <= _NAMED else "codes, the commonest first"
    titled(panel, title, below, "share of all codes")
    panel.tick_params(axis="x", labelsize=9 if len(shown) <= 24 else 7)
    panel.grid(visible=False, axis="x")
    if note:
        figure.supxlabel(note, fontsize=9, color=MUTED, parse_math=False)
    return save(figure, path)


def _columns(panel: Any, heights: Any, full: Any) -> None:
    """Put bars: what is full is dark, and what is not pale with an edge."""
    if len(heights) <= _SEPARATE:
        panel.bar(
            np.arange(len(heights)), heights, width=0.8,
            color=np.where(full, _FULL, "white"), edgecolor=np.where(full, _FULL, _EMPTY),
            linewidth=np.where(full, 0, 1),
        )  # fmt: skip
    else:
        # As two outlines: thousands of bars would be as many things to draw.
        edges = np.arange(len(heights) + 1) - 0.5
        for shown, colour in ((full, _FULL), (~full, _EMPTY)):
            panel.stairs(np.where(shown, heights, 0), edges, fill=True, color=colour, linewidth=0)
    panel.axhline(0, color=INK, linewidth=0.8)
    panel.set_xlim(-0.7, len(heights) - 0.3)
