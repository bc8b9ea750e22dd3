"""The pages for users agree with the oracle."""

from __future__ import annotations

import re

import pytest

from tests.forwarding.semantics_tables import DOCS, PAGES, renewed


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_are_up_to_date(name: str) -> None:
    page = (DOCS / name).read_text()
    assert page == renewed(page), "renew it: python -m tests.forwarding.semantics_tables"


@pytest.mark.parametrize("name", PAGES)
def test_every_table_has_its_place(name: str) -> None:
    page = (DOCS / name).read_text()
    assert re.findall(r"<!-- table: (.*) -->", page) == list(PAGES[name])
