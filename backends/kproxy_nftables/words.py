"""Parts of rules, named by their nft syntax, as expressions of the kernel. Pure.

Docstrings quote what `nft list` prints for them. Each match starts with the first register.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable
from functools import cache

from kproxy.address import Family, socket_family
from kproxy.forwarding.plan import DetectLocal, Endpoint, LocalDetector, NodeSettings
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables.expressions import Ct, Header, Meta, Verdict
from kproxy.kernel.nftables.objects import AnonymousSet, boundary, data_value, element
from kproxy.kernel.nftables.types import INTEGER, PORT, address, concatenation

_ADDRESS_BYTES = {Family.IPV4: 4, Family.IPV6: 16}
_SOURCE = {Family.IPV4: 12, Family.IPV6: 8}
_DESTINATION = {Family.IPV4: 16, Family.IPV6: 24}
_PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": socket.IPPROTO_SCTP}
_PROTOCOL_BYTES = {name: bytes([number, 0, 0, 0]) for name, number in _PROTOCOLS.items()}
_NEW, _DESTINATION_TRANSLATED = 0x8, 0x20  # bits of conntrack's state and status
_IFNAMSIZ = 16


# Values -----------------------------------------------------------------------------------------


def address_bytes(text: str) -> bytes:
    return socket.inet_pton(socket_family(text), text)


@cache
def port_bytes(port: int) -> bytes:
    return struct.pack(">Hxx", port)


def frontend_bytes(address: str, protocol: str, port: int) -> bytes:
    """Return ADDRESS . PROTOCOL . PORT, or PROTOCOL . PORT for a node port, whose address is ""."""
    tail = _PROTOCOL_BYTES[protocol] + port_bytes(port)
    return address_bytes(address) + tail if address else tail


def destination_bytes(address: str, port: int) -> bytes:
    """Return ADDRESS . PORT, or PORT for a node port, whose address is ""."""
    return address_bytes(address) + port_bytes(port) if address else port_bytes(port)


def endpoint_bytes(family: Family, endpoints: Iterable[Endpoint]) -> tuple[bytes, ...]:
    """Return ADDRESS . PORT for each endpoint."""
    number, packed = family.socket_family, socket.inet_pton
    return tuple(
        [packed(number, endpoint.address) + port_bytes(endpoint.port) for endpoint in endpoints]
    )


@cache
def slot_bytes(number: int) -> bytes:
    return struct.pack("=L", number)


# Matches ----------------------------------------------------------------------------------------


def ct_state_new() -> bytes:
    return _any_bit(expr.load_ct(Ct.STATE), _NEW)


def ct_status_dnat() -> bytes:
    return _any_bit(expr.load_ct(Ct.STATUS), _DESTINATION_TRANSLATED)


def marked(settings: NodeSettings) -> bytes:
    """Match `meta mark & 0x00004000 != 0x00000000`."""
    return _any_bit(expr.load_meta(Meta.MARK), settings.masquerade_mark)


def daddr(family: Family, register: int = 1) -> bytes:
    return expr.payload(Header.NETWORK, _DESTINATION[family], _ADDRESS_BYTES[family], register)


def saddr(family: Family, register: int = 1) -> bytes:
    return expr.payload(Header.NETWORK, _SOURCE[family], _ADDRESS_BYTES[family], register)


def protocol_and_port(first: int = 0) -> bytes:
    """Load `meta l4proto . th dport`, from the register `first` on."""
    return expr.load_meta(Meta.L4PROTO, expr.register(first)) + port(first + 1)


def port(first: int = 0) -> bytes:
    """Load `tcp dport`, after a match of the protocol, into the register `first`."""
    return expr.payload(Header.TRANSPORT, 2, 2, expr.register(first))


def destination(family: Family) -> bytes:
    """Load `ip daddr . meta l4proto . th dport`."""
    return daddr(family) + protocol_and_port(_ADDRESS_BYTES[family] // 4)


def slot_of(family: Family, protocol: str, slots: int, *, node_port: bool) -> bytes:
    """Load `ip daddr . tcp dport . numgen random mod N`, without address for a node port."""
    words = 0 if node_port else _ADDRESS_BYTES[family] // 4
    address = b"" if node_port else daddr(family)
    return protocol_is(protocol) + address + port(words) + random_slot(slots, words + 1)


def destination_and_source(family: Family) -> bytes:
    """Load `ip daddr . meta l4proto . th dport . ip saddr`."""
    after = _ADDRESS_BYTES[family] // 4 + 2
    return destination(family) + saddr(family, expr.register(after))


def both_addresses_and_port(family: Family) -> bytes:
    """Load `ip saddr . ip daddr . meta l4proto . th dport`."""
    words = _ADDRESS_BYTES[family] // 4
    return saddr(family) + daddr(family, expr.register(words)) + protocol_and_port(2 * words)


def saddr_within(family: Family, cidr: str, *, equal: bool = True) -> bytes:
    """Match `ip saddr CIDR`."""
    return _within(_SOURCE[family], family, cidr, equal)


def loopback(family: Family, *, equal: bool = True) -> bytes:
    """Match `ip daddr 127.0.0.0/8`."""
    cidr = "127.0.0.0/8" if family is Family.IPV4 else "::1/128"
    return _within(_DESTINATION[family], family, cidr, equal)


def not_loopback(family: Family) -> bytes:
    """Match `ip daddr != 127.0.0.0/8`."""
    return loopback(family, equal=False)


def from_local_pod(family: Family, detector: LocalDetector, *, negate: bool = False) -> bytes:
    """Match `ip saddr CIDR`, `iifname "BRIDGE"` or `iifname "PREFIX*"`."""
    if detector.mode is DetectLocal.CIDR:
        return saddr_within(family, detector.value, equal=not negate)
    name = detector.value.encode()
    if detector.mode is DetectLocal.BRIDGE:
        name = name.ljust(_IFNAMSIZ, b"\0")
    return expr.load_meta(Meta.IIFNAME) + expr.compare(name, equal=not negate)


def saddr_outside(family: Family, cidrs: Iterable[str]) -> tuple[bytes | AnonymousSet, ...]:
    """Match `ip saddr != { CIDR, CIDR }`."""
    cidrs = tuple(cidrs)
    if len(cidrs) == 1:
        return (saddr_within(family, cidrs[0], equal=False),)
    return (saddr(family), _ranges(family, cidrs, inverted=True))


def daddr_within(family: Family, cidrs: Iterable[str]) -> tuple[bytes | AnonymousSet, ...]:
    """Match `ip daddr { CIDR, CIDR }`."""
    cidrs = tuple(cidrs)
    if len(cidrs) == 1:
        return (_within(_DESTINATION[family], family, cidrs[0], equal=True),)
    return (daddr(family), _ranges(family, cidrs, inverted=False))


@cache
def protocol_is(protocol: str) -> bytes:
    """Match `meta l4proto tcp`."""
    return expr.load_meta(Meta.L4PROTO) + expr.compare(bytes([_PROTOCOLS[protocol]]))


# Statements -------------------------------------------------------------------------------------


def goto(chain: str) -> bytes:
    return expr.verdict(Verdict.GOTO, chain)


def jump(chain: str) -> bytes:
    return expr.verdict(Verdict.JUMP, chain)


def drop() -> bytes:
    return expr.verdict(Verdict.DROP)


def mark(settings: NodeSettings) -> bytes:
    """Do `meta mark set meta mark | 0x00004000`."""
    bit = settings.masquerade_mark
    toggled = expr.masked(struct.pack("=L", 0xFFFFFFFF ^ bit), struct.pack("=L", bit))
    return expr.load_meta(Meta.MARK) + toggled + expr.set_mark()


def unmark(settings: NodeSettings) -> bytes:
    """Do `meta mark set meta mark ^ 0x00004000`."""
    toggled = expr.masked(b"\xff" * 4, struct.pack("=L", settings.masquerade_mark))
    return expr.load_meta(Meta.MARK) + toggled + expr.set_mark()


@cache
def dnat(family: Family) -> bytes:
    """Do `dnat ip to` the ADDRESS . PORT found by the lookup before."""
    port = expr.register(_ADDRESS_BYTES[family] // 4)
    return expr.translate_destination(family, 1, port)


def dnat_to(family: Family, address: str, port: int) -> bytes:
    """Do `dnat to ADDRESS:PORT`."""
    load = expr.immediate(address_bytes(address), 1) + expr.immediate(struct.pack(">H", port), 2)
    return load + expr.translate_destination(family, 1, 2, port_given=True)


@cache
def random_slot(below: int, register: int = 0) -> bytes:
    """Load `numgen random mod N`."""
    return expr.random_number(below, expr.register(register))


def endpoint_map(family: Family, endpoints: Iterable[bytes]) -> AnonymousSet:
    """Look up in `map { 0 : ADDRESS . PORT, 1 : ADDRESS . PORT }`."""
    elements = tuple(
        element(slot_bytes(slot), data_value(endpoint)) for slot, endpoint in enumerate(endpoints)
    )
    return AnonymousSet(elements, INTEGER, concatenation(address(family), PORT), target=1)


def _any_bit(load: bytes, mask: int) -> bytes:
    zero = bytes(4)
    return load + expr.masked(struct.pack("=L", mask), zero) + expr.compare(zero, equal=False)


def _within(offset: int, family: Family, cidr: str, equal: bool) -> bytes:
    network = ipaddress.ip_network(cidr)
    whole, prefix = network.network_address.packed, network.prefixlen
    if prefix % 8 == 0 and prefix:
        length = prefix // 8
        load = expr.payload(Header.NETWORK, offset, length)
        return load + expr.compare(whole[:length], equal=equal)
    load = expr.payload(Header.NETWORK, offset, _ADDRESS_BYTES[family])
    masked = expr.masked(network.netmask.packed, bytes(len(whole)))
    return load + masked + expr.compare(whole, equal=equal)


def _ranges(family: Family, cidrs: Iterable[str], *, inverted: bool) -> AnonymousSet:
    """Return `{ CIDR, CIDR }`, with overlapping and adjacent ones merged as nft does."""
    size = _ADDRESS_BYTES[family]
    end_of_all = 1 << 8 * size
    merged: list[list[int]] = []
    for network in sorted(map(ipaddress.ip_network, cidrs), key=lambda each: each.network_address):
        first = int(network.network_address)
        after = int(network.broadcast_address) + 1
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], after)
        else:
            merged.append([first, after])
    elements = [] if merged[0][0] == 0 else [boundary(bytes(size), end=True)]
    for first, after in merged:
        endless = after == end_of_all
        elements.append(boundary(first.to_bytes(size, "big"), endless=endless))
        if not endless:
            elements.append(boundary(after.to_bytes(size, "big"), end=True))
    return AnonymousSet(tuple(elements), address(family), ranges=True, inverted=inverted)
