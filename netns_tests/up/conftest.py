"""A machine of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netns_tests.up.machine import Machine, private_machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    with private_machine() as found:
        yield found
