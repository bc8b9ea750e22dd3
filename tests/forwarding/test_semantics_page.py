"""The page for users says what the oracle says."""

from __future__ import annotations

import re

from tests.forwarding.semantics_tables import PAGE, TABLES, renewed


def test_the_tables_are_up_to_date() -> None:
    page = PAGE.read_text()
    assert page == renewed(page), "renew it: python -m tests.forwarding.semantics_tables"


def test_every_table_has_its_place() -> None:
    assert re.findall(r"<!-- table: (.*) -->", PAGE.read_text()) == list(TABLES)
