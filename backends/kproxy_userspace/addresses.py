"""The addresses of Services on `lo`, each as a /32 or /128.

Ours carry the number PROTOCOL in the attribute IFA_PROTO, which says what added an address, and
which the kernel keeps with it for both families. So another process, also a later one, can tell
them from all others; a label would do so in IPv4 only, and a file could disagree with the kernel.
The kernel must not choose one as the source of packets to other hosts for want of another: over
IPv4 their scope is `host`, over IPv6 they are deprecated. Neither affects incoming packets.
Source: linux/rtnetlink.h, if_addr.h; IFA_PROTO since Linux 5.18.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from kproxy.backend import Family, KernelRefused, family_of

PROTOCOL = 107  # the kernel's own are 1 to 3
NEEDS_LINUX = (5, 18)

_NEWADDR, _DELADDR, _GETADDR, _GETROUTE = 20, 21, 22, 26
_REQUEST, _ACK, _EXCL, _CREATE, _DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
_ERROR, _DONE = 2, 3
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_PROTO = 1, 2, 6, 11
_SCOPE_HOST, _NO_DAD = 254, 0x02  # usable at once, without duplicate address detection
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg
_RTA_DST, _LOCAL = 1, 2
_ATTRIBUTE = struct.Struct("=HH")
_DEPRECATED_FOREVER = struct.pack("=IIII", 0, 0xFFFFFFFF, 0, 0)  # ifa_cacheinfo


class Found(NamedTuple):
    """An address that some interface of the namespace has. `ours`: it is on `lo` for a Service."""

    address: str
    ours: bool


def look(family: Family) -> list[Found]:
    """Return all addresses of the calling thread's namespace, without IPv6 link-local ones."""
    loopback = socket.if_nametoindex("lo")
    found = []
    for message in _ask(_GETADDR, _DUMP, _ADDRESS.pack(family.socket_family, 0, 0, 0, 0)):
        *_, link = _ADDRESS.unpack_from(message)
        attributes = dict(_attributes(message[_ADDRESS.size :]))
        address = ip_address(attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS])
        if not address.is_link_local or family is Family.IPV4:
            ours = link == loopback and attributes.get(_IFA_PROTO) == bytes([PROTOCOL])
            found.append(Found(str(address), ours))
    return found


def add(addresses: Iterable[str]) -> list[str]:
    """Add these addresses to `lo`, all or none. Returns those that it did not have.

    On return, packets for them are accepted. Raises KernelRefused.
    """
    added: list[str] = []
    for address in addresses:
        try:
            _change(_NEWADDR, _CREATE | _EXCL, address)
            added.append(address)
        except OSError as error:
            if error.errno != errno.EEXIST:
                remove(added)
                raise KernelRefused(f"add {address} to lo: {error.strerror}") from None
    _await_routes(
        {ip_address(address).packed for address in added if family_of(address) is Family.IPV6}
    )
    return added


def remove(addresses: Iterable[str]) -> None:
    """Remove these addresses from `lo`. Those that it does not have are ignored.

    Raises KernelRefused after removing those that can be removed.
    """
    failures = []
    for address in addresses:
        try:
            _change(_DELADDR, 0, address)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                failures.append(f"remove {address} from lo: {error.strerror}")
    if failures:
        raise KernelRefused("\n".join(failures))


def _await_routes(addresses: set[bytes]) -> None:
    """Wait until there are local routes for these IPv6 addresses.

    The kernel adds such a route a moment after the address, in the work queue of duplicate address
    detection, even if that is off. Until then packets are lost (seen on Linux 6.18).
    """
    everything = _ROUTE.pack(Family.IPV6.socket_family, 0, 0, 0, 0, 0, 0, 0, 0)
    while addresses:
        for message in _ask(_GETROUTE, _DUMP, everything):
            if _ROUTE.unpack_from(message)[-2] == _LOCAL:
                addresses.discard(dict(_attributes(message[_ROUTE.size :])).get(_RTA_DST, b""))
        if addresses:
            time.sleep(0.001)


def _change(kind: int, flags: int, address: str) -> None:
    family = family_of(address).socket_family
    packed = ip_address(address).packed
    loopback = socket.if_nametoindex("lo")
    body = _ADDRESS.pack(family, 8 * len(packed), _NO_DAD, _SCOPE_HOST, loopback)
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    if kind == _NEWADDR:
        body += _attribute(_IFA_PROTO, bytes([PROTOCOL]))
        body += _attribute(_IFA_CACHEINFO, _DEPRECATED_FOREVER)
    for _ in _ask(kind, flags | _ACK, body):
        pass


def _ask(kind: int, flags: int, body: bytes) -> Iterator[bytes]:
    """Send a request and yield the kernel's answers. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, 0, 0) + body)
        while True:
            data = netlink.recv(1 << 16)
            while data:
                length, answer, *_ = _HEADER.unpack_from(data)
                message, data = data[_HEADER.size : length], data[length + -length % 4 :]
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    (code,) = struct.unpack_from("=i", message)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield message


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data + bytes(-len(data) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]
