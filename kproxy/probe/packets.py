"""Probe packets: built by scapy, recognised and decoded by cheap looks at their bytes.

Each probe carries a 32-bit tag that no translation changes: a SYN as its sequence number, a
datagram in its payload. A SYN-ACK and a reset acknowledge the tag plus one, a pod's datagram
repeats it, and an ICMP error quotes the packet, so all packets that a probe causes can be
recognised by their bytes, however NAT changes addresses and ports (kube-proxy masquerades with
random ports).

No socket is used here.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Set
from dataclasses import dataclass
from socket import inet_ntop
from typing import NamedTuple

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from kproxy.address import Family, family_of
from kproxy.errors import Unsupported
from kproxy.outcome import How
from kproxy.probe import datagrams

HOP_LIMIT = 64
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_IPV6_HEADER_BYTES = 40
_SYN, _SYN_ACK, _RST_ACK = 0x02, 0x12, 0x14


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A packet to send: the addresses the client uses, and the tag that marks it."""

    source: str
    source_port: int
    address: str
    port: int
    protocol: str
    tag: int


class Role(enum.Enum):
    """The relation of a captured packet to the probe whose tag it carries."""

    REQUEST = "request"  # the probe itself
    ANSWER = "answer"  # a SYN-ACK, or a pod's datagram
    REFUSAL = "refusal"  # a reset or an ICMP error that answers the probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One packet as one host saw it. `how` is set for refusals."""

    tag: int
    role: Role
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0
    hop_limit: int = HOP_LIMIT
    how: How | None = None

    @property
    def icmp(self) -> bool:
        return self.how not in (None, How.RST)


def build(probe: Probe) -> bytes:
    """Return the probe from its IP header on: a SYN, or a datagram that holds the tag.

    Raises Unsupported for a protocol other than TCP and UDP.
    """
    if family_of(probe.address) is Family.IPV6:
        network = IPv6(src=probe.source, dst=probe.address, hlim=HOP_LIMIT)
    else:
        network = IP(src=probe.source, dst=probe.address, ttl=HOP_LIMIT, id=probe.tag & 0xFFFF or 1)
    ports = {"sport": probe.source_port, "dport": probe.port}
    match probe.protocol:
        case "TCP":
            packet = network / TCP(**ports, flags="S", seq=probe.tag, options=[("MSS", 1400)])
        case "UDP":
            packet = network / UDP(**ports) / Raw(datagrams.probe(probe.tag))
        case other:
            raise Unsupported(f"probes do not support {other}", remedy="probe TCP or UDP")
    return bytes(packet)


def sighting(data: bytes, tags: Set[int]) -> Sighting | None:
    """Return the sighting in `data` (from its IP header on) if it carries one of these tags."""
    if not _candidates(data) & tags:
        return None
    return _decode(data, tags)


class Reply(NamedTuple):
    """A segment that a raw TCP socket received. `tag` is a guess until it matches a known one."""

    tag: int
    role: Role
    source_port: int
    destination_port: int


def segment_reply(data: bytes, *, header: bool) -> Reply | None:
    """Return the SYN-ACK or reset that a raw socket received, None for other segments.

    `header`: an IP header precedes the segment. Linux keeps it for IPv4 and not for IPv6.
    """
    segment = data[(data[0] & 0xF) * 4 :] if header else data
    source_port, destination_port, _, acknowledged, _, flags = struct.unpack_from(
        "!HHIIBB", segment
    )
    tag = (acknowledged - 1) & 0xFFFFFFFF
    if flags & _SYN_ACK == _SYN_ACK:
        return Reply(tag, Role.ANSWER, source_port, destination_port)
    if flags & _RST_ACK == _RST_ACK:
        return Reply(tag, Role.REFUSAL, source_port, destination_port)
    return None


def _candidates(data: bytes, *, quoted: bool = False) -> set[int]:
    """Return every number in `data` that might be a tag. Cheap: runs for each captured packet.

    `quoted`: `data` is quoted by an ICMP error.
    """
    if len(data) < 28:
        return set()
    protocol, start = _transport(data)
    if protocol in (_ICMP, _ICMPV6):
        return _candidates(data[start + 8 :], quoted=True)
    if protocol == _UDP:
        found = datagrams.tagged(data[start + 8 :])
        # An error about a reply goes to the pod: the probe itself was not refused.
        return {found.tag} if found and not (quoted and found.reply) else set()
    if protocol == _TCP and len(data) >= start + 8:
        (sequence,) = struct.unpack_from("!I", data, start + 4)
        # A quoted segment may end after eight bytes, before the acknowledgement.
        acknowledged = data[start + 8 : start + 12]
        return {sequence, (int.from_bytes(acknowledged, "big") - 1) & 0xFFFFFFFF}
    return set()


def _transport(data: bytes) -> tuple[int, int]:
    """Return the transport protocol and the offset of its header."""
    if data[0] >> 4 == 4:
        return data[9], (data[0] & 0xF) * 4
    return data[6], _IPV6_HEADER_BYTES


def _decode(data: bytes, tags: Set[int]) -> Sighting | None:
    protocol, start = _transport(data)
    if data[0] >> 4 == 4:
        family, hop_limit, addresses = Family.IPV4, data[8], data[12:20]
    else:
        family, hop_limit, addresses = Family.IPV6, data[7], data[8:40]
    half = len(addresses) // 2
    source = inet_ntop(family.socket_family, addresses[:half])
    destination = inet_ntop(family.socket_family, addresses[half:])

    def seen(tag: int, role: Role, how: How | None = None, ports: bytes = bytes(4)) -> Sighting:
        return Sighting(
            tag=tag,
            role=role,
            source=source,
            destination=destination,
            source_port=int.from_bytes(ports[:2], "big"),
            destination_port=int.from_bytes(ports[2:4], "big"),
            hop_limit=hop_limit,
            how=how,
        )

    if protocol in (_ICMP, _ICMPV6):
        how = _icmp_error(protocol, data[start], data[start + 1])
        (tag,) = _candidates(data) & tags
        return seen(tag, Role.REFUSAL, how) if how else None
    ports = data[start : start + 4]
    if protocol == _UDP:
        found = datagrams.tagged(data[start + 8 :])
        if found is None:
            return None
        return seen(found.tag, Role.ANSWER if found.reply else Role.REQUEST, None, ports)
    if len(data) < start + 14:
        return None
    sequence, acknowledged, _, flags = struct.unpack_from("!IIBB", data, start + 4)
    acknowledges = (acknowledged - 1) & 0xFFFFFFFF
    if flags == _SYN and sequence in tags:
        return seen(sequence, Role.REQUEST, None, ports)
    if flags & _SYN_ACK == _SYN_ACK and acknowledges in tags:
        return seen(acknowledges, Role.ANSWER, None, ports)
    if flags & _RST_ACK == _RST_ACK and acknowledges in tags:
        return seen(acknowledges, Role.REFUSAL, How.RST, ports)
    return None  # the client's own reset: its kernel does not know the probe's connection


_UNREACHABLE = {
    0: How.NET_UNREACHABLE,
    1: How.HOST_UNREACHABLE,
    3: How.PORT_UNREACHABLE,
    13: How.PROHIBITED,
}
_UNREACHABLE_V6 = {
    0: How.NET_UNREACHABLE,
    1: How.PROHIBITED,
    3: How.HOST_UNREACHABLE,
    4: How.PORT_UNREACHABLE,
}


def _icmp_error(protocol: int, kind: int, code: int) -> How | None:
    """Return the kind of an ICMP error, None for an ICMPv6 message that is not known as one."""
    unreachable, exceeded = (3, 11) if protocol == _ICMP else (1, 3)
    if kind == unreachable:
        by_code = _UNREACHABLE if protocol == _ICMP else _UNREACHABLE_V6
        return by_code.get(code, How.OTHER)
    if kind == exceeded:
        return How.TIME_EXCEEDED
    return How.OTHER if protocol == _ICMP else None
