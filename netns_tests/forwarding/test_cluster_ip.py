"""Cluster IPs: who answers and what it sees, by internalTrafficPolicy."""

from kproxy.api.types import Protocol
from kproxy.forwarding.plan import Family
from kproxy.testing import delivered, dropped, refused
from netns_tests.forwarding.survey import Case, Survey

CASES = [  # asks, policy, client, endpoints -> outcome
    # Pods keep their address; everybody else is masqueraded.
    Case("cluster IP", "Cluster", "visitor-a", "pod-a", delivered("pod-a", source="visitor-a")),
    Case("cluster IP", "Cluster", "visitor-a", "pod-b", delivered("pod-b", source="visitor-a")),
    Case("cluster IP", "Cluster", "visitor-c", "pod-a pod-b", delivered("pod-a", "pod-b")),
    Case("cluster IP", "Cluster", "node-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("cluster IP", "Cluster", "node-a", "pod-b", delivered("pod-b", source="node-a")),
    Case("cluster IP", "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
    # A pod that reaches itself: masqueraded, else its kernel would answer to itself.
    Case("cluster IP", "Cluster", "pod-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("cluster IP", "Local", "pod-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("cluster IP", "Cluster", "pod-a", "pod-b", delivered("pod-b", source="pod-a")),
    # Local: endpoints of the client's own node, or nothing.
    Case("cluster IP", "Local", "visitor-a", "pod-a", delivered("pod-a", source="visitor-a")),
    Case("cluster IP", "Local", "visitor-a", "pod-a pod-b", delivered("pod-a", source="visitor-a")),
    Case("cluster IP", "Local", "node-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("cluster IP", "Local", "visitor-a", "pod-b", dropped("node-a")),
    Case("cluster IP", "Local", "visitor-c", "pod-a pod-b", dropped("node-c")),
    Case("cluster IP", "Local", "node-a", "pod-b", dropped("node-a")),
    Case("cluster IP", "Local", "outside", "pod-b", dropped("node-a")),
    # No endpoint anywhere.
    Case("cluster IP", "Cluster", "visitor-a", "", refused("node-a")),
    Case("cluster IP", "Local", "visitor-a", "", refused("node-a")),
    Case("cluster IP", "Cluster", "node-a", "", refused("node-a")),
    Case("cluster IP", "Cluster", "outside", "", refused("node-a")),
]


def test_everybody_agrees(survey: Survey, case: Case, family: Family, protocol: Protocol) -> None:
    seen = survey[case, family, protocol]
    assert seen.packet == case.outcome
    assert seen.connection == case.outcome
    assert seen.oracle == case.outcome
