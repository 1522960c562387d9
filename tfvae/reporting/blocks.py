"""What pages are made of: sections of tables, text, code and pictures, without any HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from tfvae import drawing
from tfvae.markup import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS = 24


class Figures(NamedTuple):
    """A number that stands out: its name, its value in words, and what it is."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True)
class Finding:
    """Something to know before the rest is read.

    Attributes:
        tone: ``"good"``, ``"note"`` or ``"warning"``.
        text: what it is.
    """

    tone: str
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Code:
    """Lines to be copied."""

    kind: ClassVar[str] = "code"
    text: str
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture that is part of the page.

    Attributes:
        source: a ``data:`` URI.
        title: what it shows, beneath it.
        width: in pixels of the page, at most.
        words: what stands in it, for those who cannot see it.
    """

    source: str
    title: str
    width: int
    words: str = ""

    @classmethod
    def of(cls, figure: Figure, title: str) -> Picture:
        """Make a picture of a figure."""
        memory = io.BytesIO()
        figure.savefig(memory, dpi=drawing.DPI, format="png")
        data = base64.b64encode(memory.getvalue()).decode("ascii")
        # Two thirds of the print size: sharp on screens of any density.
        source, width = f"data:image/png;base64,{data}", round(100 * figure.get_figwidth())
        said = words(figure)
        return cls(source, title, width, f"In the picture: {said}" if said else "No words in it.")


def words(figure: Figure) -> str:
    """Return the words of a figure: titles, names of axes, legends and notes, each once."""
    found: list[str] = []
    for axes in figure.axes:
        if axes.get_visible():
            found += [axes.get_title(place) for place in ("left", "center", "right")]
            if axes.axison:
                found += [axes.get_xlabel(), axes.get_ylabel()]
            legend = axes.get_legend()
            found += [] if legend is None else [text.get_text() for text in legend.get_texts()]
    found += [text.get_text() for text in figure.texts]
    lines = (" ".join(each.split()) for each in found)
    every = list(dict.fromkeys(line for line in lines if line))
    more = f"; and {len(every) - _WORDS} more" if len(every) > _WORDS else ""
    return "; ".join(every[:_WORDS]) + more


@dataclass(frozen=True)
class Pictures:
    """Pictures, side by side where there is room."""

    kind: ClassVar[str] = "pictures"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class TableBlock:
    """A table."""

    kind: ClassVar[str] = "table"
    table: Table


Block = Text | Code | Pictures | TableBlock


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: its heading.
        blocks: what it holds, or nothing.
        absent: why there is nothing, or not all, in a line each.
    """

    title: str
    blocks: Sequence[Block] = ()
    absent: Sequence[str] = ()

    @property
    def key(self) -> str:
        """What links call it."""
        return "".join(char if char.isalnum() else "-" for char in self.title.lower())


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: what it is of.
        subtitle: what this is.
        figures: numbers that stand out.
        findings: what to know first.
        sections: the rest.
        footer: who made it, when.
    """

    title: str
    subtitle: str
    figures: Sequence[Figures] = ()
    findings: Sequence[Finding] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: str = ""
