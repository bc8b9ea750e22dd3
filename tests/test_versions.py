"""The table of what depends on the version."""

from __future__ import annotations

import re

import pytest

from kproxy.backend import modes
from kproxy.versions import (
    BEHAVIOURS,
    CUTS_REMOVED_UDP,
    CUTS_UNSERVED_UDP,
    NEWEST_RELEASED,
    SINGLE_ENDPOINT_DNAT,
    Behaviour,
    Version,
    parse_version,
)

V1_36, V1_37, V1_38 = Version

HAS = [  # behaviour -> versions that have it
    (SINGLE_ENDPOINT_DNAT, (V1_37, V1_38)),
    (CUTS_UNSERVED_UDP, (V1_37, V1_38)),
    (CUTS_REMOVED_UDP, (V1_38,)),
    (Behaviour(name="x", since=V1_36, until=V1_38, summary="", source="", was=""), (V1_36, V1_37)),
]


@pytest.mark.parametrize(("behaviour", "versions"), HAS)
def test_which_versions_have_a_behaviour(
    behaviour: Behaviour, versions: tuple[Version, ...]
) -> None:
    assert tuple(version for version in Version if version.has(behaviour)) == versions


def test_a_behaviour_of_one_mode_is_in_force_in_no_other() -> None:
    assert SINGLE_ENDPOINT_DNAT.in_force(V1_37, "nftables")
    assert not SINGLE_ENDPOINT_DNAT.in_force(V1_36, "nftables")
    assert not SINGLE_ENDPOINT_DNAT.in_force(V1_37, "iptables")
    assert CUTS_UNSERVED_UDP.in_force(V1_37, "iptables")


def test_versions_are_in_order_and_found_by_name() -> None:
    assert sorted(Version) == [*Version]
    assert [parse_version(str(version)) for version in Version] == [*Version]
    assert V1_37 is NEWEST_RELEASED
    with pytest.raises(ValueError, match=r"kube-proxy 1\.35 is not emulated; there are 1\.36, "):
        parse_version("1.35")


def test_every_row_is_complete() -> None:
    assert len({each.name for each in BEHAVIOURS}) == len(BEHAVIOURS) == 22
    for each in BEHAVIOURS:
        assert re.search(r"#\d+", each.source), each.name
        assert each.summary[-1] + each.was[-1] == "..", each.name
        assert {*each.modes} <= {*modes(), "winkernel"}, each.name
