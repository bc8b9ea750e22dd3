"""Node ports: the pod that answers and the source it sees, by externalTrafficPolicy."""

from kproxy.address import Family
from kproxy.api.types import Protocol
from kproxy.testing import delivered, dropped, refused
from netns_tests.forwarding.survey import ONLY_IPV4, ONLY_IPV6, Case, Survey

CASES = [  # asks, policy, client, endpoints -> outcome
    # Cluster: masqueraded, because the reply must return through the node that was asked.
    Case("node-a", "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Cluster", "outside", "pod-a", delivered("pod-a", source="node-a")),
    Case("node-c", "Cluster", "outside", "pod-b", delivered("pod-b", source="node-c")),
    Case("node-a", "Cluster", "visitor-a", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Cluster", "visitor-c", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Cluster", "node-c", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Cluster", "node-a", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Cluster", "node-a", "pod-a", delivered("pod-a", source="node-a")),
    Case("node-a", "Cluster", "pod-a", "pod-a", delivered("pod-a", source="node-a")),  # hairpin
    Case("node-a", "Cluster", "pod-b", "pod-b", delivered("pod-b", source="node-a")),
    # A process of the node by its loopback address: translated in IPv4 only.
    # In ipvs mode no virtual server has it, in nftables mode it is left out.
    Case(
        *(
            "localhost",
            "Cluster",
            "node-a",
            "pod-b",
            delivered("pod-b", source="node-a"),
            ONLY_IPV4,
        ),
        ipvs=refused("node-a"),
        nftables=refused("node-a"),
    ),
    Case("localhost", "Cluster", "node-a", "pod-b", refused("node-a"), ONLY_IPV6),
    # nodePortAddresses: all addresses, but in nftables mode only the primary one of the node.
    Case(
        *("gateway", "Cluster", "visitor-a", "pod-b", delivered("pod-b", source="node-a")),
        nftables=refused("node-a"),
    ),
    Case(
        *("gateway", "Local", "outside", "pod-b", dropped("node-a")),
        ipvs=delivered("pod-b", source="outside", answered=False),
        nftables=refused("node-a"),
    ),
    Case("gateway", "Cluster", "visitor-a", "", refused("node-a")),
    # Local: the client's address is kept, and only endpoints of the node answer.
    Case("node-a", "Local", "outside", "pod-a", delivered("pod-a", source="outside")),
    Case("node-a", "Local", "outside", "pod-a pod-b", delivered("pod-a", source="outside")),
    Case("node-b", "Local", "outside", "pod-a pod-b", delivered("pod-b", source="outside")),
    # Dropped, not refused, where there is none. IPVS uses those of other nodes without effect:
    # their answer returns without passing node-a.
    Case(
        *("node-a", "Local", "outside", "pod-b", dropped("node-a")),
        ipvs=delivered("pod-b", source="outside", answered=False),
    ),
    Case(  # a node is no local pod
        *("node-a", "Local", "node-c", "pod-b", dropped("node-a")),
        ipvs=delivered("pod-b", source="node-c", answered=False),
    ),
    # Pods and the node itself short-circuit to all endpoints, in ipvs mode only if none is local.
    Case("node-a", "Local", "visitor-a", "pod-b", delivered("pod-b", source="visitor-a")),
    Case("node-a", "Local", "visitor-c", "pod-a", delivered("pod-a", source="visitor-c")),
    Case("node-a", "Local", "node-a", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Local", "pod-a", "pod-a", delivered("pod-a", source="node-a")),  # hairpin
    Case(
        *("node-a", "Local", "visitor-a", "pod-a pod-b", delivered("pod-a", "pod-b")),
        ipvs=delivered("pod-a", source="visitor-a"),
    ),
    Case(
        *("node-a", "Local", "node-a", "pod-a pod-b", delivered("pod-a", "pod-b", source="node-a")),
        ipvs=delivered("pod-a", source="node-a"),
    ),
    # A pod that reaches itself by another node. IPVS on node-a does not masquerade it; node-b does
    # on its return, but then the answer is not from node-a. In nftables mode no node does, and IPv4
    # drops a packet from an own address (a martian).
    Case(
        *("node-a", "Local", "pod-b", "pod-b", delivered("pod-b", source="node-a"), ONLY_IPV4),
        ipvs=delivered("pod-b", source="node-b", answered=False),
        nftables=dropped("pod-b"),
    ),
    Case(
        *("node-a", "Local", "pod-b", "pod-b", delivered("pod-b", source="node-a"), ONLY_IPV6),
        ipvs=delivered("pod-b", source="node-b", answered=False),
        nftables=delivered("pod-b", source="pod-b", answered=False),
    ),
    # ... even a pod of another node, whose answer then returns without passing node-a.
    Case(
        "node-a",
        "Local",
        "visitor-c",
        "pod-b",
        delivered("pod-b", source="visitor-c", answered=False),
    ),
    # No endpoint anywhere: say so at once.
    Case("node-a", "Cluster", "outside", "", refused("node-a")),
    Case("node-a", "Local", "outside", "", refused("node-a")),
    Case("node-a", "Local", "visitor-a", "", refused("node-a")),
    Case("node-a", "Cluster", "node-a", "", refused("node-a")),
    Case("node-a", "Cluster", "node-c", "", refused("node-a")),
]


def test_all_answers_agree(survey: Survey, case: Case, family: Family, protocol: Protocol) -> None:
    seen = survey[case, family, protocol]
    assert seen.packet == seen.outcome
    assert seen.connection == seen.outcome
    assert seen.oracle == seen.outcome
