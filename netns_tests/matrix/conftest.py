"""Measurements, shared by all tests of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import pytest

from kproxy.matrix.measure import Cell
from kproxy.matrix.places import Question
from kproxy.matrix.setting import Setting
from netns_tests.matrix.survey import survey

Measured = Callable[[Setting], Mapping[tuple[Question, str], Cell]]


class Surveyed(NamedTuple):
    cells: Mapping[tuple[Question, str], Cell]
    """By question and protocol."""
    disagreements: list[str]
    """Where `kproxy trace` and `kproxy explain` differ from the cells."""


Surveys = Callable[[Setting], Surveyed]


@pytest.fixture(scope="package")
def surveys() -> Surveys:
    """Return a function for the cells of a setting. Each setting is measured once."""

    @cache
    def surveyed(setting: Setting) -> Surveyed:
        cells, found = survey(setting)
        return Surveyed({(cell.question, cell.protocol): cell for cell in cells}, found)

    return surveyed


@pytest.fixture(scope="package")
def measured(surveys: Surveys) -> Measured:
    return lambda setting: surveys(setting).cells
