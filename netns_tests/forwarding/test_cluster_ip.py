"""Cluster IPs: who answers and what it sees, by internalTrafficPolicy."""

from kproxy.api.types import Protocol
from kproxy.forwarding.plan import Family
from kproxy.testing import delivered, dropped, refused
from netns_tests.forwarding.survey import ONLY_TCP, Case, Survey

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
    # Local: endpoints of the client's own node, or nothing. IPVS says so: an empty virtual server
    # refuses.
    Case("cluster IP", "Local", "visitor-a", "pod-a", delivered("pod-a", source="visitor-a")),
    Case("cluster IP", "Local", "visitor-a", "pod-a pod-b", delivered("pod-a", source="visitor-a")),
    Case("cluster IP", "Local", "node-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("cluster IP", "Local", "visitor-a", "pod-b", dropped("node-a"), ipvs=refused("node-a")),
    Case(
        "cluster IP", "Local", "visitor-c", "pod-a pod-b", dropped("node-c"), ipvs=refused("node-c")
    ),
    Case("cluster IP", "Local", "node-a", "pod-b", dropped("node-a"), ipvs=refused("node-a")),
    Case("cluster IP", "Local", "outside", "pod-b", dropped("node-a"), ipvs=refused("node-a")),
    # No endpoint anywhere.
    Case("cluster IP", "Cluster", "visitor-a", "", refused("node-a")),
    Case("cluster IP", "Local", "visitor-a", "", refused("node-a")),
    Case("cluster IP", "Cluster", "node-a", "", refused("node-a")),
    Case("cluster IP", "Cluster", "outside", "", refused("node-a")),
    # A port that no Service has. It goes to and fro between router and node-a, unless the address
    # is node-a's own (ipvs mode). UDP is not told.
    Case(
        *("cluster IP, closed port", "Cluster", "outside", "pod-b", refused()),
        ipvs=refused("node-a"),
        protocols=ONLY_TCP,
    ),
]


def test_everybody_agrees(survey: Survey, case: Case, family: Family, protocol: Protocol) -> None:
    seen = survey[case, family, protocol]
    assert seen.packet == seen.outcome
    assert seen.connection == seen.outcome
    assert seen.oracle == seen.outcome
