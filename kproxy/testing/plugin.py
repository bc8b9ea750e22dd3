"""The plugin that pytest loads in every run: two fixtures, and explanations of failed comparisons.

No other module of kproxy is imported until a test asks for a lab.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kproxy.testing.lab import LabFactory


@pytest.fixture
def kproxy_lab() -> Iterator[LabFactory]:
    """Yield a function that builds labs (see `LabFactory`); they are removed after the test."""
    from kproxy.testing.lab import LabFactory

    with LabFactory() as factory:
        yield factory


@pytest.fixture(scope="module")
def kproxy_module_lab() -> Iterator[LabFactory]:
    """Yield the same as `kproxy_lab`, for labs that all tests of a module share."""
    from kproxy.testing.lab import LabFactory

    with LabFactory() as factory:
        yield factory


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    # An answer can only have been compared if its module was imported.
    expectations = sys.modules.get("kproxy.testing.expectations")
    if expectations is None or op != "==":
        return None
    lines: list[str] | None = expectations.explain(left, right)
    return lines
