"""One lab for each mode, which all tests of the package share: they remove what they add."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy.testing import ProbedLab
from netns_tests.modes import MODES, Mode
from netns_tests.services.service_lab import service_lab


@pytest.fixture(scope="session", params=MODES, ids=str)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


@pytest.fixture(scope="session")
def lab(mode: Mode) -> Iterator[ProbedLab]:
    with service_lab(mode) as up:
        yield up
