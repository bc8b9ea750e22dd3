"""Matches and targets of iptables as expressions of the kernel, byte by byte. Pure.

What nf_tables can say itself, iptables-nft says in its words ("native"): interfaces, protocols,
addresses, ports of TCP and UDP, marks, verdicts. For all else nf_tables calls the old extension,
with the C structure that it always had ("compat"), in byte order and alignment of the host.
Source: linux/netfilter/xt_*.h, nf_nat.h; iptables 1.8.9 nft.c, nft-shared.c.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from functools import cache, lru_cache

from kproxy.address import Family
from kproxy.kernel.netlink import attribute
from kproxy.kernel.nftables.expressions import (
    DATA_VALUE,
    LIST_ELEM,
    NESTED,
    Header,
    Meta,
    Verdict,
    compare,
    load_meta,
    payload,
    verdict,
)

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
COUNTER = attribute(
    LIST_ELEM,
    attribute(1, b"counter\0")
    + attribute(2 | NESTED, attribute(1, bytes(8)) + attribute(2, bytes(8))),
)

_SOURCE_OFFSETS = {Family.IPV4: 12, Family.IPV6: 8}
CT_STATES = {  # XT_CONNTRACK_STATE_*
    "INVALID": 0x1,
    "ESTABLISHED": 0x2,
    "RELATED": 0x4,
    "NEW": 0x8,
    "SNAT": 0x40,
    "DNAT": 0x80,
}
_LOCAL = 1 << 2  # RTN_LOCAL
_INVERT_SOURCE, _INVERT_DESTINATION = 0x1, 0x2  # XT_ADDRTYPE_
_RECENT_CHECK, _RECENT_SET, _RECENT_REAP = 0x1, 0x2, 0x20  # XT_RECENT_
_PHYSDEV_IS_IN = 0x8  # XT_PHYSDEV_OP_ISIN
_SCTP_DEST = 0x2  # XT_SCTP_DEST_PORTS
_PORT_UNREACHABLE = {Family.IPV4: 3, Family.IPV6: 4}  # IPT_, IP6T_ICMP*_PORT_UNREACH
_RANDOM_FULLY = 0x10  # NF_NAT_RANGE_PROTO_RANDOM_FULLY
_ADDRESS_AND_PORT = 0x3  # NF_NAT_RANGE_MAP_IPS, _PROTO_SPECIFIED
_COMMENT_BYTES = 256  # XT_MAX_COMMENT_LEN
_LIST_BYTES, _COUNTER_BYTES = 200, 32  # XT_RECENT_NAME_LEN, NFACCT_NAME_MAX
_DEFAULT_LIST = b"DEFAULT"
_LONGEST_INTERFACE = 15
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")  # other bases, names and ranges are left to the program


class Unknown(Exception):
    """A text that is not translated here, though iptables may know it."""


def _sctp(port: int, flags: int, inverted: int) -> bytes:
    """Return struct xt_sctp_info: destination ports, source ports, a bit for each type of chunk,
    how to match them, the flags of four of them (none: type 255), and what is to be compared.
    """
    head = struct.pack("=4H256xL", port, port, 0, 0, 0)
    return head + b"\xff\0\0" * 4 + struct.pack("=LLL", 0, flags, inverted)


_ANY_PORT = {
    "tcp": struct.pack("=4H4x", 0, 0xFFFF, 0, 0xFFFF),
    "udp": struct.pack("=4H2x", 0, 0xFFFF, 0, 0xFFFF),
    "sctp": _sctp(0, 0, 0),
}


def as_listed(expressions: bytes) -> bytes:
    """Return expressions as the kernel lists them: without the flag that says what is nested."""
    listed = []
    for kind, value, nested in _with_flag(expressions):
        listed.append(attribute(kind, as_listed(value) if nested else value))
    return b"".join(listed)


def _with_flag(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    position = 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        yield kind & ~NESTED, data[position + 4 : position + length], bool(kind & NESTED)
        position += (length + 3) & ~3


@lru_cache(64)
def interface(key: Meta, name: str, equal: bool) -> bytes:
    """Compare the name of an interface; `name+` compares its beginning."""
    if name == "+" or len(name) > _LONGEST_INTERFACE:
        raise Unknown(f"the interface {name}")
    if name.endswith("+"):
        return load_meta(key) + compare(name[:-1].encode(), equal=equal)
    return load_meta(key) + compare(name.encode() + b"\0", equal=equal)


@cache
def protocol(name: str, *, in_header: bool) -> bytes:
    """Compare the protocol; `in_header`: of IPv4, where it is at a fixed place."""
    load = payload(Header.NETWORK, 9, 1) if in_header else load_meta(Meta.L4PROTO)
    return load + compare(bytes([PROTOCOLS[name]]))


def address(family: Family, text: str, equal: bool, *, source: bool) -> bytes:
    """Compare the source, else the destination, with an address or the addresses of a prefix."""
    number, slash, length = text.partition("/")
    value = _number(family, number)
    if not slash:
        return _address_head(family, equal, source) + value
    whole = len(value) * 8
    bits = int(length) if length.isdecimal() else -1
    if bits == whole:
        return _address_head(family, equal, source) + value
    if not bits and equal:
        return b""
    if not 0 < bits < whole:
        raise Unknown(f"the prefix {text}")
    if bits % 8 == 0:
        return payload(Header.NETWORK, _offset(family, source), bits // 8) + compare(
            value[: bits // 8], equal=equal
        )
    mask = (((1 << bits) - 1) << (whole - bits)).to_bytes(len(value), "big")
    first = (int.from_bytes(value, "big") & int.from_bytes(mask, "big")).to_bytes(len(value), "big")
    return (
        payload(Header.NETWORK, _offset(family, source), len(value))
        + _masked(mask)
        + compare(first, equal=equal)
    )


@cache
def any_port(protocol_: str) -> bytes:
    """Return what `-m tcp`, `udp` or `sctp` is without any option."""
    return _match(protocol_, 0, _ANY_PORT[protocol_])


@lru_cache(4096)
def destination_port(protocol_: str, text: str, equal: bool) -> bytes:
    """Compare the destination port. nf_tables has no words for that of SCTP."""
    number = port(text)
    if protocol_ == "sctp":
        return _match("sctp", 0, _sctp(number, _SCTP_DEST, 0 if equal else _SCTP_DEST))
    return payload(Header.TRANSPORT, 2, 2) + compare(number.to_bytes(2, "big"), equal=equal)


def comment(text: str) -> bytes:
    value = text.encode()
    if len(value) >= _COMMENT_BYTES:
        raise Unknown("a comment of more than 255 bytes")
    return _COMMENT_HEAD + value.ljust(_COMMENT_BYTES, b"\0")


@cache
def mark(text: str, equal: bool) -> bytes:
    """Compare the packet's mark. `text`: VALUE or VALUE/MASK."""
    value, _, mask = text.partition("/")
    return (
        load_meta(Meta.MARK)
        + (_masked(struct.pack("=L", int(mask, 0))) if mask else b"")
        + compare(struct.pack("=L", int(value, 0)), equal=equal)
    )


@cache
def connection_state(text: str, equal: bool) -> bytes:
    """Match states of connection tracking, separated by commas."""
    states = 0
    for state in text.split(","):
        if state not in CT_STATES:
            raise Unknown(f"state {state}")
        states |= CT_STATES[state]
    # struct xt_conntrack_mtinfo3: addresses, masks, times, ports; flags, inverted flags, states.
    return _match("conntrack", 3, bytes(146) + struct.pack("=HHHH14x", 1, not equal, states, 0))


@cache
def address_type(*, source: bool, equal: bool) -> bytes:
    """Match a source, else a destination, that is an address of this host (LOCAL)."""
    invert = 0 if equal else _INVERT_SOURCE if source else _INVERT_DESTINATION
    types = (_LOCAL, 0) if source else (0, _LOCAL)
    return _match("addrtype", 1, struct.pack("=HHL", *types, invert))


@lru_cache(1024)
def statistic(probability: str) -> bytes:
    """Match at random."""
    if not 0 <= float(probability) <= 1:
        raise Unknown(f"the probability {probability}")
    share = int(0x80000000 * float(probability) + 0.5)  # lround
    return _match("statistic", 0, struct.pack("=HHLLL8x", 0, 0, share, 0, share))


def recent(name: str, seconds: int, *, reap: bool) -> bytes:
    """Match a source address that has been remembered in a list for less than these seconds."""
    return _recent(name, seconds, _RECENT_CHECK | (_RECENT_REAP if reap else 0))


def remembered(name: str) -> bytes:
    """Remember the source address in a list."""
    return _recent(name, 0, _RECENT_SET)


@cache
def packet_counter(name: str) -> bytes:
    """Count packets in a counter of nfacct."""
    if len(name) >= _COUNTER_BYTES:
        raise Unknown(f"the counter {name}")
    return _match("nfacct", 1, struct.pack("=32s8x", name.encode()))


@lru_cache(64)
def set_match(index: int, directions: str, equal: bool) -> bytes:
    """Match what is in an ipset. `directions`: src or dst for each part of an entry."""
    parts = directions.split(",")
    if not {"src", "dst"}.issuperset(parts):
        raise Unknown(f"the directions {directions}")
    # A bit for each part that is a source, behind one that inverts.
    flags = sum(1 << place for place, part in enumerate(parts, 1) if part == "src")
    return _match("set", 4, struct.pack("=HBB44x", index, len(parts), flags | (not equal)))


@cache
def from_no_bridge_port() -> bytes:
    """Match packets that did not come in through a port of a bridge."""
    # struct xt_physdev_info: two interfaces with masks, what is inverted, what is asked.
    return _match("physdev", 0, bytes(64) + bytes((_PHYSDEV_IS_IN, _PHYSDEV_IS_IN)))


@cache
def set_mark(operation: str, text: str) -> bytes:
    """Change the mark: clear the bits of a mask, then toggle those of the value."""
    value = int(text, 0)
    mask = {"--or-mark": value, "--xor-mark": 0}[operation]
    return _target("MARK", 2, struct.pack("=LL", value, mask))


@cache
def masquerade(family: Family, *, random_fully: bool) -> bytes:
    flags = _RANDOM_FULLY if random_fully else 0
    if family is Family.IPV4:  # one range of the old structure
        return _target("MASQUERADE", 0, struct.pack("=LL16x", 1, flags))
    return _target("MASQUERADE", 0, struct.pack("=L36x", flags))


def translate_destination(family: Family, text: str) -> bytes:
    """Translate to ADDRESS:PORT or [ADDRESS]:PORT."""
    host, _, number = text.rpartition(":")
    if family is Family.IPV6:
        if not (host.startswith("[") and host.endswith("]")):
            raise Unknown(f"the target address {text}")
        host = host[1:-1]
    value, port_ = _number(family, host).ljust(16, b"\0"), port(number).to_bytes(2, "big")
    return _DNAT_HEAD + b"".join((value, value, port_, port_, bytes(8)))


@cache
def reject(family: Family) -> bytes:
    """Reject with port unreachable."""
    return _target("REJECT", 0, struct.pack("=L4x", _PORT_UNREACHABLE[family]))


def verdict_or_jump(target: str) -> bytes:
    """Accept, drop, return, or jump to a chain."""
    if target in _VERDICTS:
        return _VERDICTS[target]
    name = target.encode()
    before, after = _jump(len(name))
    return before + name + after


@cache
def _jump(length: int) -> tuple[bytes, bytes]:
    """Return what is before and behind the name of a chain, of so many bytes, in a jump to it."""
    name = "X" * length
    before, _, after = verdict(Verdict.JUMP, name).partition(name.encode())
    return before, after


@lru_cache(1024)
def port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 0xFFFF:
        raise Unknown(f"the port {text}")
    return int(text)


def _number(family: Family, text: str) -> bytes:
    try:
        return socket.inet_pton(family.socket_family, text)
    except OSError:
        raise Unknown(f"the address {text}") from None


def _offset(family: Family, source: bool) -> int:
    return _SOURCE_OFFSETS[family] + (0 if source else 4 if family is Family.IPV4 else 16)


@cache
def _address_head(family: Family, equal: bool, source: bool) -> bytes:
    """Return the expressions that compare a whole address, without it: it is at their end."""
    length = 4 if family is Family.IPV4 else 16
    return (
        payload(Header.NETWORK, _offset(family, source), length)
        + compare(bytes(length), equal=equal)[:-length]
    )


def _masked(mask: bytes) -> bytes:
    """Apply a mask to register 1, with the attributes in the order in which the kernel lists them.

    Like that a rule that was read can be compared.
    """
    body = b"".join(_u32(kind, number) for kind, number in ((1, 1), (2, 1), (3, len(mask)), (6, 0)))
    for kind, value in ((4, mask), (5, bytes(len(mask)))):
        body += attribute(kind | NESTED, attribute(DATA_VALUE, value))
    return attribute(LIST_ELEM, attribute(1, b"bitwise\0") + attribute(2 | NESTED, body))


def _recent(name: str, seconds: int, what: int) -> bytes:
    if len(name) >= _LIST_BYTES:
        raise Unknown(f"the list {name}")
    # iptables writes the name over that of the default list, and compares all bytes of both rules.
    terminated = name.encode() + b"\0"
    written = terminated + _DEFAULT_LIST[len(terminated) :]
    # Seconds, hits, what to do, inverted; the name; which address; its mask.
    info = struct.pack("=LLBB200sBx16s", seconds, 0, what, 0, written, 0, b"\xff" * 16)
    return _match("recent", 1, info)


def _match(name: str, revision: int, info: bytes) -> bytes:
    return _extension("match", name, revision, info)


def _target(name: str, revision: int, info: bytes) -> bytes:
    return _extension("target", name, revision, info)


def _extension(kind: str, name: str, revision: int, info: bytes) -> bytes:
    info += bytes(-len(info) % 8)  # XT_ALIGN
    body = attribute(1, name.encode() + b"\0") + _u32(2, revision) + attribute(3, info)
    return attribute(LIST_ELEM, attribute(1, kind.encode() + b"\0") + attribute(2 | NESTED, body))


def _u32(kind: int, number: int) -> bytes:
    return attribute(kind, number.to_bytes(4, "big"))


_COMMENT_HEAD = _match("comment", 0, bytes(_COMMENT_BYTES))[:-_COMMENT_BYTES]
_DNAT_BYTES = 48  # struct nf_nat_range2: flags, two addresses, three ports, padding
_DNAT_HEAD = _target("DNAT", 2, struct.pack("=L44x", _ADDRESS_AND_PORT))[: 4 - _DNAT_BYTES]
_VERDICTS = {name: verdict(Verdict[name]) for name in ("ACCEPT", "DROP", "RETURN")}
