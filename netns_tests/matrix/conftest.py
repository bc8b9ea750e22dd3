"""Measurements, shared by all tests of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import pytest

from kproxy.matrix.measure import Cell, measure
from kproxy.matrix.places import Question
from kproxy.matrix.setting import Setting

Measured = Callable[[Setting], Mapping[tuple[Question, str], Cell]]


@pytest.fixture(scope="session")
def measured() -> Measured:
    """Return a function for the cells of a setting, by question and protocol.

    Each setting is measured once.
    """

    @cache
    def cells(setting: Setting) -> Mapping[tuple[Question, str], Cell]:
        return {(cell.question, cell.protocol): cell for cell in measure(setting)}

    return cells
