"""Reads a page as a browser would, and checks that it is sound and needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from kproxy.report.page import SIGNS

_VOID = {"meta"}
_REFERENCES = ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "style")
_OUTSIDE = re.compile(r"url\(|@import|https?://", re.IGNORECASE)
_NAMESPACE = "http://www.w3.org/2000/svg"


class Page(HTMLParser):
    """A page, read and checked: elements are balanced, and nothing refers to the outside.

    `tables`: the cells of each row of each table by its caption, without signs, the heads first.
    `tones`: likewise, the class of each cell. `text`: all text outside of styles.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tones: dict[str, list[list[str]]] = {}
        self.headings: list[tuple[str, str]] = []
        self.pictures = 0
        self.text = ""
        self._open: list[str] = []
        self._ids: list[str] = []
        self._links: list[str] = []
        self._words: list[str] = []
        self._caption = ""
        assert html.startswith('<!doctype html>\n<html lang="en">')
        self.feed(html)
        self.close()
        assert self._open == []
        assert {*self._links} <= {f"#{each}" for each in self._ids}
        assert len({*self._ids}) == len(self._ids)
        assert [tag for tag, _ in self.headings].count("h1") == 1
        assert all(self.tables)  # each has a caption

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img", "image", "base")
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in _REFERENCES:
                assert (tag, name) == ("a", "href"), (tag, name)
                self._links.append(value or "")
            elif name == "id":
                self._ids.append(value or "")
            elif name == "xmlns":
                assert value == _NAMESPACE
            elif name == "http-equiv":
                raise AssertionError(value)
        if tag in _VOID:
            return
        self._open.append(tag)
        self.pictures += tag == "svg"
        if tag == "tr":
            self.tables[self._caption].append([])
            self.tones[self._caption].append([])
        elif tag in ("th", "td"):
            self.tones[self._caption][-1].append(dict(attrs).get("class") or "")
        if tag in ("caption", "th", "td", "h1", "h2", "h3", "title"):
            self._words = []

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        words = "".join(self._words).strip()
        if tag == "caption":
            number = 2
            self._caption = words
            while self._caption in self.tables:
                self._caption, number = f"{words} #{number}", number + 1
            self.tables[self._caption], self.tones[self._caption] = [], []
        elif tag in ("th", "td"):
            self.tables[self._caption][-1].append(words)
        elif tag in ("h1", "h2", "h3"):
            self.headings.append((tag, words))
        if tag in ("td", "th", "p", "li", "caption", "h1", "h2", "h3", "text", "span"):
            self.text += "\n"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            assert not _OUTSIDE.search(data), data
        elif data.strip("\N{NO-BREAK SPACE}") not in SIGNS.values():
            data = data.removeprefix("\N{NO-BREAK SPACE}")
            self._words.append(data)
            self.text += data

    @property
    def cells(self) -> set[str]:
        """Return the texts of all cells."""
        return {cell for rows in self.tables.values() for row in rows for cell in row}

    def has(self, text: str) -> bool:
        """Tell whether a text is there; white space does not count."""
        return " ".join(text.split()) in " ".join(self.text.split())
