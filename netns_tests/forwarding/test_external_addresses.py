"""External IPs and load balancer VIPs, which the router takes to node-a, and source ranges."""

from kproxy.address import Family
from kproxy.api.types import Protocol
from kproxy.testing import delivered, dropped, refused
from netns_tests.forwarding.survey import BOTH, ONLY_IPV4, ONLY_IPV6, ONLY_TCP, Case, Survey


def cases(asks: str) -> list[Case]:
    """Return the cases, the same for external IPs and VIPs."""
    return [  # asks, policy, client, endpoints -> outcome
        Case(asks, "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
        Case(asks, "Cluster", "outside", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Cluster", "visitor-a", "pod-b", delivered("pod-b", source="node-a")),
        Case(asks, "Cluster", "visitor-c", "pod-b", delivered("pod-b", source="node-c")),
        Case(asks, "Cluster", "node-c", "pod-b", delivered("pod-b", source="node-c")),
        Case(asks, "Cluster", "pod-a", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Local", "outside", "pod-a", delivered("pod-a", source="outside")),
        Case(
            *(asks, "Local", "outside", "pod-b", dropped("node-a")),
            ipvs=delivered("pod-b", source="outside", answered=False),
        ),
        # Every node translates packets of its own pods and processes, to endpoints anywhere.
        Case(asks, "Local", "visitor-a", "pod-b", delivered("pod-b", source="visitor-a")),
        Case(asks, "Local", "visitor-c", "pod-a", delivered("pod-a", source="visitor-c")),
        # In ipvs mode the address is an own one of every node, and a process that asks it has it as
        # its source, which is not masqueraded: node-b gets a packet from an address of its own.
        Case(
            *(asks, "Local", "node-a", "pod-a", delivered("pod-a", source="node-a")),
            ipvs=delivered("pod-a", source="what it asks"),
        ),
        Case(
            *(asks, "Local", "node-a", "pod-b", delivered("pod-b", source="node-a"), ONLY_IPV4),
            ipvs=dropped("node-b"),
        ),
        Case(
            *(asks, "Local", "node-a", "pod-b", delivered("pod-b", source="node-a"), ONLY_IPV6),
            ipvs=delivered("pod-b", source="what it asks", answered=False),
        ),
        Case(asks, "Local", "pod-a", "pod-a", delivered("pod-a", source="node-a")),
        Case(asks, "Cluster", "outside", "", refused("node-a")),
        Case(asks, "Local", "visitor-a", "", refused("node-a")),
        Case(asks, "Cluster", "visitor-c", "", refused("node-c")),
        # No rule of iptables mode refuses a node's own packet on its way out. The router takes it
        # to node-a, and if that is where it came from, IPv4 drops it as a martian.
        Case(
            *(asks, "Cluster", "node-c", "", refused("node-a")),
            ipvs=refused("node-c"),
            nftables=refused("node-c"),
        ),
        Case(
            *(asks, "Cluster", "node-a", "", dropped("node-a"), ONLY_IPV4),
            ipvs=refused("node-a"),
            nftables=refused("node-a"),
        ),
        Case(asks, "Cluster", "node-a", "", refused("node-a"), ONLY_IPV6),
    ]


def closed_port(client: str, by: str) -> Case:
    """Return a case of a closed port. The packet is routed as if there were no Service, so it
    bounces between router and node-a (UDP is not informed of its end), unless the address is the
    node's own, as in ipvs mode.
    """
    asks = "VIP, closed port"
    return Case(asks, "Cluster", client, "pod-b", refused(), BOTH, refused(by), ONLY_TCP)


CLOSED = {"outside": "node-a", "visitor-c": "node-c", "node-c": "node-c"}
RANGED = "VIP with source ranges"
CASES = [
    *cases("external IP"),
    *cases("VIP"),
    *(closed_port(client, by) for client, by in CLOSED.items()),
    Case(RANGED, "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
    Case(RANGED, "Cluster", "stranger", "pod-b", dropped("node-a")),
    Case(RANGED, "Cluster", "visitor-a", "pod-b", dropped("node-a")),  # pods are bound as well
    Case(RANGED, "Cluster", "node-a", "pod-b", dropped("node-a")),
    Case(RANGED, "Local", "outside", "pod-a", delivered("pod-a", source="outside")),
    Case(RANGED, "Local", "stranger", "pod-a", dropped("node-a")),
    Case(
        *(RANGED, "Local", "outside", "pod-b", dropped("node-a")),
        ipvs=delivered("pod-b", source="outside", answered=False),
    ),
    # No endpoints: no ranges either. In ipvs mode they are looked at before the virtual server (by
    # the node itself: behind it), in nftables mode before anything else.
    Case(
        *(RANGED, "Cluster", "stranger", "", refused("node-a")),
        ipvs=dropped("node-a"),
        nftables=dropped("node-a"),
    ),
    Case(
        *(RANGED, "Cluster", "visitor-c", "", refused("node-c")),
        ipvs=dropped("node-c"),
        nftables=dropped("node-c"),
    ),
    Case(RANGED, "Cluster", "outside", "", refused("node-a")),
    Case(RANGED, "Cluster", "node-a", "", dropped("node-a"), ONLY_IPV4, refused("node-a")),
    Case(
        *(RANGED, "Cluster", "node-c", "", refused("node-a")),
        ipvs=refused("node-c"),
        nftables=dropped("node-c"),
    ),
]


def test_all_answers_agree(survey: Survey, case: Case, family: Family, protocol: Protocol) -> None:
    seen = survey[case, family, protocol]
    assert seen.packet == seen.outcome
    assert seen.connection == seen.outcome
    assert seen.oracle == seen.outcome
