"""One lab for each module and variant of iptables, with all rows of the module's table asked."""

from __future__ import annotations

import pytest

from kproxy.testing import LabFactory
from netns_tests.forwarding.survey import PROTOCOLS, VARIANTS, Case, Survey, build_lab


@pytest.fixture(scope="module", params=VARIANTS)
def survey(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> Survey:
    return Survey(build_lab(kproxy_module_lab, request.param), request.module.CASES)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `case` runs for each row, in each family of the row and each protocol."""
    if "case" not in metafunc.fixturenames:
        return
    cases: list[Case] = metafunc.module.CASES
    metafunc.parametrize(
        ("case", "family", "protocol"),
        [
            pytest.param(case, family, protocol, id=f"{case} {family.value} {protocol}")
            for case in cases
            for family in case.families
            for protocol in PROTOCOLS
        ],
    )
