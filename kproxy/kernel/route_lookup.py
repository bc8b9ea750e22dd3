"""The routing decision of the calling thread's namespace for a packet, as `ip route get` asks.

Source: linux/rtnetlink.h; net/ipv4/route.c (inet_rtm_getroute)
"""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_address

from msgspec import Struct

from kproxy.address import socket_family
from kproxy.kernel.netlink import NETLINK_ROUTE, Netlink, Request, attribute, attributes
from kproxy.kernel.rtnetlink import GETROUTE, ROUTE, RTA_DST, RTA_OIF

_LOOKUP_TABLE = 0x1000  # RTM_F_LOOKUP_TABLE: tell the table that was used
_RTA_SRC, _RTA_IIF, _RTA_GATEWAY, _RTA_TABLE, _RTA_MARK = 2, 3, 5, 15, 16
_KINDS = (
    *("", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable"),
    *("prohibit", "throw", "nat", "xresolve"),
)
_TABLES = {253: "default", 254: "main", 255: "local"}


class FoundRoute(Struct, frozen=True, kw_only=True):
    """The route of a packet. `via` is "" where no gateway is needed."""

    kind: str
    """unicast, local, blackhole ..., as `ip route` writes it."""
    via: str
    dev: str
    table: str
    """main, or a number; "" for a packet to this host, and where the kernel does not tell."""


def route_of(destination: str, *, source: str = "", entry: str = "", mark: int = 0) -> FoundRoute:
    """Return the route of a packet to `destination` from `source`.

    `entry`: the link by which it comes in, "" for one that is sent from here. Raises KernelRefused,
    with the reason, if it would go nowhere.
    """
    packed = ip_address(destination).packed
    from_packed = ip_address(source).packed if source else b""
    body = ROUTE.pack(
        *(socket_family(destination), 8 * len(packed), 8 * len(from_packed)),
        *(0, 0, 0, 0, 0, _LOOKUP_TABLE),
    )
    body += attribute(RTA_DST, packed)
    if source:
        body += attribute(_RTA_SRC, from_packed)
    if entry:
        body += attribute(_RTA_IIF, socket.if_nametoindex(entry).to_bytes(4, sys.byteorder))
    if mark:
        body += attribute(_RTA_MARK, mark.to_bytes(4, sys.byteorder))
    with Netlink(NETLINK_ROUTE) as netlink:
        answer = netlink.ask(Request(GETROUTE, body, ("look up", destination)))
    kind = ROUTE.unpack_from(answer)[7]
    fields = dict(attributes(answer[ROUTE.size :]))
    table = int.from_bytes(fields.get(_RTA_TABLE, b""), sys.byteorder)
    name = _KINDS[kind] if kind < len(_KINDS) else str(kind)
    return FoundRoute(
        kind=name,
        via=_address(fields.get(_RTA_GATEWAY)),
        dev=_link(fields.get(RTA_OIF)),
        # The kernel keeps the tables local and main in one, and calls it main.
        table=_TABLES.get(table, str(table)) if table and name != "local" else "",
    )


def _link(index: memoryview | None) -> str:
    return socket.if_indextoname(int.from_bytes(index, sys.byteorder)) if index else ""


def _address(packed: memoryview | None) -> str:
    return str(ip_address(bytes(packed))) if packed else ""
