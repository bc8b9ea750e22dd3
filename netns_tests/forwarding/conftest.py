"""One lab for each mode and variant of iptables, with the rows of all tables asked at once."""

from __future__ import annotations

import pytest

from kproxy.testing import LabFactory
from netns_tests.forwarding.survey import Case, Survey, build_lab
from netns_tests.modes import MODES


@pytest.fixture(scope="package", params=MODES, ids=str)
def survey(request: pytest.FixtureRequest) -> Survey:
    """Return the answers to all rows of this run; the lab is gone then."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    given = [each["case"] for each in params if "case" in each]
    cases = list(dict.fromkeys(case for case in given if isinstance(case, Case)))
    with LabFactory() as factory:
        return Survey(build_lab(factory, request.param), cases)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `case` for each row, in each family and protocol of the row."""
    if "case" not in metafunc.fixturenames:
        return
    cases: list[Case] = metafunc.module.CASES
    metafunc.parametrize(
        ("case", "family", "protocol"),
        [
            pytest.param(case, family, protocol, id=f"{case} {family.value} {protocol}")
            for case in cases
            for family in case.families
            for protocol in case.protocols
        ],
    )
