"""An itinerary written by hand: a pod asks a Service, and the pod of another node answers."""

from __future__ import annotations

from msgspec.structs import replace

from kproxy.explain.itinerary import (
    Balanced,
    Endpoint,
    Ends,
    Hop,
    Itinerary,
    Named,
    Question,
    Route,
    Step,
    Tracked,
)

ASKS = Ends("10.244.2.11", 20000, "10.96.0.10", 80)
GIVES = Ends("10.244.2.11", 20000, "10.244.1.11", 8080)
OWN = Ends("192.168.10.12", 40000, "10.244.1.11", 8080)
DIRECT = Route(kind="unicast", via="", dev="web", table="main", problem="")


def step(effect: str, chain: str, purpose: str = "", *, verdict: str = "accept") -> Step:
    return Step(
        hook="prerouting",
        table="nat",
        chain=chain,
        rule=f"-A {chain} -j X",
        verdict=verdict,
        effect=effect,
        purpose=purpose,
    )


def hop(host: str, kind: str, links: str, before: Ends, after: Ends | None = None) -> Hop:
    """Make a hop of the request. `links`: "in>out", each may be empty."""
    entry, leave = links.split(">")
    return Hop(
        host=host,
        kind=kind,
        role="request",
        packet="SYN",
        entry=entry,
        exit=leave,
        before=before,
        after=after or before,
        steps=(),
        conntrack=None,
        route=None,
        ipvs=None,
    )


def reply(made: Hop) -> Hop:
    """Turn a hop of the request into one of the answer."""
    return replace(
        made,
        role="reply",
        packet="SYN-ACK",
        entry=made.exit,
        exit=made.entry,
        before=made.after.turned,
        after=made.before.turned,
        steps=(),
        ipvs=None,
    )


NODE = replace(
    hop("node-b", "node", "client>eth0", ASKS, GIVES),
    steps=(
        step("jump", "KUBE-SERVICES", "default/web:http cluster IP", verdict="jump KUBE-SVC-A"),
        step("", "KUBE-X", verdict="return"),
        step("dnat", "KUBE-SEP-A", "default/web:http"),
        step("", "PREROUTING", verdict="jump KUBE-X"),
    ),
    conntrack=Tracked(
        state="SYN_RECV", original=ASKS, reply=GIVES.turned, mark=0x4000, deleted=True
    ),
    route=Route(kind="unicast", via="192.168.10.1", dev="eth0", table="100", problem=""),
    ipvs=Balanced(virtual_server="10.96.0.10:80", scheduler="rr", real_server="10.244.1.11:8080"),
)
REQUEST = (
    hop("client", "pod", ">eth0", ASKS),
    NODE,
    replace(hop("router", "router", "node-b>node-a", GIVES), route=DIRECT),
    hop("web", "pod", "eth0>", GIVES),
)
ITINERARY = Itinerary(
    question=Question(
        source="client",
        target="web",
        address="10.96.0.10",
        port=80,
        protocol="TCP",
        family="IPv4",
    ),
    outcome="delivered",
    answered=True,
    at="web",
    sentence="node-b sends it to 10.244.1.11:8080",
    endpoints=(Endpoint(address="10.244.1.11", port=8080, host="web", chosen_by="node-b"),),
    hops=(*REQUEST, *map(reply, reversed(REQUEST))),
)

ON_A_NODE = replace(
    ITINERARY,
    at="10.244.1.11:8080",
    hops=(NODE, reply(NODE)),
    unseen=("its way after it left node-b by eth0",),
    names=(
        Named(address="10.96.0.10", port=80, name="svc/web"),
        Named(address="10.244.1.11", port=8080, name="pod/web-1"),
    ),
)
"""Of a packet that another program has sent, seen on one node of a cluster with names."""
TO_PROXY = (REQUEST[0], replace(NODE, exit="", after=ASKS, steps=(), ipvs=None))
BY_PROXY = (
    hop("node-b", "node", ">eth0", OWN),
    hop("router", "router", "node-b>node-a", OWN),
    hop("web", "pod", "eth0>", OWN),
)
THROUGH = replace(
    ITINERARY,
    sentence="a proxy on node-b accepts it, and makes a connection of its own to 10.244.1.11:8080",
    hops=(
        *TO_PROXY,
        *map(reply, reversed(TO_PROXY)),
        *(replace(each, role="onward request") for each in BY_PROXY),
        *(replace(reply(each), role="onward reply") for each in reversed(BY_PROXY)),
    ),
    unseen=("whose connection it is",),
)
"""A proxy accepts the connection, and makes one of its own."""
