"""Sightings in any order become one observation."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from kproxy.forwarding.network import Host, HostKind, Network
from kproxy.outcome import How, Observation
from kproxy.probe.journey import Seen, conclude, in_order
from kproxy.probe.packets import Role, Sighting

NETWORK = Network(
    hosts={
        host.name: host
        for host in [
            Host(name="outside", kind=HostKind.CLIENT, addresses=("192.0.2.1",)),
            Host(name="router", kind=HostKind.ROUTER, addresses=()),
            Host(
                name="node-a",
                kind=HostKind.NODE,
                addresses=("172.18.0.1",),
                listens=(("TCP", 9000),),  # a pod on the host network
            ),
            Host(name="pod-a", kind=HostKind.POD, addresses=("10.244.0.2",), node="node-a"),
        ]
    },
    routes={},
)
OUT, IN = True, False


def request(
    host: str,
    outgoing: bool,
    hop_limit: int,
    source: str,
    destination: str,
    time_ns: int = 0,
    port: int = 0,
) -> Seen:
    return Seen(
        host,
        outgoing,
        Sighting(
            tag=1,
            role=Role.REQUEST,
            source=source,
            destination=destination,
            destination_port=port,
            hop_limit=hop_limit,
        ),
        time_ns=time_ns,
    )


def refusal(host: str, outgoing: bool, hop_limit: int, how: How) -> Seen:
    return Seen(
        host,
        outgoing,
        Sighting(tag=1, role=Role.REFUSAL, source="", destination="", hop_limit=hop_limit, how=how),
    )


TO_NODE = [
    request("outside", OUT, 64, "192.0.2.1", "172.18.0.1"),
    request("router", IN, 64, "192.0.2.1", "172.18.0.1"),
    request("router", OUT, 63, "192.0.2.1", "172.18.0.1"),
    request("node-a", IN, 63, "192.0.2.1", "172.18.0.1"),
]
TO_POD = [
    *TO_NODE,
    request("node-a", OUT, 62, "172.18.0.1", "10.244.0.2"),
    request("pod-a", IN, 62, "172.18.0.1", "10.244.0.2"),
]
HAIRPIN = [
    request("pod-a", OUT, 64, "10.244.0.2", "10.96.0.1"),
    request("node-a", IN, 64, "10.244.0.2", "10.96.0.1"),
    request("node-a", OUT, 63, "172.18.0.1", "10.244.0.2"),
    request("pod-a", IN, 63, "172.18.0.1", "10.244.0.2"),
]
MARTIAN = [
    *HAIRPIN[:2],
    request("node-a", OUT, 63, "10.244.0.2", "10.244.0.2"),
    request("pod-a", IN, 63, "10.244.0.2", "10.244.0.2"),
]
REJECTED = [
    refusal("node-a", OUT, 64, How.PORT_UNREACHABLE),
    refusal("router", IN, 64, How.PORT_UNREACHABLE),
    refusal("router", OUT, 63, How.PORT_UNREACHABLE),
]
HEARD = refusal("outside", IN, 63, How.PORT_UNREACHABLE)
RESET = [refusal("pod-a", OUT, 64, How.RST), refusal("node-a", IN, 64, How.RST)]
TO_POD_HOPS = ("outside", "router", "node-a", "pod-a")

RELAYED = [
    request("node-a", OUT, 64, "10.244.0.1", "10.244.0.2", time_ns=5),
    request("pod-a", IN, 64, "10.244.0.1", "10.244.0.2", time_ns=6),
]
RELAYED_REFUSAL = [
    refusal("pod-a", OUT, 64, How.PORT_UNREACHABLE),
    refusal("node-a", IN, 64, How.PORT_UNREACHABLE),
]
TO_SELF = [
    request("node-a", OUT, 64, "10.96.0.1", "10.96.0.1", time_ns=1),
    request("node-a", IN, 64, "10.96.0.1", "10.96.0.1", time_ns=2),
]

JOURNEYS: list[tuple[str, str, list[Seen], Role | None, Observation, tuple[str, ...]]] = [
    (
        "delivered",
        "outside",
        TO_POD,
        Role.ANSWER,
        Observation.delivered("pod-a", "172.18.0.1"),
        TO_POD_HOPS,
    ),
    (
        "the answer is lost",
        "outside",
        TO_POD,
        None,
        Observation.delivered("pod-a", "172.18.0.1", answered=False),
        TO_POD_HOPS,
    ),
    (
        "a pod reaches itself",
        "pod-a",
        HAIRPIN,
        Role.ANSWER,
        Observation.delivered("pod-a", "172.18.0.1"),
        ("pod-a", "node-a", "pod-a"),
    ),
    (
        "a pod reaches itself and sees its own address",
        "pod-a",
        MARTIAN,
        None,
        Observation.dropped("pod-a"),
        ("pod-a", "node-a", "pod-a"),
    ),
    (
        "a server on the node itself",
        "outside",
        TO_NODE,
        Role.ANSWER,
        Observation.delivered("node-a", "192.0.2.1"),
        TO_POD_HOPS[:3],
    ),
    (
        "dropped on the node",
        "outside",
        TO_NODE,
        None,
        Observation.dropped("node-a"),
        TO_POD_HOPS[:3],
    ),
    ("never left", "outside", [], None, Observation.dropped("outside"), ("outside",)),
    (
        "rejected by the node",
        "outside",
        [*TO_NODE, *REJECTED, HEARD],
        None,
        Observation.refused("node-a", How.PORT_UNREACHABLE),
        TO_POD_HOPS[:3],
    ),
    (
        "the ICMP error is lost",
        "outside",
        [*TO_NODE, *REJECTED],
        None,
        Observation.dropped("node-a"),
        TO_POD_HOPS[:3],
    ),
    (
        "a node rejects its own packet",
        "node-a",
        [
            refusal("node-a", OUT, 64, How.PORT_UNREACHABLE),
            refusal("node-a", IN, 64, How.PORT_UNREACHABLE),
        ],
        None,
        Observation.refused("node-a", How.PORT_UNREACHABLE),
        ("node-a",),
    ),
    (
        "nobody listens",
        "outside",
        [*TO_POD, *RESET],
        Role.REFUSAL,
        Observation.refused("pod-a", How.RST),
        TO_POD_HOPS,
    ),
    (
        "a relay sends a packet of its own, which begins with a full hop limit",
        "outside",
        [*TO_NODE, *RELAYED],
        Role.ANSWER,
        Observation.delivered("pod-a", "10.244.0.1"),
        TO_POD_HOPS,
    ),
    (
        "a relay on the client's own host",
        "node-a",
        [*TO_SELF, *RELAYED],
        Role.ANSWER,
        Observation.delivered("pod-a", "10.244.0.1"),
        ("node-a", "pod-a"),
    ),
    (
        "what a relay is told is not told to the client",
        "node-a",
        [*TO_SELF, *RELAYED, *RELAYED_REFUSAL],
        None,
        Observation.dropped("pod-a"),
        ("node-a", "pod-a"),
    ),
    (
        "a pod on the host network gets it, and its answer is lost",
        "outside",
        [*TO_NODE[:3], request("node-a", IN, 63, "192.0.2.1", "172.18.0.1", port=9000)],
        None,
        Observation.delivered("node-a", "192.0.2.1", answered=False),
        ("outside", "router", "node-a"),
    ),
    (
        "the node listens on another port",
        "outside",
        [*TO_NODE[:3], request("node-a", IN, 63, "192.0.2.1", "172.18.0.1", port=9001)],
        None,
        Observation.dropped("node-a"),
        ("outside", "router", "node-a"),
    ),
    (
        "the reset is lost",
        "outside",
        [*TO_POD, *RESET],
        None,
        Observation.dropped("pod-a"),
        TO_POD_HOPS,
    ),
]


@pytest.mark.parametrize(
    ("client", "seen", "reply", "expected", "hops"),
    [row[1:] for row in JOURNEYS],
    ids=[row[0] for row in JOURNEYS],
)
def test_journey(
    client: str, seen: list[Seen], reply: Role | None, expected: Observation, hops: tuple[str, ...]
) -> None:
    shuffled = random.Random(1).sample(seen, len(seen))
    concluded = conclude(NETWORK, client, shuffled, reply)
    assert concluded == expected
    assert concluded.hops == hops


def passing(place: str, hop_limit: int, time_ns: int, *, encapsulated: bool = False) -> Seen:
    """Make a sighting. `place`: host:link, and `>` if the packet leaves there."""
    host, link = place.rstrip(">").split(":")
    found = request(host, place.endswith(">"), hop_limit, "10.244.2.11", "10.244.1.11")
    return Seen(host, found.outgoing, found.sighting, link, time_ns, encapsulated)


ORDERED = {
    "the hop limit goes before the clock": [
        passing("client:eth0>", 64, 9),
        passing("node-b:client", 64, 10),
        passing("node-b:eth0>", 63, 1),
        passing("router:node-b", 63, 2),
    ],
    "a tunnel lowers nothing: the clock tells": [
        passing("node-b:vx0>", 63, 1),
        passing("node-b:eth0>", 63, 2, encapsulated=True),
        passing("router:node-b", 63, 3, encapsulated=True),
        passing("router:node-a>", 63, 4, encapsulated=True),
        passing("node-a:eth0", 63, 5, encapsulated=True),
        passing("node-a:vx0", 63, 6),
    ],
    "a bridge lowers nothing either": [
        passing("node-a:cni0>", 62, 1),
        passing("node-a:web>", 62, 2),
        passing("web:eth0", 62, 3),
    ],
    "it leaves before it arrives, though the clock is too coarse": [
        passing("client:eth0>", 64, 5),
        passing("node-b:client", 64, 5),
    ],
}


@pytest.mark.parametrize("ordered", ORDERED.values(), ids=ORDERED.keys())
def test_order(ordered: list[Seen]) -> None:
    for shuffled in permutations(ordered):
        assert in_order(shuffled) == ordered
