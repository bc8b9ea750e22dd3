"""One lab for each mode, which all tests of the package share: they remove what they add."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy.resident.through_api import ThroughApi
from kproxy.testing import ProbedLab
from netns_tests.modes import MODES, Mode
from netns_tests.services.service_lab import service_lab

THROUGH_API = [Mode("nftables"), Mode("iptables", "legacy"), Mode("ipvs", "legacy")]


@pytest.fixture(scope="package", params=MODES, ids=str)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


@pytest.fixture(scope="package")
def lab(mode: Mode) -> Iterator[ProbedLab]:
    """In some modes objects come by requests to the API, and go to the proxies by watches:
    everything else is the same.
    """
    with service_lab(mode, ThroughApi() if mode in THROUGH_API else None) as up:
        yield up
