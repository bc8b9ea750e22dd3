"""One lab for each mode, which all tests of the package share and leave as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netns_tests.control_plane.plane_lab import PlaneLab, cleared
from netns_tests.modes import MODES, Mode


@pytest.fixture(scope="package", params=MODES, ids=str)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


@pytest.fixture(scope="package")
def shared(mode: Mode) -> Iterator[PlaneLab]:
    with PlaneLab(mode) as up:
        yield up


@pytest.fixture(scope="package")
def unproxied() -> Iterator[PlaneLab]:
    with PlaneLab(None) as up:
        yield up


@pytest.fixture
def bare_lab(unproxied: PlaneLab) -> Iterator[PlaneLab]:
    """Yield a lab without proxies, for what is the same in every mode."""
    with cleared(unproxied):
        yield unproxied


@pytest.fixture
def lab(shared: PlaneLab) -> Iterator[PlaneLab]:
    with cleared(shared):
        yield shared
