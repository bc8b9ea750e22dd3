"""The guests of scripts/test share all files with tests marked ipvs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from netns_tests import conftest

HERE = Path(__file__).parent
LISTED = {HERE / name for name in conftest._SECONDS}


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_each_file_is_in_one_part(parts: int) -> None:
    files = {*HERE.rglob("test_*.py")}
    found = Counter(
        path for part in range(parts) for path in files - conftest._others(part + 1, parts)
    )
    assert found == Counter(LISTED)


def test_a_file_in_no_part_is_known(request: pytest.FixtureRequest) -> None:
    """So that its tests marked ipvs fail, instead of running nowhere."""
    assert conftest._unlisted(request.node)
