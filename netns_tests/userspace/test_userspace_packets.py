"""The pods that answer in userspace mode, and the source that they see: the rows of the other modes
that end otherwise here. The endpoint sees the node that accepts the connection.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy.address import Family
from kproxy.api.types import Protocol
from kproxy.testing import LabFactory, delivered, dropped, refused
from netns_tests.forwarding.survey import Case, Survey, build_lab
from netns_tests.modes import USERSPACE


def external(asks: str) -> list[Case]:
    """Return the rows of an external IP or of a VIP, which are the same."""
    return [  # asks, policy, client, endpoints -> outcome
        Case(asks, "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
        Case(asks, "Cluster", "visitor-c", "pod-b", delivered("pod-b", source="node-c")),
        Case(asks, "Cluster", "node-c", "pod-b", delivered("pod-b", source="node-c")),
        Case(asks, "Cluster", "pod-a", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Local", "outside", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Local", "outside", "pod-a pod-b", delivered("pod-a", source="node-a")),
        Case(asks, "Local", "outside", "pod-b", dropped("node-a")),
        # No traffic is short-circuited.
        Case(asks, "Local", "visitor-a", "pod-b", dropped("node-a")),
        Case(asks, "Local", "node-a", "pod-b", dropped("node-a")),
        Case(asks, "Local", "node-a", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Cluster", "outside", "", refused("node-a")),
        Case(asks, "Local", "visitor-c", "", refused("node-c")),
        Case(asks, "Cluster", "node-c", "", refused("node-c")),
    ]


CASES = [  # asks, policy, client, endpoints -> outcome
    Case("cluster IP", "Cluster", "visitor-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("cluster IP", "Cluster", "visitor-a", "pod-b", delivered("pod-b", source="node-a")),
    Case("cluster IP", "Cluster", "visitor-c", "pod-a pod-b", delivered("pod-a", "pod-b")),
    Case("cluster IP", "Cluster", "node-a", "pod-b", delivered("pod-b", source="node-a")),
    Case("cluster IP", "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
    Case("cluster IP", "Cluster", "pod-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("cluster IP", "Local", "visitor-a", "pod-a pod-b", delivered("pod-a", source="node-a")),
    Case("cluster IP", "Local", "visitor-a", "pod-b", dropped("node-a")),
    Case("cluster IP", "Local", "node-c", "pod-b", dropped("node-c")),
    Case("cluster IP", "Cluster", "visitor-a", "", refused("node-a")),
    Case("cluster IP", "Local", "outside", "", refused("node-a")),
    # The address is the node's own, on any port.
    Case("cluster IP, closed port", "Cluster", "visitor-c", "pod-b", refused("node-c")),
    Case("cluster IP, closed port", "Cluster", "outside", "pod-b", refused("node-a")),
    Case("VIP, closed port", "Cluster", "outside", "pod-b", refused("node-a")),
    Case("VIP, closed port", "Cluster", "node-c", "pod-b", refused("node-c")),
    # Node ports answer on the primary address.
    Case("node-a", "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Cluster", "node-c", "pod-a", delivered("pod-a", source="node-a")),
    Case("node-a", "Cluster", "node-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("node-a", "Cluster", "pod-b", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Local", "outside", "pod-a pod-b", delivered("pod-a", source="node-a")),
    Case("node-a", "Local", "outside", "pod-b", dropped("node-a")),
    Case("node-a", "Local", "visitor-a", "pod-b", dropped("node-a")),
    Case("node-a", "Local", "pod-b", "pod-b", dropped("node-a")),
    Case("node-b", "Local", "pod-b", "pod-b", delivered("pod-b", source="node-b")),
    Case("node-a", "Local", "outside", "", refused("node-a")),
    Case("localhost", "Cluster", "node-a", "pod-b", refused("node-a")),
    Case("gateway", "Cluster", "visitor-a", "pod-b", refused("node-a")),
    *external("external IP"),
    *external("VIP"),
    # Source ranges drop, as rules would. Without a listener they do not matter.
    Case("VIP with source ranges", "Cluster", "outside", "pod-b", delivered(source="node-a")),
    Case("VIP with source ranges", "Cluster", "stranger", "pod-b", dropped("node-a")),
    Case("VIP with source ranges", "Cluster", "visitor-c", "pod-b", dropped("node-c")),
    Case("VIP with source ranges", "Cluster", "node-a", "pod-b", dropped("node-a")),
    Case("VIP with source ranges", "Local", "outside", "pod-a", delivered(source="node-a")),
    Case("VIP with source ranges", "Local", "outside", "pod-b", dropped("node-a")),
    Case("VIP with source ranges", "Cluster", "stranger", "", refused("node-a")),
]


@pytest.fixture(scope="module")
def survey() -> Iterator[Survey]:
    with LabFactory() as factory:
        yield Survey(build_lab(factory, USERSPACE), CASES)


@pytest.mark.parametrize(
    ("case", "family", "protocol"),
    [
        pytest.param(case, family, protocol, id=f"{case} {family.value} {protocol}")
        for case in CASES
        for family in case.families
        for protocol in case.protocols
    ],
)
def test_everybody_agrees(survey: Survey, case: Case, family: Family, protocol: Protocol) -> None:
    seen = survey[case, family, protocol]
    assert seen.packet == seen.outcome
    assert seen.connection == seen.outcome
    assert seen.oracle == seen.outcome
