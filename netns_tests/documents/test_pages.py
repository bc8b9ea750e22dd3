"""Pages show what their commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from netns_tests.documents.running import difference, played
from netns_tests.documents.sessions import ROOT

PAGES = ("README.md", "docs/kubectl.md", "docs/tutorial.md", "docs/up.md")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_what_it_shows(name: str, tmp_path: Path) -> None:
    page = (ROOT / name).read_text()
    assert difference(page, played(page, tmp_path)) == ""
