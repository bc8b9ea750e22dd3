"""Marks on the few packets of a namespace that are wanted, for netfilter's trace to report them.

The rules stand in a table that the kernel deletes when its socket is closed: it is gone even if
this process is killed. Source: linux/netfilter/nf_tables.h (NFT_TABLE_F_OWNER, Linux 5.12).

A request is marked by its addresses as it comes in, before any rule: a SYN or an INIT of SCTP as
the first thing of all, the first packet of other protocols once conntrack knows that it is new
(behind the table raw). What answers it is recognised by conntrack: by the addresses that its client
had asked. Nothing else is marked, and no more than a hundred packets of each kind in a second.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from itertools import chain
from typing import Self

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.nftables.expressions import (
    Ct,
    Header,
    Meta,
    at_most,
    compare,
    load_ct,
    load_meta,
    load_original,
    masked,
    payload,
    report_steps,
)
from kproxy.kernel.nftables.objects import Hook, Rule, Table
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.trace.nf_tables import TABLE
from kproxy.kernel.trace.wanted import PacketFilter

_HOOKS = {"prerouting": 0, "output": 3}
_FIRST, _TRACKED = -450, -199  # before fragments are put together; behind conntrack
_ADDRESSES = {Family.IPV4: (12, 16), Family.IPV6: (8, 24)}  # source, destination
_NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_ICMP = {Family.IPV4: 1, Family.IPV6: 58}
_FLAGS, _FIN, _SYN, _RST, _ACK = 13, 0x01, 0x02, 0x04, 0x10
_CHUNK, _INIT, _INIT_ACK, _ABORT = 12, 1, 2, 6
_ESTABLISHED, _RELATED, _NEW, _UNTRACKED = 2, 4, 8, 64  # NF_CT_STATE_BIT
_ASSURED = 4  # IPS_
_ANSWER = 1  # IP_CT_DIR_REPLY
PER_SECOND = 100


class Marks:
    """The marks of one namespace, from creation to `close`. A context manager."""

    def __init__(self, wanted: PacketFilter) -> None:
        """Mark these packets in the namespace of the calling thread from now on.

        Raises Unsupported if this kernel cannot do that.
        """
        self._session = Session()
        tables = [Table(family, f"{TABLE}-{os.getpid()}") for family in wanted.families]
        requests = []
        for table in tables:
            requests.append(table.create(owned=True))
            for place, (hook, number) in enumerate(chain(_HOOKS.items(), _HOOKS.items())):
                first = place < len(_HOOKS)
                name = f"{hook}-{'first' if first else 'tracked'}"
                priority = _FIRST if first else _TRACKED
                requests.append(table.add_chain(name, Hook("filter", number, priority)))
                rules = _first(wanted, table.family) if first else _tracked(wanted, table.family)
                for expressions in rules:
                    rule = Rule((expressions + at_most(PER_SECOND) + report_steps(),))
                    requests += table.add_rule(name, rule)
        with ExitStack() as undo:
            undo.callback(self._session.close)
            try:
                self._session.commit(requests)
            except KernelRefused as error:
                raise Unsupported(
                    f"cannot mark packets: {error}", remedy="Linux 5.12 or later with nf_tables"
                ) from None
            undo.pop_all()

    def close(self) -> None:
        """Remove the marks. The kernel does it."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _first(wanted: PacketFilter, family: Family) -> Iterator[bytes]:
    """Yield what recognises the beginning of a connection without conntrack."""
    for protocol in ("TCP", "SCTP"):
        if protocol in wanted.protocols:
            head = _protocol(_NUMBERS[protocol]) + _header(wanted, family)
            if protocol == "TCP":
                yield head + _flags(_FIN | _SYN | _RST | _ACK, _SYN)
            else:
                yield head + payload(Header.TRANSPORT, _CHUNK, 1) + compare(bytes([_INIT]))


def _tracked(wanted: PacketFilter, family: Family) -> Iterator[bytes]:
    """Yield what recognises the beginning of other connections, and answers to all of them."""
    original = _original(wanted)
    answer = load_ct(Ct.DIRECTION) + compare(bytes([_ANSWER])) + original
    for protocol in wanted.protocols:
        number = _ICMP[family] if protocol == "ICMP" else _NUMBERS[protocol]
        if protocol in ("UDP", "ICMP"):
            begins = _any_of(Ct.STATE, _NEW | _UNTRACKED)
            yield _protocol(number) + _header(wanted, family) + begins
            established = _any_of(Ct.STATE, _ESTABLISHED)
            yield _protocol(number) + answer + established + _none_of(Ct.STATUS, _ASSURED)
        elif protocol == "TCP":
            yield _protocol(number) + answer + _any_flag(_SYN | _RST)
        else:
            for kind in (_INIT_ACK, _ABORT):
                chunk = payload(Header.TRANSPORT, _CHUNK, 1) + compare(bytes([kind]))
                yield _protocol(number) + answer + chunk
    yield _protocol(_ICMP[family]) + _any_of(Ct.STATE, _RELATED) + original


def _protocol(number: int) -> bytes:
    return load_meta(Meta.L4PROTO) + compare(bytes([number]))


def _header(wanted: PacketFilter, family: Family) -> bytes:
    found = b""
    addresses = (wanted.source, wanted.destination)
    for address, offset in zip(addresses, _ADDRESSES[family], strict=True):
        if address:
            packed = ip_address(address).packed
            found += payload(Header.NETWORK, offset, len(packed)) + compare(packed)
    for port, offset in ((wanted.source_port, 0), (wanted.destination_port, 2)):
        if port:
            found += payload(Header.TRANSPORT, offset, 2) + compare(struct.pack(">H", port))
    return found


def _original(wanted: PacketFilter) -> bytes:
    found = b""
    for key, address in ((Ct.SOURCE, wanted.source), (Ct.DESTINATION, wanted.destination)):
        if address:
            found += load_original(key) + compare(ip_address(address).packed)
    ports = ((Ct.SOURCE_PORT, wanted.source_port), (Ct.DESTINATION_PORT, wanted.destination_port))
    for key, port in ports:
        if port:
            found += load_original(key) + compare(struct.pack(">H", port))
    return found


def _flags(mask: int, value: int) -> bytes:
    loaded = payload(Header.TRANSPORT, _FLAGS, 1) + masked(bytes([mask]), b"\0")
    return loaded + compare(bytes([value]))


def _any_flag(mask: int) -> bytes:
    loaded = payload(Header.TRANSPORT, _FLAGS, 1) + masked(bytes([mask]), b"\0")
    return loaded + compare(b"\0", equal=False)


def _any_of(key: Ct, bits: int) -> bytes:
    return _masked(key, bits) + compare(bytes(4), equal=False)


def _none_of(key: Ct, bits: int) -> bytes:
    return _masked(key, bits) + compare(bytes(4))


def _masked(key: Ct, bits: int) -> bytes:
    return load_ct(key) + masked(struct.pack("=L", bits), bytes(4))
