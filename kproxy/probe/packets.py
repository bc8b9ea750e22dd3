"""Probe packets: built by scapy, recognised and decoded by cheap looks at their bytes.

Each probe carries a 32-bit tag that no translation changes: a SYN as its sequence number, an INIT
as its initiate tag, a datagram and an echo request in their payload. A SYN-ACK and a reset
acknowledge the tag plus one, an INIT ACK and an ABORT have it as their verification tag, a pod's
datagram and an echo reply repeat it, and an ICMP error quotes the packet, so all packets that a
probe causes can be recognised by their bytes, however NAT changes addresses and ports (kube-proxy
masquerades with random ports).

No socket is used here.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Set
from dataclasses import dataclass
from socket import inet_ntop
from typing import NamedTuple

from kproxy.address import Family, family_of
from kproxy.errors import Unsupported
from kproxy.outcome import How
from kproxy.probe import datagrams

HOP_LIMIT = 64
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
_TCP, _UDP, _SCTP, _ICMP, _ICMPV6 = 6, 17, 132, 1, 58
_IPV6_HEADER_BYTES = 40
_SHORT_BYTES = 12  # of a packet that is quoted, in a trace of nf_tables
_LABEL = 0xFFFFF
_PACKET_TOO_BIG = 2  # of ICMPv6
_SYN, _SYN_ACK, _RST_ACK = 0x02, 0x12, 0x14
_INIT, _INIT_ACK, _ABORT = 1, 2, 6  # chunks of SCTP
_REFLECTED = 1  # flag of an ABORT: its tag is that of the packet it refuses. Not of an INIT.
_ECHO = {_ICMP: (8, 0), _ICMPV6: (128, 129)}  # request and reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A packet to send: the addresses the client uses, and the tag that marks it."""

    source: str
    source_port: int
    address: str
    port: int
    protocol: str
    tag: int
    payload_bytes: int = 0  # of a datagram, at least; DF is set then


class Role(enum.Enum):
    """The relation of a captured packet to the probe whose tag it carries."""

    REQUEST = "request"  # the probe itself
    ANSWER = "answer"  # a SYN-ACK, an INIT ACK, a pod's datagram, or an echo reply
    REFUSAL = "refusal"  # a reset, an ABORT or an ICMP error that answers the probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One packet as one host saw it. `how` is set for refusals. Of an echo, `source_port` is the
    identifier, in both directions.
    """

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
        return self.how not in (None, How.RST, How.ABORT)


def build(probe: Probe) -> bytes:
    """Return the probe from its IP header on: a SYN, an INIT, or a datagram or an echo request that
    holds the tag. The source port is the identifier of an echo.

    Raises Unsupported for a protocol other than TCP, UDP, SCTP and ICMP.
    """
    # Only senders need scapy, and to load it takes a fifth of a second.
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.packet import Raw

    wide = family_of(probe.address) is Family.IPV6
    if wide:
        from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6

        label = probe.tag & _LABEL
        network = IPv6(src=probe.source, dst=probe.address, hlim=HOP_LIMIT, fl=label)
    else:
        network = IP(
            src=probe.source,
            dst=probe.address,
            ttl=HOP_LIMIT,
            id=_identification(probe.tag),
            flags="DF" if probe.payload_bytes else 0,
        )
    ports = {"sport": probe.source_port, "dport": probe.port}
    tagged = Raw(datagrams.probe(probe.tag).ljust(probe.payload_bytes, b"\n"))
    match probe.protocol:
        case "TCP":
            packet = network / TCP(**ports, flags="S", seq=probe.tag, options=[("MSS", 1400)])
        case "UDP":
            packet = network / UDP(**ports) / tagged
        case "SCTP":
            from scapy.layers.sctp import SCTP, SCTPChunkInit

            chunk = SCTPChunkInit(
                init_tag=probe.tag,
                init_tsn=probe.tag,
                a_rwnd=0xFFFF,
                n_out_streams=1,
                n_in_streams=1,
            )
            packet = network / SCTP(**ports) / chunk
        case "ICMP" if wide:
            packet = network / ICMPv6EchoRequest(id=probe.source_port) / tagged
        case "ICMP":
            packet = network / ICMP(type="echo-request", id=probe.source_port) / tagged
        case other:
            raise Unsupported(
                f"probes do not support {other}", remedy="probe TCP, UDP, SCTP or ICMP"
            )
    return bytes(packet)


def sighting(data: bytes, tags: Set[int]) -> Sighting | None:
    """Return the sighting in `data` (from its IP header on) if it carries one of these tags."""
    found = _candidates(data) & tags or _quoted_in_short(data, tags)
    return _decode(data, tags, found) if found else None


class Reply(NamedTuple):
    """A segment that a raw TCP socket received. `tag` is a guess until it matches a known one."""

    tag: int
    role: Role
    source_port: int
    destination_port: int


def raw_reply(protocol: int, data: bytes, *, header: bool) -> Reply | None:
    """Return what a raw socket of this protocol received if it answers a probe, None if not.

    `protocol`: IPPROTO_TCP, IPPROTO_SCTP, IPPROTO_ICMP or IPPROTO_ICMPV6. `header`: an IP header
    comes first. Linux keeps it for IPv4 and not for IPv6.
    """
    received = data[(data[0] & 0xF) * 4 :] if header else data
    if protocol == _TCP:
        return segment_reply(received)
    if protocol == _SCTP:
        return _chunk_reply(received)
    return _echo_reply(protocol, received)


def _chunk_reply(received: bytes) -> Reply | None:
    source_port, destination_port, tag, _, kind = struct.unpack_from("!HHIIB", received)
    role = {_INIT_ACK: Role.ANSWER, _ABORT: Role.REFUSAL}.get(kind)
    return Reply(tag, role, source_port, destination_port) if role else None


def _echo_reply(protocol: int, received: bytes) -> Reply | None:
    found = datagrams.tagged(received[8:])
    if found is None or received[0] != _ECHO[protocol][1]:
        return None
    identifier = int.from_bytes(received[4:6], "big")
    return Reply(found.tag, Role.ANSWER, 0, identifier)


def segment_reply(segment: bytes) -> Reply | None:
    """Return the SYN-ACK or reset that a raw socket received, None for other segments."""
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
    echo = protocol in _ECHO and data[start] in _ECHO[protocol]
    if protocol in _ECHO and not echo:
        return _candidates(data[start + 8 :], quoted=True)
    if protocol == _SCTP and len(data) >= start + 16:  # an ABORT may have no more
        tag = data[start + 16 : start + 20] if data[start + 12] == _INIT else data[start + 4 :][:4]
        return {int.from_bytes(tag, "big")} if len(tag) == 4 else set()
    if protocol == _UDP or echo:
        found = datagrams.tagged(data[start + 8 :])
        # An error about a reply goes to the pod: the probe itself was not refused.
        return {found.tag} if found and not (quoted and found.reply) else set()
    if protocol == _TCP and len(data) >= start + 8:
        (sequence,) = struct.unpack_from("!I", data, start + 4)
        # A quoted segment may end after eight bytes, before the acknowledgement.
        acknowledged = data[start + 8 : start + 12]
        return {sequence, (int.from_bytes(acknowledged, "big") - 1) & 0xFFFFFFFF}
    return set()


def _quoted_in_short(data: bytes, tags: Set[int]) -> set[int]:
    """Return the tag of the probe that an ICMP error quotes only the first twelve bytes of, as in a
    trace of nf_tables: these hold the identification of an IPv4 packet, or the flow label. Only if
    no other tag has the same.
    """
    protocol, start = _transport(data) if len(data) >= _IPV6_HEADER_BYTES else (0, 0)
    quoted = data[start + 8 :]
    if protocol not in (_ICMP, _ICMPV6) or len(quoted) != _SHORT_BYTES:
        return set()
    if quoted[0] >> 4 == 4:
        number = int.from_bytes(quoted[4:6], "big")
        found = {tag for tag in tags if _identification(tag) == number}
    else:
        number = int.from_bytes(quoted[:4], "big") & _LABEL
        found = {tag for tag in tags if tag & _LABEL == number}
    return found if len(found) == 1 else set()


def _identification(tag: int) -> int:
    return tag & 0xFFFF or 1  # 0: the kernel chooses one


def _transport(data: bytes) -> tuple[int, int]:
    """Return the transport protocol and the offset of its header."""
    if data[0] >> 4 == 4:
        return data[9], (data[0] & 0xF) * 4
    return data[6], _IPV6_HEADER_BYTES


def _decode(data: bytes, tags: Set[int], found: Set[int]) -> Sighting | None:
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

    if protocol in _ECHO:
        (tag,) = found
        if data[start] in _ECHO[protocol]:
            role = Role.REQUEST if data[start] == _ECHO[protocol][0] else Role.ANSWER
            return seen(tag, role, None, data[start + 4 : start + 6] + bytes(2))
        how = icmp_error(protocol, data[start], data[start + 1])
        return seen(tag, Role.REFUSAL, how) if how else None
    ports = data[start : start + 4]
    if protocol == _SCTP:
        (tag,) = found
        chunks = {
            _INIT: (Role.REQUEST, None),
            _INIT_ACK: (Role.ANSWER, None),
            _ABORT: (Role.REFUSAL, How.ABORT),
        }
        if data[start + 12] == _ABORT and data[start + 13] & _REFLECTED:
            return None  # the client's own, of the INIT ACK that its kernel did not expect
        told = chunks.get(data[start + 12])
        return seen(tag, *told, ports) if told else None
    if protocol == _UDP:
        tagged = datagrams.tagged(data[start + 8 :])
        if tagged is None:
            return None
        return seen(tagged.tag, Role.ANSWER if tagged.reply else Role.REQUEST, None, ports)
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
    2: How.PROTOCOL_UNREACHABLE,
    3: How.PORT_UNREACHABLE,
    4: How.TOO_BIG,
    13: How.PROHIBITED,
}
_UNREACHABLE_V6 = {
    0: How.NET_UNREACHABLE,
    1: How.PROHIBITED,
    3: How.HOST_UNREACHABLE,
    4: How.PORT_UNREACHABLE,
}


def icmp_error(protocol: int, kind: int, code: int) -> How | None:
    """Return the kind of an ICMP error, None for an ICMPv6 message that is not known as one."""
    unreachable, exceeded = (3, 11) if protocol == _ICMP else (1, 3)
    if kind == unreachable:
        by_code = _UNREACHABLE if protocol == _ICMP else _UNREACHABLE_V6
        return by_code.get(code, How.OTHER)
    if kind == exceeded:
        return How.TIME_EXCEEDED
    if (protocol, kind, code) == (_ICMPV6, 4, 1):
        return How.PROTOCOL_UNREACHABLE
    if protocol == _ICMP:
        return How.OTHER
    return How.TOO_BIG if kind == _PACKET_TOO_BIG else None
