"""Packets of other programs, recognised on their way by what no translation changes. Pure.

A SYN keeps its sequence number, and what answers it acknowledges the number after it; an INIT keeps
its tag, which its answers have as theirs. Datagrams and echo requests keep the identification of
their IP header (in IPv6 the flow label) and their first bytes. What answers those is told by its
ends alone: see `kproxy.explain.conversation`.
"""

from __future__ import annotations

from socket import inet_ntop
from typing import NamedTuple

from kproxy.address import Family
from kproxy.outcome import How
from kproxy.probe.packets import Role, icmp_error

Ends = tuple[str, int, str, int]
"""Source, its port, destination, its port. Of an echo: the identifier and 0."""

_TCP, _UDP, _SCTP, _ICMP, _ICMPV6 = 6, 17, 132, 1, 58
_NAMES = {_TCP: "TCP", _UDP: "UDP", _SCTP: "SCTP", _ICMP: "ICMP", _ICMPV6: "ICMP"}
_ECHO = {_ICMP: (8, 0), _ICMPV6: (128, 129)}  # request and reply
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_INIT, _INIT_ACK, _ABORT = 1, 2, 6
_REFLECTED = 1  # flag of an ABORT of anything but an INIT
_HEAD_BYTES = 20  # of the transport header, as nf_tables reports it
_SEQUENCES = 1 << 32


class Foreign(NamedTuple):
    """A packet. `role` is None for a datagram, which may be a request or an answer."""

    protocol: str
    """TCP, UDP, SCTP or ICMP: of an ICMP error, that of the packet it is about, "" if it quotes
    too little of it.
    """
    role: Role | None
    key: tuple[object, ...]
    """The same for a SYN or INIT and all that answers it; else the same wherever this packet is."""
    ends: Ends
    hop_limit: int
    identification: int
    """Of the IP header, or its flow label; of an ICMP error, that of the packet it is about."""
    how: How | None = None
    quoted: Ends | None = None
    """Of an ICMP error: the ends of the packet that it is about, if it quotes them."""


def turned(ends: Ends) -> Ends:
    """Return the ends of an answer. An echo keeps its identifier."""
    source, source_port, destination, port = ends
    return (
        (destination, port, source, source_port) if port else (destination, source_port, source, 0)
    )


def foreign(data: bytes) -> Foreign | None:
    """Return what a packet is, from its IP header on. It may be cut off after twenty bytes of its
    transport header. None for packets that neither begin a connection, nor answer that.
    """
    try:
        return _parsed(data)
    except IndexError:  # it is shorter than it says
        return None


def _parsed(data: bytes) -> Foreign | None:
    head = _network(data)
    if head is None:
        return None
    number, start, source, destination, hop_limit, identification = head
    body = data[start:]
    if number not in _NAMES or len(body) < 8:
        return None
    protocol = _NAMES[number]
    role: Role | None = None
    how: How | None = None
    key: tuple[object, ...]
    ends: Ends = (source, _number(body, 0), destination, _number(body, 2))
    if number == _TCP:
        flags = body[13]
        sequence, acknowledged = _number(body, 4, 4), (_number(body, 8, 4) - 1) % _SEQUENCES
        kind = flags & (_FIN | _SYN | _RST | _ACK)
        if kind == _SYN:
            role, key = Role.REQUEST, ("TCP", sequence)
        elif kind == _SYN | _ACK:
            role, key = Role.ANSWER, ("TCP", acknowledged)
        elif kind == _RST | _ACK:
            role, key, how = Role.REFUSAL, ("TCP", acknowledged), How.RST
        else:
            return None
    elif number == _SCTP:
        chunk = body[12]
        if chunk == _INIT:
            role, key = Role.REQUEST, ("SCTP", _number(body, 16, 4))
        elif chunk == _INIT_ACK:
            role, key = Role.ANSWER, ("SCTP", _number(body, 4, 4))
        elif chunk == _ABORT and not body[13] & _REFLECTED:
            role, key, how = Role.REFUSAL, ("SCTP", _number(body, 4, 4)), How.ABORT
        else:
            return None
    elif number == _UDP:
        key = ("UDP", identification, _number(body, 4), body[8:_HEAD_BYTES])
    elif body[0] in _ECHO[number]:
        role = Role.REQUEST if body[0] == _ECHO[number][0] else Role.ANSWER
        key = ("ICMP", role, identification, _number(body, 6), body[8:_HEAD_BYTES])
        ends = (source, _number(body, 4), destination, 0)
    else:
        how = icmp_error(number, body[0], body[1])
        return _about(body[8:], how, (source, 0, destination, 0), hop_limit) if how else None
    return Foreign(protocol, role, key, ends, hop_limit, identification, how)


def _about(quote: bytes, how: How, ends: Ends, hop_limit: int) -> Foreign | None:
    """Return an ICMP error about a packet."""
    if len(quote) < 8:
        return None
    identification = _identification(quote)
    found = Foreign("", Role.REFUSAL, (), ends, hop_limit, identification, how)
    head = _network(quote)
    if head is None or head[0] not in _NAMES:
        return found
    number, start, source, destination, _, _ = head
    body = quote[start:]
    if len(body) < 8:
        return found
    quoted: Ends = (source, _number(body, 0), destination, _number(body, 2))
    if number in _ECHO:
        if body[0] not in _ECHO[number]:
            return None
        quoted = (source, _number(body, 4), destination, 0)
    key = ("TCP", _number(body, 4, 4)) if number == _TCP else ()
    return found._replace(protocol=_NAMES[number], key=key, quoted=quoted)


def _network(data: bytes) -> tuple[int, int, str, str, int, int] | None:
    """Return protocol, offset of its header, source, destination, hop limit, identification."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        if data[6] & 0x1F or data[7]:  # a later fragment has no transport header
            return None
        number, start, limit, addresses = data[9], (data[0] & 0xF) * 4, data[8], data[12:20]
        family = Family.IPV4
    elif len(data) >= 40 and data[0] >> 4 == 6:
        number, start, limit, addresses, family = data[6], 40, data[7], data[8:40], Family.IPV6
    else:
        return None
    half = len(addresses) // 2
    source, destination = (
        inet_ntop(family.socket_family, each) for each in (addresses[:half], addresses[half:])
    )
    return number, start, source, destination, limit, _identification(data)


def _identification(data: bytes) -> int:
    return _number(data, 4) if data[0] >> 4 == 4 else _number(data, 0, 4) & 0xFFFFF


def _number(data: bytes, offset: int, length: int = 2) -> int:
    return int.from_bytes(data[offset : offset + length], "big")
