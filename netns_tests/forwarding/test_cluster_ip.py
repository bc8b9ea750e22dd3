"""Cluster IPs: the pod that answers and the source it sees, by internalTrafficPolicy."""

from kproxy.address import Family
from kproxy.api.types import Protocol
from kproxy.testing import delivered, dropped, refused
from netns_tests.forwarding.survey import ONLY_TCP, Case, Survey

CLOSED = {"outside": "node-a", "visitor-c": "node-c", "node-c": "node-c"}


def closed_port(client: str, by: str) -> Case:
    """Return a case of a port that no Service has. It bounces between router and node-a (UDP is not
    informed of its end), unless the address is the node's own (ipvs mode) or known as a
    cluster IP (nftables mode).
    """
    return Case(
        *("cluster IP, closed port", "Cluster", client, "pod-b", refused()),
        ipvs=refused(by),
        protocols=ONLY_TCP,
        nftables=refused(by),
    )


CASES = [  # asks, policy, client, endpoints -> outcome
    # Pods keep their address; all other clients are masqueraded.
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
    # Local: endpoints of the client's own node, or none. In IPVS an empty virtual server refuses.
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
    *(closed_port(client, by) for client, by in CLOSED.items()),
]


def test_all_answers_agree(survey: Survey, case: Case, family: Family, protocol: Protocol) -> None:
    seen = survey[case, family, protocol]
    assert seen.packet == seen.outcome
    assert seen.connection == seen.outcome
    assert seen.oracle == seen.outcome
