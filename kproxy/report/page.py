"""Pages: the parts of a report as one HTML file that needs no other, and no script. Pure.

Makers of reports choose the parts; here they are only drawn, for light and dark screens, for phones
and for paper. All text is escaped. Pictures are SVG of our own makers and go in as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Literal

from msgspec import Struct

Tone = Literal["", "good", "bad", "odd", "dim"]
SIGNS: Mapping[Tone, str] = {"good": "✓", "bad": "✗", "odd": "▲"}
"""They are shown before the text, for those who cannot tell colours."""
LIGHT = {
    "page": "#ffffff", "ink": "#1b1f24", "head": "#f3f5f7", "line": "#c4cad1", "link": "#0b57b0",
    "dim": "#59636e", "good": "#0f4d1d", "bad": "#8c1219", "odd": "#5c3a00",
    "good-back": "#dff2e1", "bad-back": "#fbe3e1", "odd-back": "#fff1c9",
}  # fmt: skip
DARK = {
    "page": "#0f1318", "ink": "#e6e9ec", "head": "#1b2129", "line": "#3a424c", "link": "#7ab7ff",
    "dim": "#9aa4af", "good": "#9be9a8", "bad": "#ffb3ad", "odd": "#ffd98a",
    "good-back": "#12301b", "bad-back": "#431a1a", "odd-back": "#3d2e05",
}  # fmt: skip
_CONTENTS_FROM = 3  # headings


class Heading(Struct, frozen=True):
    """The title of a part. One of level 2 begins a new `sheet` of paper, if it may be long."""

    text: str
    level: Literal[2, 3] = 2
    sheet: bool = True


class Paragraph(Struct, frozen=True):
    text: str
    tone: Tone = ""


class Cell(Struct, frozen=True):
    """A cell of a table, or a line. `detail`: a longer text, shown under the pointer. `code`: its
    columns of letters are to be kept.
    """

    text: str
    tone: Tone = ""
    detail: str = ""
    code: bool = False


class Table(Struct, frozen=True):
    """A table. The first `left` cells of a row are its headings. Lines of a cell are kept."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: int = 1


class Numbered(Struct, frozen=True):
    """A numbered list, as of footnotes."""

    items: tuple[str, ...]


class Lines(Struct, frozen=True):
    """Lines of code, with their own signs."""

    lines: tuple[Cell, ...]


class Figure(Struct, frozen=True):
    """A picture: an `svg` element that refers to nothing outside."""

    svg: str
    caption: str


Part = Heading | Paragraph | Table | Numbered | Lines | Figure


def cells(*texts: str) -> tuple[Cell, ...]:
    """Return a row of plain cells."""
    return tuple(map(Cell, texts))


def page(title: str, parts: Iterable[Part]) -> str:
    """Return the page as HTML. It has a list of contents if there are several parts."""
    parts = tuple(parts)
    headings = [each for each in parts if isinstance(each, Heading) and each.level == 2]
    numbers = {id(each): number for number, each in enumerate(headings, 1)}
    body = [_drawn(each, numbers.get(id(each), 0)) for each in parts]
    if len(headings) >= _CONTENTS_FROM:
        first = parts.index(headings[0])
        body.insert(first, _contents(headings))
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>",
            f"<h1>{escape(title)}</h1>",
            *body,
            "</main>\n</body>\n</html>\n",
        ]
    )


def _contents(headings: Iterable[Heading]) -> str:
    items = "".join(
        f'<li><a href="#part-{number}">{escape(each.text)}</a></li>'
        for number, each in enumerate(headings, 1)
    )
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _drawn(part: Part, number: int) -> str:
    """Return one part. `number`: of a heading of level 2, from 1."""
    match part:
        case Heading():
            place = f' id="part-{number}"' if number else ""
            place += ' class="sheet"' if number and part.sheet else ""
            return f"<h{part.level}{place}>{escape(part.text)}</h{part.level}>"
        case Paragraph():
            return f"<p{_class(part.tone)}>{_marked(part.text, part.tone)}</p>"
        case Table():
            return "\n".join(_table(part))
        case Numbered():
            items = "\n".join(f"<li>{_quoted(each)}</li>" for each in part.items)
            return f"<ol>\n{items}\n</ol>"
        case Lines():
            lines = (f"<span{_class(each.tone)}>{escape(each.text)}</span>" for each in part.lines)
            return _wide("pre", "\n".join(lines), "code")
        case Figure():
            caption = f"<figcaption>{escape(part.caption)}</figcaption>"
            return f"<figure>{_wide('div', part.svg, part.caption)}\n{caption}</figure>"


def _table(table: Table) -> Iterator[str]:
    yield f'<div class="wide" role="region" tabindex="0" aria-label="{escape(table.caption)}">'
    heads = "".join(f'<th scope="col">{escape(each)}</th>' for each in table.heads)
    yield f"<table><caption>{escape(table.caption)}</caption>\n<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        left = "".join(f'<th scope="row">{escape(each.text)}</th>' for each in row[: table.left])
        yield f"<tr>{left}{''.join(map(_cell, row[table.left :]))}</tr>"
    yield "</tbody></table></div>"


def _cell(cell: Cell) -> str:
    detail = f' title="{escape(cell.detail)}"' if cell.detail else ""
    names = " ".join(filter(None, (cell.tone, "code" if cell.code else "")))
    return f"<td{_class(names)}{detail}>{_marked(cell.text, cell.tone)}</td>"


def _wide(tag: str, inside: str, label: str) -> str:
    """Return an element that scrolls by itself, also with the keyboard."""
    name = f'class="wide" role="region" tabindex="0" aria-label="{escape(label)}"'
    return f"<{tag} {name}>{inside}</{tag}>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""


def _marked(text: str, tone: Tone) -> str:
    sign = f'<span class="sign">{SIGNS[tone]}</span>\N{NO-BREAK SPACE}' if tone in SIGNS else ""
    return f"{sign}{_quoted(text)}"


def _quoted(text: str) -> str:
    """Return the text as HTML; what it has in backticks is a name or a value."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _style() -> str:
    light, dark = (
        "".join(f"--{name}: {colour}; " for name, colour in theme.items())
        for theme in (LIGHT, DARK)
    )
    return _STYLE.replace("LIGHT", light).replace("DARK", dark)


_STYLE = """
:root { LIGHT}
html { font-size: clamp(16px, .8vw, 28px); }
@media screen and (prefers-color-scheme: dark) { :root { DARK} }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: .9375rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 80rem; margin: 0 auto; padding: 1.5rem clamp(.8rem, 3vw, 2.5rem) 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 2.5rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .4rem; }
h1, h2, h3, p, li, a { overflow-wrap: anywhere; }
p, li { max-width: 52rem; }
p { margin: .5rem 0; }
p.good, p.bad, p.odd { padding: .45rem .75rem; border-radius: 6px; font-weight: 600; }
a { color: var(--link); }
nav ol { margin: 1rem 0; padding-left: 1.6rem; }
.wide { overflow-x: auto; }
.wide:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; margin: .4rem 0 1.4rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left;
  vertical-align: top; white-space: pre-wrap; }
th { background: var(--head); font-weight: 600; }
tbody th { font-weight: 400; }
.good { color: var(--good); background: var(--good-back); }
.bad { color: var(--bad); background: var(--bad-back); }
.odd { color: var(--odd); background: var(--odd-back); font-weight: 600; }
.dim { color: var(--dim); }
.sign { font-weight: 700; }
td[title] { cursor: help; }
ol { padding-left: 2rem; }
li { white-space: pre-line; margin-bottom: .3rem; }
code, td.code { font: .9em ui-monospace, monospace; }
td.code { line-height: 1.6; }
pre { margin: .4rem 0 1.4rem; padding: .6rem .8rem; background: var(--head); border-radius: 6px;
  font: .8125rem/1.5 ui-monospace, monospace; }
figure { margin: 1rem 0 1.6rem; }
figure .wide { border: 1px solid var(--line); border-radius: 6px; }
figure svg { display: block; width: 100%; min-width: 52rem; height: auto; }
figcaption { margin-top: .35rem; color: var(--dim); }
@media print {
  @page { margin: 14mm; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  h2 { border: 0; padding: 0; margin-top: 1.2rem; }
  h2.sheet { break-before: page; margin-top: 0; }
  h2#part-1 { break-before: auto; margin-top: 1.2rem; }
  h2, h3, caption { break-after: avoid; }
  tr, li, figure { break-inside: avoid; }
  thead { display: table-header-group; }
  thead tr { break-after: avoid; }
  .wide { overflow: visible; }
  pre { white-space: pre-wrap; }
  th, td, pre { overflow-wrap: anywhere; padding: .2rem .4rem; }
  th, td { min-width: 6em; }
  thead th { overflow-wrap: normal; }
  table { font-size: 8.5pt; width: 100%; }
  figure svg { min-width: 0; max-height: 21cm; }
  nav { display: none; }
  * { print-color-adjust: exact; }
}
"""
