"""Pages: sound, escaped, legible, and everything is there."""

from __future__ import annotations

import pytest

from kproxy.report.page import (
    DARK,
    LIGHT,
    SIGNS,
    Cell,
    Figure,
    Heading,
    Lines,
    Numbered,
    Paragraph,
    Part,
    Table,
    Tone,
    cells,
    page,
)
from tests.report.pages import Page

EVIL = "<script>alert('1')</script> \"' onload=x &lt; --> ]]> </td></style>"
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg"><title>a</title><text x="1">b</text></svg>'
ROW = (Cell("who"), Cell("good", "good"), Cell("bad", "bad", EVIL), Cell("odd", "odd"), Cell(""))
PARTS: list[Part] = [
    Paragraph("a summary", "good"),
    Heading("first"),
    Table("caption", ("1", "2", "3", "4", "5"), (ROW, cells(*"abcde")), left=2),
    Heading("first, more", level=3),
    Numbered(("a note", "another note")),
    Heading("second"),
    Lines((Cell("chain"), Cell("- gone", "bad"), Cell("+ new", "good"))),
    Heading("third"),
    Figure(PICTURE, "a picture"),
]


def test_all_parts_are_there() -> None:
    found = Page(page("title", PARTS))
    assert found.headings == [
        ("h1", "title"),
        ("h2", "first"),
        ("h3", "first, more"),
        ("h2", "second"),
        ("h2", "third"),
    ]
    assert found.tables == {
        "caption": [[*"12345"], ["who", "good", "bad", "odd", ""], [*"abcde"]],
    }
    assert found.tones["caption"][1] == ["", "", "bad", "odd", ""]
    assert found.pictures == 1
    for text in ("a summary", "a note", "another note", "- gone", "+ new", "a picture"):
        assert found.has(text)


def test_nothing_is_injected() -> None:
    hostile: list[Part] = [
        Paragraph(EVIL, "bad"),
        *(Heading(EVIL) for _ in range(3)),
        Heading(EVIL, level=3),
        Table(EVIL, (EVIL,), ((Cell(EVIL, "good", EVIL), Cell(EVIL, "odd", EVIL)),)),
        Numbered((EVIL,)),
        Lines((Cell(EVIL, "bad"),)),
        Figure(PICTURE, EVIL),
    ]
    html = page(EVIL, hostile)
    found = Page(html)  # which lets no script pass, and no reference
    assert "alert" not in html.replace("&lt;script&gt;alert(&#x27;1&#x27;)", "")
    assert found.cells == {EVIL}
    assert found.headings[0] == ("h1", EVIL)
    assert found.text.count(EVIL) == 17


def test_what_a_colour_says_a_sign_says_too() -> None:
    html = page("title", PARTS)
    for tone, sign in SIGNS.items():
        shown = f'<span class="sign">{sign}</span>\N{NO-BREAK SPACE}'
        assert f">{shown}{tone}</td>" in html or tone == "good"  # which heads its row here
    assert f'class="good"><span class="sign">{SIGNS["good"]}</span>\N{NO-BREAK SPACE}a sum' in html
    assert len({*SIGNS.values()}) == len(SIGNS) == 3


def test_contents_are_listed_if_there_are_several_parts() -> None:
    assert '<a href="#part-3">third</a>' in page("title", PARTS)
    assert "<nav" not in page("title", PARTS[:6])


def _luminance(colour: str) -> float:
    """Return the relative luminance. Source: WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("tone", ["good", "bad", "odd", "dim", "ink", "link"])
def test_text_is_legible(theme: dict[str, str], tone: Tone) -> None:
    """The contrast is at least 4.5, as WCAG asks of text (AA)."""
    backs = [f"{tone}-back"] if tone in SIGNS else ["page", "head"]
    for back in backs:
        dark, light = sorted(_luminance(theme[name]) for name in (tone, back))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (tone, back)


def test_it_knows_dark_screens_paper_and_phones() -> None:
    html = page("title", PARTS)
    assert "@media screen and (prefers-color-scheme: dark)" in html
    assert "@media print" in html
    assert 'content="width=device-width' in html
    assert "break-before: page" in html


def test_what_begins_a_sheet_and_what_is_code() -> None:
    html = page(
        "title",
        [
            Heading("short", sheet=False),
            Paragraph("unless `nodePortAddresses` says <more>"),
            Heading("long"),
            Table("Hops", ("hop", "rules"), ((Cell("1"), Cell("jump  nat", "bad", code=True)),)),
        ],
    )
    assert '<h2 id="part-1">short</h2>' in html
    assert '<h2 id="part-2" class="sheet">long</h2>' in html
    assert "unless <code>nodePortAddresses</code> says &lt;more&gt;" in html
    assert '<td class="bad code">' in html
