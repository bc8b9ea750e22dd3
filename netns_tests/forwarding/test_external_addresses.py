"""External IPs and load balancer VIPs, which the router takes to node-a, and source ranges."""

from kproxy.api.types import Protocol
from kproxy.forwarding.plan import Family
from kproxy.testing import delivered, dropped, refused
from netns_tests.forwarding.survey import ONLY_IPV4, ONLY_IPV6, Case, Survey


def cases(asks: str) -> list[Case]:
    """External IPs and VIPs are treated alike."""
    return [  # asks, policy, client, endpoints -> outcome
        Case(asks, "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
        Case(asks, "Cluster", "outside", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Cluster", "visitor-a", "pod-b", delivered("pod-b", source="node-a")),
        Case(asks, "Cluster", "visitor-c", "pod-b", delivered("pod-b", source="node-c")),
        Case(asks, "Cluster", "node-c", "pod-b", delivered("pod-b", source="node-c")),
        Case(asks, "Cluster", "pod-a", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Local", "outside", "pod-a", delivered("pod-a", source="outside")),
        Case(asks, "Local", "outside", "pod-b", dropped("node-a")),
        # Every node translates for its own pods and processes, to endpoints anywhere.
        Case(asks, "Local", "visitor-a", "pod-b", delivered("pod-b", source="visitor-a")),
        Case(asks, "Local", "visitor-c", "pod-a", delivered("pod-a", source="visitor-c")),
        Case(asks, "Local", "node-a", "pod-b", delivered("pod-b", source="node-a")),
        Case(asks, "Local", "pod-a", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Cluster", "outside", "", refused("node-a")),
        Case(asks, "Local", "visitor-a", "", refused("node-a")),
        Case(asks, "Cluster", "visitor-c", "", refused("node-c")),
        # No rule refuses a node's own packet on its way out. The router takes it to node-a, and
        # if that is where it came from, IPv4 drops it as a martian.
        Case(asks, "Cluster", "node-c", "", refused("node-a")),
        Case(asks, "Cluster", "node-a", "", dropped("node-a"), ONLY_IPV4),
        Case(asks, "Cluster", "node-a", "", refused("node-a"), ONLY_IPV6),
    ]


RANGED = "VIP with source ranges"
CASES = [
    *cases("external IP"),
    *cases("VIP"),
    Case(RANGED, "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
    Case(RANGED, "Cluster", "stranger", "pod-b", dropped("node-a")),
    Case(RANGED, "Cluster", "visitor-a", "pod-b", dropped("node-a")),  # pods are bound as well
    Case(RANGED, "Cluster", "node-a", "pod-b", dropped("node-a")),
    Case(RANGED, "Local", "outside", "pod-a", delivered("pod-a", source="outside")),
    Case(RANGED, "Local", "stranger", "pod-a", dropped("node-a")),
    Case(RANGED, "Local", "outside", "pod-b", dropped("node-a")),
    Case(RANGED, "Cluster", "stranger", "", refused("node-a")),  # no endpoints: no ranges either
]


def test_everybody_agrees(survey: Survey, case: Case, family: Family, protocol: Protocol) -> None:
    seen = survey[case, family, protocol]
    assert seen.packet == case.outcome
    assert seen.connection == case.outcome
    assert seen.oracle == case.outcome
