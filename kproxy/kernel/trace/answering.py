"""Where the answers to packets come from: the places that their destination is translated to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from kproxy.address import split_host_port
from kproxy.errors import KproxyError
from kproxy.kernel.ipvs import Ipvs
from kproxy.kernel.trace.wanted import PacketFilter
from kproxy.kernel.xtables import Xtables

Place = tuple[str, int]
"""An address and a port, "" and 0 for any."""

_MOST = 8
"""Places that are told apart: each costs every packet of the node a few comparisons."""
_DESTINATION = re.compile(r"(?<!!) -d ([^\s/]+)")
_PORT = re.compile(r"(?<!!) --dport (\d+)(?= |$)")
_TARGET = re.compile(r" -[jg] (\S+)")
_TO = re.compile(r" --to-destination (\S+)")


def answering(wanted: PacketFilter) -> list[PacketFilter]:
    """Return what answers have before they are translated back, in the calling thread's namespace:
    as IPVS and the legacy table nat send what is wanted elsewhere now.
    """
    places = {*_real_servers(wanted)}
    for family in wanted.families:
        xtables = Xtables(family, "legacy")
        if xtables.has("nat"):
            places |= {*translated(wanted, xtables.save("nat"))}
    return answers_from(wanted, places)


def answers_from(wanted: PacketFilter, places: Iterable[Place]) -> list[PacketFilter]:
    """Return what answers have that come from these places, or from where they are asked. Pure.

    Of many places, only the ports count.
    """
    if not wanted.destination and not wanted.destination_port:
        return [PacketFilter(destination=wanted.source, destination_port=wanted.source_port)]
    found = sorted({(wanted.destination, wanted.destination_port), *places})
    if len(found) > _MOST:
        ports = sorted({port for _, port in found if port})
        found = [("", port) for port in ports[:_MOST]]
    return [PacketFilter(source=address, source_port=port) for address, port in found]


def translated(wanted: PacketFilter, chains: Mapping[str, Sequence[str]]) -> Iterator[Place]:
    """Yield the destinations that rules of a table nat may give to what is wanted. Pure.

    `chains`: the rules of each chain as iptables-save prints them. Too many may be found: only
    addresses and ports are looked at.
    """
    all_rules = (f" {rule}" for rules in chains.values() for rule in rules)
    waiting = [rule for rule in all_rules if _may_take(rule, wanted)]
    reached: set[str] = set()
    while waiting:
        rule = waiting.pop()
        if to := _TO.search(rule):
            yield from _place(to[1])
        target = _TARGET.search(rule)
        if target and target[1] not in reached:
            reached.add(target[1])
            waiting += [f" {each}" for each in chains.get(target[1], ())]


def _may_take(rule: str, wanted: PacketFilter) -> bool:
    """Tell whether a rule names the destination or the port that is wanted, and no other one."""
    address, port = _DESTINATION.search(rule), _PORT.search(rule)
    if address and wanted.destination not in ("", address[1]):
        return False
    if port and wanted.destination_port not in (0, int(port[1])):
        return False
    return bool(address or port)


def _place(text: str) -> Iterator[Place]:
    address, port = split_host_port(text) or (text, "0")
    if port.isdecimal() and "-" not in address:  # no range
        yield address, int(port)


def _real_servers(wanted: PacketFilter) -> Iterator[Place]:
    with suppress(KproxyError), Ipvs() as ipvs:  # most kernels have not loaded it
        for family in wanted.families:
            for server in ipvs.virtual_servers(family):
                if _is_asked(wanted, server.address, server.port):
                    for real in ipvs.real_servers(server):
                        yield real.address, real.port


def _is_asked(wanted: PacketFilter, address: str, port: int) -> bool:
    return wanted.destination in ("", address) and wanted.destination_port in (0, port)
