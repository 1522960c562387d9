"""Reads the HTML that tfvae writes, and refuses what a page must not have."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = ("meta", "br", "img", "link")


class Page(HTMLParser):
    """A page, or what a notebook shows, read.

    An element that is not closed, a script, or anything that a browser would fetch is an error.

    Attributes:
        rows: the cells of each row of each table.
        text: all that is shown.
        headings: the text of each h2.
        images: what stands for each picture, and its source.
        captions: of tables and pictures.
        links: where links go.
        ids: what links can go to.
        tables: how many there are.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.style = ""
        self.headings: list[str] = []
        self.images: list[tuple[str, str]] = []
        self.captions: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open
        assert len(set(self.ids)) == len(self.ids)
        assert "url(" not in self.style
        assert "@import" not in self.style

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "embed", "link", "base")
        given = {name: value or "" for name, value in attrs}
        assert not [name for name in given if name.startswith("on")]
        for name in ("src", "srcset", "data", "poster", "background"):
            assert given.get(name, "data:").startswith("data:"), given
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "h2":
            self.headings.append("")
        elif tag in ("caption", "figcaption"):
            self.captions.append("")
        elif tag == "img":
            self.images.append((given["alt"], given["src"]))
        elif tag == "a":
            self.links.append(given["href"])
        if "id" in given:
            self.ids.append(given["id"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.style += data
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        elif "h2" in self.open:
            self.headings[-1] += data
        elif self.open[-1:] in (["caption"], ["figcaption"]):
            self.captions[-1] += data

    def row(self, name: str, columns: int | None = None) -> list[str]:
        """Return what the first row of a name has beside it, of a table so wide."""
        beside = [rest for first, *rest in self.rows if first == name]
        return next(rest for rest in beside if len(rest) == (columns or len(rest)))
