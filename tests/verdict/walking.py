"""Shared by the walkers of recorded rules: a packet, the node it is at, and its fate.

They know netfilter, not kproxy: what kproxy predicts from objects is compared with what the rules
of the real kube-proxy do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_network

from kproxy.address import host_port

FORWARD, REJECT, DROP, PASS = "forward", "reject", "drop", "pass"


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection. `interface` is "" if a process of the node sends it."""

    source: str
    address: str
    port: int
    protocol: str  # lower case
    interface: str


@dataclass(frozen=True)
class Node:
    addresses: frozenset[str]  # of its interfaces
    route_localnet: bool

    def has(self, address: str) -> bool:
        """Tell whether an address is of type local."""
        return address in self.addresses or ip_address(address).is_loopback


@dataclass(frozen=True)
class Fate:
    verdict: str
    endpoints: tuple[str, ...] = ()
    masquerade: bool = False


Place = tuple[str, int]


@dataclass(frozen=True)
class Translated:
    """A way through the chains before routing: the new place, or None, or the verdict there."""

    place: Place | None
    mark: int
    verdict: str = ""


def fate(
    packet: Packet,
    node: Node,
    ways: Iterable[Translated],
    refuses: Callable[[Packet, str, bool, int], str],
    masquerades: Callable[[Packet, bool, int], bool],
) -> Fate:
    """Return the fate of a packet after the chains before routing.

    `refuses` gives the verdict of the filter in a hook, "" to go on; `masquerades` asks those
    behind routing. Both get the packet, whether it was translated, and its mark.
    """
    found: list[Fate] = []
    for way in ways:
        if way.verdict:
            found.append(Fate(way.verdict))
            continue
        changed = packet
        if way.place:
            changed = Packet(packet.source, *way.place, packet.protocol, packet.interface)
        found.append(_onward(packet, changed, node, way, refuses, masquerades))
    forwarded = [each for each in found if each.verdict == FORWARD]
    if not forwarded:
        (only,) = {*found}
        return only
    endpoints = sorted({one for each in forwarded for one in each.endpoints})
    return Fate(FORWARD, tuple(endpoints), any(each.masquerade for each in forwarded))


def _onward(
    packet: Packet,
    changed: Packet,
    node: Node,
    way: Translated,
    refuses: Callable[[Packet, str, bool, int], str],
    masquerades: Callable[[Packet, bool, int], bool],
) -> Fate:
    here = node.has(changed.address)
    translated = changed != packet
    if (
        translated
        and within(packet.source, "127.0.0.0/8")
        and not node.route_localnet
        and not (here and node.has(packet.address))
    ):
        return Fate(DROP)  # as the kernel's routing does
    hooks = [] if packet.interface else ["output"]
    if here:
        hooks.append("input")
    for hook in hooks or ["forward"]:
        if verdict := refuses(changed, hook, translated, way.mark):
            return Fate(verdict)
    stays = here and packet.interface != ""
    hidden = not stays and masquerades(changed, translated, way.mark)
    if not translated:
        return Fate(PASS, masquerade=hidden)
    return Fate(FORWARD, (host_port(changed.address, changed.port),), hidden)


@cache
def within(address: str, text: str) -> bool:
    one, network = ip_address(address), ip_network(text)
    return one.version == network.version and one in network
