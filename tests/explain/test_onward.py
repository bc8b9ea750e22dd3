"""Which of the connections that were seen are those of proxies on the way."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP

from kproxy.explain.conversation import Caught
from kproxy.explain.onward import Relay, Seen, Way, way_of
from kproxy.probe.foreign import foreign

CLIENT, NODE, FRONT = "10.244.1.11", "192.168.10.11", "10.244.1.13"
SERVICE, POD, OTHER = "10.96.0.10", "10.244.2.11", "10.244.2.12"
ASKED = 7  # the sequence number of the client's SYN
PROXY = Relay("node", "a proxy on node", frozenset({(POD, 80), (OTHER, 80)}))
INGRESS = Relay("front", "the ingress on front", None, ingress=True)


class Wire:
    """Packets as taps have caught them, in the order in which they were sent."""

    def __init__(self) -> None:
        self.caught: list[Caught] = []

    def add(
        self, host: str, source: tuple[str, int], to: tuple[str, int], *, out: bool, **tcp: object
    ) -> None:
        packet = IP(src=source[0], dst=to[0]) / TCP(sport=source[1], dport=to[1], **tcp)
        found = foreign(bytes(packet))
        assert found
        time_ns = len(self.caught) + 1
        self.caught.append(Caught(host, "eth0", out, time_ns, False, bytes(packet), found))

    def connect(
        self,
        hosts: tuple[str, str],
        source: tuple[str, int],
        to: tuple[str, int],
        number: int,
        *,
        flags: str = "SA",
    ) -> None:
        """Send a SYN from one host to another, which answers with these flags, if any."""
        here, there = hosts
        self.add(here, source, to, out=True, flags="S", seq=number)
        self.add(there, source, to, out=False, flags="S", seq=number)
        if flags:
            self.add(there, to, source, out=True, flags=flags, ack=number + 1)
            self.add(here, to, source, out=False, flags=flags, ack=number + 1)


def relays(host: str, address: str, port: int) -> Relay | None:
    places = {("node", SERVICE): PROXY, ("front", FRONT): INGRESS}
    return places.get((host, address)) if port == 80 else None


def way(wire: Wire, told: tuple[str, int] | None = None) -> Way:
    return way_of(("TCP", ASKED), Seen(wire.caught, [], {}), relays, told)


def firsts(found: Way) -> list[str]:
    return [leg.conversation.first for leg in found.legs]


@pytest.fixture
def wire() -> Wire:
    """Return a wire on which a client has connected to a proxy."""
    found = Wire()
    found.connect(("pod", "node"), (CLIENT, 20000), (SERVICE, 80), ASKED)
    return found


def test_the_only_one_to_an_endpoint_is_taken(wire: Wire) -> None:
    wire.connect(("node", "elsewhere"), (NODE, 1000), ("10.9.9.9", 80), 90)
    wire.connect(("node", "web"), (NODE, 1001), (POD, 80), 91)
    wire.connect(("another", "web"), ("192.168.10.12", 1002), (POD, 80), 92)
    found = way(wire)
    assert firsts(found) == ["pod", "node"]
    assert [leg.by for leg in found.legs] == [None, PROXY]
    assert found.legs[1].conversation.made == (NODE, 1001, POD, 80)
    assert (found.relay, found.certain) == (None, False)


def test_a_server_that_tells_decides_among_several(wire: Wire) -> None:
    wire.connect(("node", "other"), (NODE, 1000), (OTHER, 80), 90)
    wire.connect(("node", "web"), (NODE, 1001), (POD, 80), 91)
    found = way(wire, told=(NODE, 1001))
    assert found.legs[1].conversation.made == (NODE, 1001, POD, 80)
    assert found.certain
    without = way(wire)
    assert firsts(without) == ["pod"]
    assert without.relay == PROXY
    assert without.candidates == (f"{POD}:80", f"{OTHER}:80")


def test_what_the_server_tells_ends_a_chain() -> None:
    wire = Wire()
    wire.connect(("pod", "front"), (CLIENT, 20000), (FRONT, 80), ASKED)
    wire.connect(("front", "node"), (FRONT, 30000), (SERVICE, 80), 8)
    wire.connect(("node", "other"), (NODE, 1000), (OTHER, 80), 90)
    wire.connect(("node", "web"), (NODE, 1001), (POD, 80), 91)
    found = way(wire, told=(NODE, 1001))
    assert firsts(found) == ["pod", "front", "node"]
    assert [leg.by for leg in found.legs] == [None, INGRESS, PROXY]
    assert found.certain


def test_a_connection_that_is_refused_or_lost_ends_the_way(wire: Wire) -> None:
    wire.connect(("node", "web"), (NODE, 1001), (POD, 80), 91, flags="RA")
    found = way(wire)
    assert firsts(found) == ["pod", "node"]
    lost = Wire()
    lost.connect(("pod", "node"), (CLIENT, 20000), (SERVICE, 80), ASKED, flags="")
    lost.connect(("node", "web"), (NODE, 1001), (POD, 80), 91)
    assert firsts(way(lost)) == ["pod"]


def test_an_answer_from_elsewhere_is_none() -> None:
    wire = Wire()
    wire.connect(("pod", "node"), (CLIENT, 20000), (SERVICE, 80), ASKED, flags="")
    wire.add("node", (POD, 80), (CLIENT, 20000), out=True, flags="SA", ack=ASKED + 1)
    wire.add("pod", (POD, 80), (CLIENT, 20000), out=False, flags="SA", ack=ASKED + 1)
    wire.connect(("node", "web"), (NODE, 1001), (POD, 80), 91)
    (leg,) = way(wire).legs
    assert leg.conversation.reply is None
    assert len(leg.conversation.seen) == 4


def test_a_relay_that_makes_none(wire: Wire) -> None:
    wire.add("node", (SERVICE, 80), (CLIENT, 20000), out=True, flags="RA", ack=ASKED + 1)
    found = way(wire)
    assert (firsts(found), found.relay, found.candidates) == (["pod"], PROXY, ())
    # Its reset of what it had accepted is no answer to the SYN.
    assert {each.sighting.how for each in found.legs[0].conversation.seen} == {None}


def test_where_no_relay_listens_the_way_ends() -> None:
    wire = Wire()
    wire.connect(("pod", "node"), (CLIENT, 20000), (NODE, 22), ASKED)
    wire.connect(("node", "web"), (NODE, 1001), (POD, 80), 91)
    found = way(wire)
    assert (firsts(found), found.relay, found.certain) == (["pod"], None, True)
