"""The page of a comparison."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tfvae import extras, markup
from tfvae.drawing import INK, MUTED, new_figure
from tfvae.markup import Best, Table
from tfvae.reporting.blocks import (
    Block,
    Figures,
    Finding,
    Page,
    Picture,
    Pictures,
    Section,
    TableBlock,
    Text,
)
from tfvae.reporting.comparison import CRITERIA, Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = ("#0b5cad", "#9a4a00", "#1a6e4a", "#7a2a6a", "#4a4a4a", "#a01830")
_DASHES = ("solid", "dashed", "dotted", "dashdot")
# In grey, where colours tell little, dashes alone would tell four curves apart.
_MARKERS = (None, "o", "s", "^", "D", "v")


def page_of(found: Comparison, footer: str) -> Page:
    """Return the page of a comparison."""
    names = [each.name for each in found.judged]
    data = f"{found.examples:,} test examples of {found.source}"
    return Page(
        title=" · ".join(names) if len(names) < 4 else f"{len(names)} runs",
        subtitle=f"Compared on the same {data}, fingerprint {found.fingerprint[:12]}…",
        figures=list(_figures(found)),
        findings=list(_findings(found)),
        sections=[_metrics(found), _differences(found), _curves(found), *_pictures(found),
                  _configurations(found)],
        footer=footer,
    )  # fmt: skip


def _figures(found: Comparison) -> Iterator[Figures]:
    criterion = found.criterion
    if criterion is None:
        return
    meaning = markup.MEANINGS.get(criterion, "")
    for each in found.judged:
        best = "best, " if each is found.reference and found.best(criterion) is not None else ""
        value = each.figures.get(criterion)
        if value is not None:
            yield Figures(each.name, markup.number(value), f"{best}{criterion}: {meaning}")


def _findings(found: Comparison) -> Iterator[Finding]:
    for warning in found.warnings:
        yield Finding("warning", warning)
    criterion = found.criterion
    for each in found.judged:
        term = criterion or next((name for name in CRITERIA if name in each.figures), "")
        if not math.isfinite(each.figures.get(term, 0.0)):
            yield Finding("warning", f"{each.name} has no finite {term}: it cannot be compared.")
    if criterion is None:
        yield Finding("note", "There is no figure that two runs have: none is called the best.")
        return
    if found.best(criterion) is None:
        return
    reference = found.reference.name
    for name, difference in zip(
        [each.name for each in found.judged], found.differences().get(criterion, ()), strict=False
    ):
        if difference is None or not math.isfinite(difference.mean):
            continue
        less = markup.with_error(-difference.mean, difference.error)
        text = f"{name} is {less} nats below {reference}, the best by {criterion}"
        if not math.isfinite(difference.error):
            yield Finding("note", f"{text}: of one example there is no standard error.")
        elif abs(difference.mean) > 2 * difference.error:
            yield Finding("good", f"{text}: more than twice its standard error.")
        else:
            yield Finding("note", f"{text}: within twice its standard error, no clear difference.")


def _metrics(found: Comparison) -> Section:
    names = dict.fromkeys(name for each in found.judged for name in each.figures)
    shared = ("examples", "samples")  # of all of them the same
    rows: list[list[object]] = []
    for name in (name for name in names if name not in shared):
        best = found.best(name)
        cells: list[object] = []
        for place, each in enumerate(found.judged):
            value = each.figures.get(name, "–")
            cells.append(Best(markup.number(value)) if place == best else value)
        rows.append([name, *cells])
    rows.append(["parameters", *(each.parameters for each in found.judged)])
    rows.append(["epochs", *(each.run.epochs for each in found.judged)])
    seconds = [sum(each.run.history.get("seconds", ())) or None for each in found.judged]
    rows.append(["seconds of training", *seconds])
    header = ["", *(each.name for each in found.judged)]
    columns = tuple(range(1, len(header)))
    title = (
        f"Means over {found.examples:,} test examples; {found.request.samples:,} importance "
        f"samples, seed {found.request.seed}; ★ best"
    )
    absent = [f"{each.name}: {each.scored.problem}" for each in found.judged if each.scored.problem]
    return Section("Metrics", [TableBlock(Table(rows, header, title, columns))], absent)


def _differences(found: Comparison) -> Section:
    differences = found.differences()
    reference = found.reference
    others = [place for place, each in enumerate(found.judged) if each is not reference]
    rows: list[list[object]] = [
        [term, *(each[place] if each[place] is not None else "–" for place in others)]
        for term, each in differences.items()
    ]
    header = ["nats", *(found.judged[place].name for place in others)]
    text = (
        f"Each run less {reference.name}, example by example: mean ± standard error of the "
        "differences, which what makes an example hard for all models does not widen."
    )
    if not rows:
        return Section(
            "Differences", absent=("There are no values of each example that two runs have.",)
        )
    table = Table(rows, header, numeric=tuple(range(1, len(header))))
    return Section("Differences", [Text(text), TableBlock(table)])


def _curves(found: Comparison) -> Section:
    without = extras.missing(*extras.MATPLOTLIB)
    if without is not None:
        return Section("Training", absent=(f"{without}.",))
    # Losses are of different objectives, and not to be compared.
    for term, label in (("val_elbo", "validation ELBO"), ("elbo", "training ELBO")):
        curves = {each.name: each.run.history.get(term) for each in found.judged}
        known = {name: values for name, values in curves.items() if values}
        if known:
            picture = Picture.of(_lines(known, f"{label}, nats"), f"The {label} by epoch.")
            missing = [name for name in curves if name not in known]
            absent = [f"There is none of {', '.join(missing)}."] if missing else []
            return Section("Training", [Pictures([picture])], absent)
    return Section("Training", absent=("No ELBO was recorded of any of the runs.",))


def _lines(curves: dict[str, Any], label: str) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = new_figure((7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    styles = zip(itertools.cycle(_COLORS), itertools.cycle(_DASHES), strict=False)
    for place, (values, (color, dashes)) in enumerate(zip(curves.values(), styles, strict=False)):
        axes.plot(
            range(1, len(values) + 1),
            values,
            color=color,
            linestyle=dashes,
            marker=_MARKERS[place // len(_DASHES) % len(_MARKERS)] or "o" * (len(values) == 1),
            markevery=max(1, len(values) // 8),
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", color=MUTED)
    axes.set_ylabel(label, color=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    # Names that begin with an underscore would have no entry of their own.
    legend = axes.legend(axes.get_lines(), list(curves), frameon=False, labelcolor=INK)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _pictures(found: Comparison) -> Iterator[Section]:
    for kind in dict.fromkeys(found.request.kinds or ()):
        shown = [
            dataclasses.replace(picture, title=f"{each.name}: {picture.title}")
            for each in found.judged
            if (picture := each.pictures.get(kind)) is not None
        ]
        missing = [each.name for each in found.judged if kind not in each.pictures]
        absent = [f"Not drawn of {', '.join(missing)}."] if missing else []
        title = f"{kind.capitalize()} of each run"
        yield Section(title, [Pictures(shown)] if shown else (), absent)


def _configurations(found: Comparison) -> Section:
    rows = [
        [name, *("" if value is None else value for value in values)]
        for name, values in found.configurations().items()
    ]
    if not rows:
        return Section(
            "What differs", absent=("Nothing: configurations, versions and commits are the same.",)
        )
    header = ["", *(each.name for each in found.judged)]
    blocks: list[Block] = [TableBlock(Table(rows, header))]
    return Section("What differs", blocks)
