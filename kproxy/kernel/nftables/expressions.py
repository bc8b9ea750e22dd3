"""Expressions of nf_tables, the elements of rules, packed for the kernel. Pure.

A rule is a sequence of expressions that load values into registers, compare them, look them up, or
act. Each function returns one expression, ready to be joined with others by `+`. Registers, lengths
and order are those nft 1.0.6 uses, because nft must be able to print the rule.

There are sixteen registers of four bytes; `register(n)` is the number of the n-th. A longer value
fills the next ones as well. Verdicts have a register of their own.
Source: linux/netfilter/nf_tables.h; `nft --debug=netlink` shows the same for a rule in its syntax.
"""

from __future__ import annotations

import enum
import struct

from kproxy.address import Family
from kproxy.kernel.netlink import attribute

NESTED = 0x8000  # NLA_F_NESTED
LIST_ELEM = 1 | NESTED  # NFTA_LIST_ELEM
DATA_VALUE, DATA_VERDICT = 1, 2 | NESTED  # NFTA_DATA_
COUNTER = 1  # NFT_OBJECT_COUNTER
MASQUERADE_FULLY_RANDOM = 0x10  # NF_NAT_RANGE_PROTO_RANDOM_FULLY

_VERDICT_REGISTER = 0
_NAT_PORT_SPECIFIED = 0x2  # NF_NAT_RANGE_PROTO_SPECIFIED
_NUMGEN_RANDOM = 1
_DYNSET_UPDATE = 1
_FIB_SOURCE, _FIB_DESTINATION = 0x1, 0x2  # NFTA_FIB_F_SADDR, _DADDR
_FIB_RESULT_TYPE = 3
_LOCAL = 2  # RTN_LOCAL
_REJECT_ICMP_UNREACHABLE = 0
_PORT_UNREACHABLE = {Family.IPV4: 3, Family.IPV6: 4}
_NFPROTO = {Family.IPV4: 2, Family.IPV6: 10}

_EQUAL, _NOT_EQUAL = 0, 1
_NFTRACE = 12  # NFT_META_NFTRACE
_ORIGINAL = 0  # IP_CT_DIR_ORIGINAL


class Verdict(enum.IntEnum):
    DROP = 0
    ACCEPT = 1
    JUMP = -3
    GOTO = -4
    RETURN = -5


class Meta(enum.IntEnum):
    MARK = 3
    IIFNAME = 6
    OIFNAME = 7
    L4PROTO = 16


class Ct(enum.IntEnum):
    STATE = 0
    DIRECTION = 1
    STATUS = 2
    SOURCE = 8
    DESTINATION = 9
    SOURCE_PORT = 11
    DESTINATION_PORT = 12


class Header(enum.IntEnum):
    NETWORK = 1
    TRANSPORT = 2


def register(index: int) -> int:
    """Return the number of the four-byte register `index`.

    Every fourth one has the number of the older register of sixteen bytes that begins with it.
    """
    return 1 + index // 4 if index % 4 == 0 else 8 + index


def payload(header: Header, offset: int, length: int, target: int = 1) -> bytes:
    """Load bytes of the packet."""
    return _expression(
        "payload", _u32(1, target) + _u32(2, header) + _u32(3, offset) + _u32(4, length)
    )


def load_meta(key: Meta, target: int = 1) -> bytes:
    return _expression("meta", _u32(2, key) + _u32(1, target))


def set_mark(source: int = 1) -> bytes:
    return _expression("meta", _u32(2, Meta.MARK) + _u32(3, source))


def load_ct(key: Ct, target: int = 1) -> bytes:
    return _expression("ct", _u32(2, key) + _u32(1, target))


def load_original(key: Ct, target: int = 1) -> bytes:
    """Load one end of the connection as its client asked: an address or a port."""
    direction = attribute(3, bytes([_ORIGINAL]))
    return _expression("ct", _u32(2, key) + _u32(1, target) + direction)


def at_most(per_second: int) -> bytes:
    """Go on only with so many packets in a second."""
    rate = attribute(1, per_second.to_bytes(8, "big")) + attribute(2, (1).to_bytes(8, "big"))
    return _expression("limit", rate + _u32(3, per_second))


def report_steps() -> bytes:
    """Have the kernel report the steps of the packet from here on."""
    return immediate(b"\1", 1) + _expression("meta", _u32(2, _NFTRACE) + _u32(3, 1))


def fib_is_local(*, source: bool) -> bytes:
    """Go on only if the source (else the destination) is an address of this host."""
    flag = _FIB_SOURCE if source else _FIB_DESTINATION
    load = _u32(3, flag) + _u32(2, _FIB_RESULT_TYPE) + _u32(1, 1)
    return _expression("fib", load) + compare(struct.pack("=L", _LOCAL))


def compare(value: bytes, *, equal: bool = True, source: int = 1) -> bytes:
    """Go on only if the register holds `value`, or with `equal` false, only if it does not."""
    operator = _EQUAL if equal else _NOT_EQUAL
    return _expression("cmp", _u32(1, source) + _u32(2, operator) + _nested(3, _value(value)))


def masked(mask: bytes, toggled: bytes, register_: int = 1) -> bytes:
    """Set register = (register & mask) ^ toggled; both are as long as the value."""
    body = _u32(1, register_) + _u32(2, register_) + _u32(6, 0) + _u32(3, len(mask))
    return _expression("bitwise", body + _nested(4, _value(mask)) + _nested(5, _value(toggled)))


def lookup(
    set_: str, target: int | None = None, *, inverted: bool = False, set_id: int = 0
) -> bytes:
    """Go on only if the set contains the value from register 1 on, or with `inverted`, does not.

    `target`: the register for the value that a map yields; 0 is the verdict. `set_id`: the
    number of a set created in the same transaction.
    """
    body = _u32(2, 1)
    if target is not None:
        body += _u32(3, target)
    body += _name(1, set_)
    if set_id:
        body += _u32(4, set_id)
    if inverted:
        body += _u32(5, 1)
    return _expression("lookup", body)


def remember(set_: str) -> bytes:
    """Add the value in register 1 to a dynamic set; for an existing one the timeout restarts."""
    return _expression("dynset", _u32(4, 1) + _u32(3, _DYNSET_UPDATE) + _name(1, set_))


def random_number(below: int, target: int = 1) -> bytes:
    body = _u32(1, target) + _u32(2, below) + _u32(3, _NUMGEN_RANDOM) + _u32(4, 0)
    return _expression("numgen", body)


def immediate(value: bytes, target: int) -> bytes:
    return _expression("immediate", _u32(1, target) + _nested(2, _value(value)))


def verdict(code: Verdict, chain: str = "") -> bytes:
    return _expression(
        "immediate", _u32(1, _VERDICT_REGISTER) + _nested(2, verdict_data(code, chain))
    )


def translate_destination(
    family: Family, address: int, port: int, *, port_given: bool = False
) -> bytes:
    """Translate to the address and port in these registers.

    `port_given`: the port is not the value of a map.
    """
    body = _u32(1, 1) + _u32(2, _NFPROTO[family]) + _u32(3, address) + _u32(5, port)
    if port_given:
        body += _u32(7, _NAT_PORT_SPECIFIED)
    return _expression("nat", body)


def masquerade() -> bytes:
    return _expression("masq", _u32(1, MASQUERADE_FULLY_RANDOM))


def reject(family: Family) -> bytes:
    """Reject with port unreachable."""
    body = _u32(1, _REJECT_ICMP_UNREACHABLE) + attribute(2, bytes([_PORT_UNREACHABLE[family]]))
    return _expression("reject", body)


def count_in(counter: str) -> bytes:
    """Count the packet in a counter that is an object of the table."""
    return _expression("objref", _u32(1, COUNTER) + _name(2, counter))


def verdict_data(code: Verdict, chain: str = "") -> bytes:
    """Return the data of a verdict, for an expression or as the value of an element."""
    body = attribute(1, struct.pack(">i", code))
    if chain:
        body += _name(2, chain)
    return attribute(DATA_VERDICT, body)


def _expression(name: str, body: bytes) -> bytes:
    return attribute(LIST_ELEM, _name(1, name) + attribute(2 | NESTED, body))


def _value(value: bytes) -> bytes:
    return attribute(DATA_VALUE, value)


def _nested(kind: int, body: bytes) -> bytes:
    return attribute(kind | NESTED, body)


def _u32(kind: int, number: int) -> bytes:
    """Pack a number in network order, as nf_tables takes it."""
    return attribute(kind, number.to_bytes(4, "big"))


def _name(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")
