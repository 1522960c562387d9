"""Charts of what probes and studies find: curves with axes, units and error bars.

As in `plots`, functions return a figure and, given a path, write it whole or not at all. Lines
differ in dashes and marks, so that they can be told apart without colours.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from tfvae.drawing import INK, MUTED, number, panelled, save, titled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from tfvae.gradients import Noise
    from tfvae.probes import Probing

__all__ = ["bounds", "gradient_variance", "label_efficiency"]

# Colour, dashes and mark; colours as in `plots`, dark enough to stay legible in grey.
_LINES: tuple[dict[str, Any], ...] = (
    {"color": "#0b5cad", "linestyle": "-", "marker": "o"},
    {"color": "#9a4a00", "linestyle": "--", "marker": "s"},
    {"color": "#1a6e4a", "linestyle": ":", "marker": "^"},
    {"color": "#6b2c91", "linestyle": "-.", "marker": "D"},
    {"color": "#4a4f55", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
)
_PROBES = {"linear": "linear probe", "knn": "nearest neighbours"}
_FEATURES = {"codes": "codes", "pca": "principal components", "raw": "raw values"}


def label_efficiency(probing: Probing, path: str | os.PathLike[str] | None = None) -> Figure:
    """Accuracy of probes against how many labels they were given, a panel for each probe.

    Args:
        probing: What :func:`tfvae.probes.probe` found.
        path: Where to save the picture.

    Returns:
        The figure. Bars are a standard error to either side.

    Raises:
        ValueError: The ending of `path` is none that matplotlib knows.
        OSError: The picture cannot be written.
    """
    names = list(dict.fromkeys(each.probe for each in probing.probes))
    figure, panels = panelled(1, len(names), (4.6, 4.0))
    worst = min(each.accuracy - each.error for each in probing.probes)
    floor = max(0.0, 10 * math.floor(10 * worst - 0.5))
    for name, axes in zip(names, panels, strict=True):
        for place, (kind, label) in enumerate(_FEATURES.items()):
            rows = sorted(
                (p for p in probing.probes if (p.probe, p.features) == (name, kind)),
                key=lambda row: row.labels,
            )
            axes.errorbar(
                # Side by side, so that bars at one number do not hide each other.
                [row.labels * 1.06 ** (place - 1) for row in rows],
                [100 * row.accuracy for row in rows],
                yerr=[100 * row.error for row in rows],
                label=f"{label}, {probing.dimensions[kind]} dimensions",
                **_style(_LINES[place]),
            )
        if 100 * probing.majority > floor:
            axes.axhline(
                100 * probing.majority,
                color=MUTED,
                linewidth=1,
                linestyle=(0, (1, 3)),
                label="always the commonest class",
            )
        _logarithmic(axes, 0.8 * probing.labels[0], 1.25 * probing.labels[-1])
        axes.set_ylim(floor, 101)
        titled(axes, _PROBES[name], "labelled examples", "accuracy on the test set [%]")
    panels[0].legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="lower right")
    return save(figure, path)


def bounds(
    curves: Mapping[int, tuple[Sequence[int], Sequence[float], Sequence[float]]],
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """The bound against training samples seen, a panel for each number of latents.

    Args:
        curves: For each number of latents, the samples seen at the end of each epoch, the mean
            ELBO of training in it, which is drawn at its middle, and that of held-out examples.
        path: Where to save the picture.

    Returns:
        The figure. All panels have the same axes; a dotted line is the best held-out bound.

    Raises:
        ValueError: The ending of `path` is none that matplotlib knows.
        OSError: The picture cannot be written.
    """
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure, panels = panelled(rows, columns, (3.5, 2.9))
    best = max(max(held_out) for _, _, held_out in curves.values())
    for axes, (latents, (samples, train, held_out)) in zip(panels, curves.items(), strict=False):
        middle = np.asarray(samples) - samples[0] / 2
        blue, brown, *_ = _LINES
        axes.plot(middle, train, color=blue["color"], linewidth=1.6, label="training")
        axes.plot(
            samples,
            held_out,
            color=brown["color"],
            linewidth=1.6,
            dashes=(4, 1.5),
            label="held out",
        )
        axes.axhline(
            best, color=MUTED, linewidth=1, linestyle=":", label=f"best held out, {number(best)}"
        )
        axes.set_xscale("log")
        titled(
            axes, f"{latents} latents" if latents > 1 else "1 latent", "training samples seen", ""
        )
    # The steep beginning is left out, as in the paper: from where a tenth of the training is over.
    top = max(max(*train, *held_out) for _, train, held_out in curves.values())
    floor = min(held_out[len(held_out) // 10] for _, _, held_out in curves.values())
    margin = 0.05 * (top - floor) or 1.0  # of one value after one epoch there may be one point
    floor, top = floor - margin, top + margin
    panels[0].set_ylim(floor, top)
    shown = [
        sample
        for samples, _, held_out in curves.values()
        for sample, value in zip(samples, held_out, strict=True)
        if value > floor
    ]
    first, last = 0.7 * min(shown), 1.2 * max(samples[-1] for samples, _, _ in curves.values())
    for axes in panels[: len(curves)]:
        _logarithmic(axes, first, last)
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel("ELBO [nats per example]", fontsize=9.5, color=MUTED)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, frameon=False, fontsize=9, labelcolor=INK, ncols=3,
        loc="outside lower center",
    )  # fmt: skip
    return save(figure, path)


def gradient_variance(
    steps: Sequence[int],
    noise: Mapping[str, Sequence[Noise]],
    ratios: Mapping[str, Sequence[tuple[float, float]]],
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """The variance of gradient estimators during training, and their ratios to the last of them.

    Args:
        steps: Steps of training taken.
        noise: For each estimator, that of its gradient at each of them.
        ratios: For all estimators but the last, its variance over the last one's, with errors.
        path: Where to save the picture.

    Returns:
        The figure, two panels. Bars are a standard error to either side.

    Raises:
        ValueError: The ending of `path` is none that matplotlib knows.
        OSError: The picture cannot be written.
    """
    figure, (left, right) = panelled(1, 2, (5.0, 4.2), sharey=False)
    from matplotlib.ticker import NullLocator

    *_, best = noise
    for style, (name, values) in zip(_LINES, noise.items(), strict=False):
        left.errorbar(
            steps,
            [each.variance for each in values],
            yerr=[each.error for each in values],
            label=name,
            **_style(style),
        )
        if name in ratios:
            right.errorbar(
                steps,
                [ratio for ratio, _ in ratios[name]],
                yerr=[error for _, error in ratios[name]],
                label=name,
                **_style(style),
            )
    # Of the mean gradient, which all of them estimate, the least noisy one tells most.
    signal = [(step, each.signal) for step, each in zip(steps, noise[best], strict=True)]
    left.plot(
        *zip(*((step, value) for step, value in signal if value > 0), strict=True),
        color=MUTED,
        linewidth=1,
        label="squared length of the mean gradient",
    )
    right.axhline(1, color=MUTED, linewidth=1)
    for axes in (left, right):
        axes.set_yscale("log")
        if len(steps) > 1:
            axes.set_xscale("symlog", linthresh=steps[1], linscale=0.5)
            axes.set_xlim(-0.12 * steps[1], 1.25 * steps[-1])
            axes.set_xticks(steps, [f"{step:,}" for step in steps], rotation=45)
            axes.xaxis.set_minor_locator(NullLocator())
    titled(
        left, "gradient of q(z|x)'s parameters", "training step", "trace of the covariance [nats²]"
    )
    titled(right, f"relative to {best}", "training step", "ratio of variances", first=False)
    (line, *handles), (text, *labels) = left.get_legend_handles_labels()
    figure.legend(
        [*handles, line], [*labels, text], frameon=False, fontsize=9, labelcolor=INK, ncols=3,
        loc="outside lower center",
    )  # fmt: skip
    return save(figure, path)


def _logarithmic(axes: Any, first: float, last: float) -> None:
    """Make the horizontal axis logarithmic, with few enough numbers not to meet each other."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(first, last)
    within = (1.0,) if last > 50 * first else (1.0, 3.0)
    axes.xaxis.set_major_locator(LogLocator(subs=within))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _style(style: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **style,
        "linewidth": 1.8,
        "markersize": 5,
        "markerfacecolor": "white",
        "capsize": 2.5,
        "elinewidth": 1,
    }
