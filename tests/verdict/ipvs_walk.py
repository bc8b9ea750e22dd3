"""Walks iptables, sets and virtual servers of one family, for the first packet of a connection.

IPVS has no chain of its own to show: it follows filter's INPUT for what arrives, and nat's OUTPUT
for what the node itself sends. Nobody has session affinity yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_interface

from kproxy.address import host_port
from tests.verdict.iptables_walk import END, Match, Tables, parse, run
from tests.verdict.walking import DROP, FORWARD, PASS, REJECT, Fate, Node, Packet, Place, within

_PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
_NUMBERS = {"tcp": "6", "udp": "17", "sctp": "132"}
_SERVER = re.compile(r"-(?P<verb>[Aa]) (?P<kind>\S+) (?P<place>\S+)(?: -r (?P<real>\S+))?.*")

Served = tuple[str, str, int]  # protocol, address, port


@dataclass(frozen=True)
class Kernel:
    tables: Tables
    sets: Mapping[str, frozenset[str]]
    addresses: frozenset[str]  # of kube-ipvs0
    servers: Mapping[Served, Sequence[Place]]


def read(recording: str, tables: str) -> Kernel:
    """Return what was recorded, with the tables of a family: `iptables` or `ip6tables`."""
    parts = re.split(r"^## (\S+)\n", recording, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    sets: dict[str, set[str]] = {}
    for line in sections["ipset"].splitlines():
        verb, name, entry = line.split()[:3]
        members = sets.setdefault(name, set())
        if verb == "add":
            members.add(entry)
    return Kernel(
        parse(sections[tables]),
        {name: frozenset(members) for name, members in sets.items()},
        addresses(sections["kube-ipvs0"].split()),
        servers(sections["ipvs"].splitlines()),
    )


def addresses(listed: Iterable[str]) -> frozenset[str]:
    return frozenset(str(ip_interface(each).ip) for each in listed)


def servers(lines: Iterable[str]) -> Mapping[Served, Sequence[Place]]:
    """Return the real servers of each virtual server that lines of `ipvsadm -Sn` have."""
    found: dict[Served, list[Place]] = {}
    for line in lines:
        said = _SERVER.fullmatch(line)
        assert said, line
        reals = found.setdefault((_PROTOCOLS[said["kind"]], *_place(said["place"])), [])
        if said["real"]:
            assert " -w 1" in line, line
            reals.append(_place(said["real"]))
    return found


def _place(text: str) -> Place:
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def walk(kernel: Kernel, packet: Packet, node: Node) -> Fate:
    """Return what becomes of a packet. `node` has the addresses of its other interfaces."""
    node = replace(node, addresses=node.addresses | kernel.addresses)
    return _Walk(kernel, packet, node).fate()


class _Walk:
    def __init__(self, kernel: Kernel, packet: Packet, node: Node) -> None:
        self._kernel = kernel
        self._packet = packet
        self._node = node
        self._asked = packet.protocol, packet.address, packet.port
        self._own = not packet.interface

    def fate(self) -> Fate:
        packet, here = self._packet, self._node.has(self._packet.address)
        ((end, mark),) = self._run("nat", "OUTPUT" if self._own else "PREROUTING", packet, 0)
        assert end in ("", "ACCEPT"), end
        served = self._kernel.servers.get(self._asked)
        if served is None:
            return self._left_alone(mark, here)
        assert here, "the address of a virtual server is the node's own"
        if not self._own and (verdict := self._filter("INPUT", packet, mark)):
            return Fate(verdict)
        fates = [self._sent(packet, real, mark) for real in served]
        forwarded = [each for each in fates if each.verdict == FORWARD]
        if not forwarded:
            (only,) = {*fates} or {Fate(REJECT)}  # an empty one answers: port unreachable
            return only
        endpoints = sorted({one for each in forwarded for one in each.endpoints})
        return Fate(FORWARD, tuple(endpoints), any(each.masquerade for each in forwarded))

    def _left_alone(self, mark: int, here: bool) -> Fate:
        hooks = (["OUTPUT"] if self._own else []) + (["INPUT"] if here else [])
        for hook in hooks or ["FORWARD"]:
            if verdict := self._filter(hook, self._packet, mark):
                return Fate(verdict)
        # What stays on the node has an address of the node before and after, or none.
        return Fate(PASS, masquerade=not here and self._hides(self._packet, mark))

    def _sent(self, packet: Packet, real: Place, mark: int) -> Fate:
        """Return the fate of a packet that IPVS sends to a real server."""
        address, port = real
        changed = replace(packet, address=address, port=port)
        here = self._node.has(address)
        if (within(packet.source, "127.0.0.0/8") or packet.source == "::1") and not here:
            return Fate(DROP)  # IPVS lets no loopback address leave
        if (self._own or not here) and (verdict := self._filter("OUTPUT", changed, mark)):
            return Fate(verdict)
        stays = here and not self._own
        hidden = not stays and self._hides(changed, mark)
        return Fate(FORWARD, (host_port(address, port),), hidden)

    def _filter(self, hook: str, packet: Packet, mark: int) -> str:
        ((end, _),) = self._run("filter", hook, packet, mark)
        return END.get(end, "")

    def _hides(self, packet: Packet, mark: int) -> bool:
        ((end, _),) = self._run("nat", "POSTROUTING", packet, mark)
        return end == "MASQUERADE"

    def _run(self, table: str, hook: str, packet: Packet, mark: int) -> set[tuple[str, int]]:
        chains = self._kernel.tables[table]
        ends = run(chains, hook, packet, self._node, False, mark, self._also)
        return {(target, left) for (target, _), left in ends}

    def _also(self, match: Match, packet: Packet) -> bool:
        """Tell whether a packet matches what only this mode asks for."""
        protocol, address, port = self._asked
        match match.option:
            case "--match-set":
                return self._in_set(match.value, packet)
            case "--vaddr":
                return packet != self._packet and match.value == address
            case "--vport":
                return packet != self._packet and int(match.value) == port
            case "--vproto":
                return packet != self._packet and match.value == _NUMBERS[protocol]
            case other:
                raise AssertionError(f"unknown option {other}")

    def _in_set(self, value: str, packet: Packet) -> bool:
        name, _, sides = value.partition(" ")
        members = self._kernel.sets[name]
        with_port = f"{packet.protocol}:{packet.port}"
        match sides.split(","), name.removeprefix("KUBE-").removeprefix("6-"):
            case ["dst"], "IPVS-IPS":
                return packet.address in members
            case ["dst"], _:
                return packet.protocol != "sctp" and str(packet.port) in members  # a bitmap
            case [first, "dst"], _:
                one = packet.address if first == "dst" else packet.source
                return f"{one},{with_port}" in members
            case ["dst", "dst", "src"], _:
                stem = f"{packet.address},{with_port},"
                cidrs = (each.removeprefix(stem) for each in members if each.startswith(stem))
                return any(within(packet.source, cidr) for cidr in cidrs)
            case other:
                raise AssertionError(f"unknown sides {other}")
