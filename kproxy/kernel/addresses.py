"""Addresses of interfaces in the calling thread's namespace, and the dummy interface that holds
the addresses of Services. Source: linux/rtnetlink.h, if_addr.h, if_link.h
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import time
from collections.abc import Iterable, Iterator, Sequence

from kproxy.address import Family, family_of, socket_family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.netlink import (
    CREATE,
    EXCL,
    NETLINK_ROUTE,
    Netlink,
    Request,
    attribute,
    attributes,
)
from kproxy.kernel.node_addresses import of_node, within
from kproxy.kernel.route_lookup import route_of
from kproxy.kernel.rtnetlink import (
    ADDRESS,
    DELLINK,
    GETLINK,
    GETROUTE,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFLA_IFNAME,
    IFLA_LINKINFO,
    INFO_KIND,
    LINK,
    NEWADDR,
    NEWLINK,
    ROUTE,
    RTA_DST,
    index_of,
)

_DELADDR, _GETADDR = 21, 22
_LOCAL = 2  # RTN_LOCAL
_ROUTE_TIMEOUT_S = 1.0
_REMOVED = frozenset([errno.ENODEV])  # the interface, since interfaces were listed

log = logging.getLogger("kproxy")


def local_addresses(family: Family, cidrs: Iterable[str]) -> list[str]:
    """Return the addresses of all interfaces within one of `cidrs`: canonical, unique, sorted."""
    return within(cidrs, _addresses(family, socket.if_nameindex()))


def node_addresses(family: Family, *, but: str) -> list[str]:
    """Return the addresses of all interfaces except `but`, sorted, without loopback and IPv6
    link-local ones. The addresses of `but` are not read, so their number costs nothing.
    """
    links = [(index, name) for index, name in socket.if_nameindex() if name != but]
    return of_node(family, _addresses(family, links))


def addresses_of(link: str, family: Family) -> set[str]:
    """Return the link's addresses without IPv6 link-local ones; empty if there is no such link."""
    links = [each for each in socket.if_nameindex() if each[1] == link]
    return {
        address
        for address in _addresses(family, links)
        if family is Family.IPV4 or not ipaddress.ip_address(address).is_link_local
    }


def count_of(link: str, family: Family) -> int:
    """Return the number of the link's addresses, in a tenth of the time it takes to read them."""
    index = _index(link)
    if not index:
        return 0
    with Netlink(NETLINK_ROUTE) as netlink:
        netlink.be_strict()
        body = ADDRESS.pack(family.socket_family, 0, 0, 0, index)
        what = ("count addresses of", link)
        return len(netlink.dump(Request(_GETADDR, body, what, fine=_REMOVED)))


def all_addresses() -> set[str]:
    """Return the addresses of all interfaces, also loopback and IPv6 link-local ones."""
    links = socket.if_nameindex()
    return {address for family in Family for address in _addresses(family, links)}


def link_towards(address: str) -> str:
    """Return the link by which this host sends packets to an address: `lo` for one of its own.

    Raises KernelRefused, with the reason, if no route leads there.
    """
    return route_of(address).dev


def add_addresses(link: str, addresses: Iterable[str]) -> None:
    """Add each address as a /32 or /128, all in one send. Existing ones are no error.

    On return, packets for them are for this host: for an IPv6 address, a worker of the kernel adds
    the route that says so. It is waited for no longer than a second, with a warning, because it
    never comes while a link is down that others have made, of a kind with neighbours.
    """
    added = list(addresses)
    _change(NEWADDR, CREATE | EXCL, link, added, ("add", "to"), errno.EEXIST)
    if of_ipv6 := [each for each in added if family_of(each) is Family.IPV6]:
        _await_routes(link, of_ipv6)


def remove_addresses(link: str, addresses: Iterable[str]) -> None:
    """Remove addresses. Missing ones are no error."""
    _change(_DELADDR, 0, link, addresses, ("remove", "from"), errno.EADDRNOTAVAIL)


def remove_subnets(link: str, family: Family) -> None:
    """Remove the link's addresses that have a shorter prefix than a /32 or /128.

    They cannot be told from the others by their text, and are removed only with their prefix.
    """
    index = _index(link)
    with Netlink(NETLINK_ROUTE) as netlink:
        netlink.be_strict()
        body = ADDRESS.pack(family.socket_family, 0, 0, 0, index)
        requests = []
        for answer in netlink.dump(Request(_GETADDR, body, ("list addresses of", link))):
            _, length, _, _, _ = ADDRESS.unpack_from(answer)
            fields = dict(attributes(answer[ADDRESS.size :]))
            packed = bytes(fields.get(IFA_LOCAL, fields[IFA_ADDRESS]))
            text = str(ipaddress.ip_address(packed))
            if length < 8 * len(packed) and not ipaddress.ip_address(text).is_link_local:
                what = ("remove", f"{text}/{length}", "from", link)
                requests.append(Request(_DELADDR, _address(index, text, length), what))
        if requests:
            netlink.send(requests)


def ensure_dummy(name: str) -> None:
    """Create a dummy interface of that name, down, unless an interface of that name exists.

    Raises Unsupported if this kernel has no dummy interfaces.
    """
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(IFLA_IFNAME, name.encode() + b"\0")
    body += attribute(IFLA_LINKINFO, attribute(INFO_KIND, b"dummy\0"))
    what = ("add dummy interface", name)
    with Netlink(NETLINK_ROUTE) as netlink:
        fine = frozenset([errno.EEXIST, errno.EOPNOTSUPP])
        netlink.send([Request(NEWLINK, body, what, CREATE | EXCL, fine)])
    if not _index(name):
        raise Unsupported(
            "this kernel has no dummy interfaces", remedy="modprobe dummy (CONFIG_DUMMY)"
        )


def delete_dummy(name: str) -> None:
    """Delete the interface if it exists and is of kind dummy."""
    index = _index(name)
    if not index:
        return
    body = LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    with Netlink(NETLINK_ROUTE) as netlink:
        answer = netlink.ask(Request(GETLINK, body, ("look at interface", name)))
        fields = dict(attributes(answer[LINK.size :]))
        kind = dict(attributes(fields.get(IFLA_LINKINFO, memoryview(b"")))).get(INFO_KIND)
        if kind is not None and bytes(kind).rstrip(b"\0") == b"dummy":
            netlink.send([Request(DELLINK, body, ("delete interface", name))])


def _await_routes(link: str, addresses: Sequence[str]) -> None:
    deadline = time.monotonic() + _ROUTE_TIMEOUT_S
    with Netlink(NETLINK_ROUTE) as netlink:
        for address in addresses:
            while not _is_local(netlink, address):
                if time.monotonic() > deadline:
                    log.warning("%s is not reachable on %s yet: it has no route", address, link)
                    return
                time.sleep(0.001)


def _is_local(netlink: Netlink, address: str) -> bool:
    """Tell whether this host would take a packet to the IPv6 address for its own."""
    body = ROUTE.pack(Family.IPV6.socket_family, 128, 0, 0, 0, 0, 0, 0, 0)
    body += attribute(RTA_DST, ipaddress.ip_address(address).packed)
    try:
        answer = netlink.ask(Request(GETROUTE, body, ("look up", address)))
    except KernelRefused:  # no route at all, so far
        return False
    return bool(ROUTE.unpack_from(answer)[-2] == _LOCAL)


def _addresses(family: Family, links: Iterable[tuple[int, str]]) -> Iterator[str]:
    number = family.socket_family
    with Netlink(NETLINK_ROUTE) as netlink:
        netlink.be_strict()  # else the kernel ignores the index and lists all
        for index, name in links:
            body = ADDRESS.pack(number, 0, 0, 0, index)
            what = ("list addresses of", name)
            for answer in netlink.dump(Request(_GETADDR, body, what, fine=_REMOVED)):
                fields = dict(attributes(answer[ADDRESS.size :]))
                packed = bytes(fields.get(IFA_LOCAL, fields[IFA_ADDRESS]))
                yield str(ipaddress.ip_address(packed))


def _change(
    kind: int, flags: int, link: str, addresses: Iterable[str], words: tuple[str, str], fine: int
) -> None:
    wanted = list(addresses)
    if not wanted:
        return
    index = _index(link)
    if not index:
        raise KernelRefused(f"no interface called {link}")
    verb, preposition = words
    with Netlink(NETLINK_ROUTE) as netlink:
        netlink.send(
            Request(
                kind,
                _address(index, address),
                (verb, address, preposition, link),
                flags,
                frozenset([fine]),
            )
            for address in wanted
        )


def _address(index: int, text: str, length: int = 0) -> bytes:
    family = socket_family(text)
    packed = socket.inet_pton(family, text)
    return (
        ADDRESS.pack(family, length or 8 * len(packed), 0, 0, index)
        + attribute(IFA_LOCAL, packed)
        + attribute(IFA_ADDRESS, packed)
    )


def _index(link: str) -> int:
    """Return the interface index of a link, 0 if there is none."""
    with Netlink(NETLINK_ROUTE) as netlink:
        return index_of(netlink, link)
