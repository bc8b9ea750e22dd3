"""Requests of rtnetlink for links, addresses, routes and neighbours, as values to send together.

Source: linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h, veth.h.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address, ip_interface, ip_network

from msgspec import Struct

from kproxy.address import Family, family_of, socket_family
from kproxy.errors import KernelRefused
from kproxy.kernel.netlink import CREATE, EXCL, Netlink, Request, attribute, attributes

LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix, flags, scope, index
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst, src, tos, table, proto, scope, type, ...
NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
_U32 = struct.Struct("=I")
_NOTHING = memoryview(b"")

GETLINK, GETROUTE = 18, 26
NEWLINK, DELLINK, _SETLINK, NEWADDR, _NEWROUTE, _DELROUTE, _NEWNEIGH = 16, 17, 19, 20, 24, 25, 28
_REPLACE, _APPEND = 0x100, 0x800  # NLM_F_
_NESTED = 0x8000
_IFLA_ADDRESS, IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_PROTINFO = 1, 3, 4, 10, 12
IFLA_LINKINFO, _IFLA_GROUP, _IFLA_NET_NS_FD = 18, 27, 28
_IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 31, 32
INFO_KIND, _INFO_DATA, _VETH_INFO_PEER, _BRPORT_MODE = 1, 2, 1, 4
_INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 4, 5
_VXLAN_LOCAL, _VXLAN_LOCAL6 = 4, 17
_IFF_UP = 0x1
IFA_ADDRESS, IFA_LOCAL, _IFA_FLAGS, _IFA_F_NODAD = 1, 2, 8, 0x02
RTA_DST, RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 7, 15
_MAIN, _STATIC, _UNICAST, _BLACKHOLE, _SCOPE_LINK, _ON_LINK = 254, 4, 1, 6, 253, 4
_NDA_DST, _NDA_LLADDR, _PERMANENT, _SELF = 1, 2, 0x80, 0x02


class Route(Struct, frozen=True, kw_only=True):
    """A route for packets to `destination` (a CIDR) out of `link`."""

    destination: str
    link: str
    via: str = ""
    """The gateway, if there is one."""
    source: str = ""
    """The address this host prefers when it sends there, "" for the kernel's choice."""
    on_link: bool = False
    """The gateway is a neighbour, though no route says so."""
    table: int = 0
    """0 is the main table."""

    def __str__(self) -> str:
        """Return it as `ip route` writes it."""
        return (
            f"{self.destination} dev {self.link}"
            + (f" via {self.via}" if self.via else "")
            + (f" src {self.source}" if self.source else "")
        )


def add_veth(
    name: str, *, peer: str, peer_descriptor: int, index: int, peer_mac: str, up: bool
) -> Request:
    """Return the request for a veth pair; `index` is that of our end, 0 for the kernel's choice.

    The descriptor is that of the namespace of the other end. `up` sets our end up; the kernel
    refuses that of the other end, which it opens before the two are connected.
    """
    flags = _IFF_UP if up else 0
    # Otherwise the kernel makes a queue for each CPU, then waits until nothing uses all but one.
    queues = attribute(_IFLA_NUM_TX_QUEUES, _U32.pack(1))
    queues += attribute(_IFLA_NUM_RX_QUEUES, _U32.pack(1))
    other = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(IFLA_IFNAME, peer) + queues
    other += attribute(_IFLA_NET_NS_FD, _U32.pack(peer_descriptor))
    if peer_mac:
        other += attribute(_IFLA_ADDRESS, _packed_mac(peer_mac))
    data = attribute(_INFO_DATA | _NESTED, attribute(_VETH_INFO_PEER | _NESTED, other))
    body = LINK.pack(socket.AF_UNSPEC, 0, index, flags, flags) + _text(IFLA_IFNAME, name) + queues
    body += attribute(IFLA_LINKINFO | _NESTED, _text(INFO_KIND, "veth") + data)
    what = ("cannot add veth", name)
    needs = "this kernel needs CONFIG_VETH"
    return Request(NEWLINK, body, what, CREATE | EXCL, remedy=needs)


def set_up(index: int, name: str) -> Request:
    body = LINK.pack(socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP)
    return Request(_SETLINK, body, ("cannot set", name, "up"))


def set_mtu(index: int, name: str, mtu: int) -> Request:
    return _set(index, _IFLA_MTU, mtu, ("cannot set mtu of", name))


def set_master(index: int, name: str, bridge_index: int, bridge: str) -> Request:
    return _set(index, _IFLA_MASTER, bridge_index, ("cannot make", name, "a port of", bridge))


def set_group(index: int, name: str, group: int) -> Request:
    return _set(index, _IFLA_GROUP, group, ("cannot delete", name))


def delete_group(group: int, names: str) -> Request:
    """Return the request that deletes all links of a group; `names` is for messages only."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(_IFLA_GROUP, _U32.pack(group))
    return Request(DELLINK, body, ("cannot delete", names))


def set_hairpin(index: int, name: str) -> Request:
    """Return the request that lets a port of a bridge send back packets it received."""
    body = LINK.pack(socket.AF_BRIDGE, 0, index, 0, 0)
    body += attribute(_IFLA_PROTINFO | _NESTED, attribute(_BRPORT_MODE, b"\1"))
    return Request(_SETLINK, body, ("cannot make", name, "a hairpin port"))


def add_address(index: int, name: str, cidr: str) -> Request:
    """Return the request for an address; IPv6 skips duplicate detection."""
    interface = ip_interface(cidr)
    body = ADDRESS.pack(socket_family(cidr), interface.network.prefixlen, 0, 0, index)
    body += attribute(IFA_LOCAL, interface.packed) + attribute(IFA_ADDRESS, interface.packed)
    if interface.version == 6:
        body += attribute(_IFA_FLAGS, _U32.pack(_IFA_F_NODAD))
    return Request(NEWADDR, body, ("cannot add", cidr, "to", name), CREATE | EXCL)


def add_route(index: int, route: Route) -> Request:
    """Return the request for a route, which replaces one to the same destination.

    `index` is that of the link.
    """
    what = ("cannot route", route)
    return Request(_NEWROUTE, _route(index, route), what, CREATE | _REPLACE)


def delete_route(index: int, route: Route) -> Request:
    return Request(_DELROUTE, _route(index, route), ("cannot remove", route))


def add_blackhole(destination: str) -> Request:
    network = ip_network(destination)
    body = ROUTE.pack(
        socket_family(destination), network.prefixlen, 0, 0, _MAIN, _STATIC, 0, _BLACKHOLE, 0
    )
    body += attribute(RTA_DST, network.network_address.packed)
    return Request(_NEWROUTE, body, ("cannot route blackhole", destination), CREATE | _REPLACE)


def add_neighbour(index: int, name: str, address: str, mac: str) -> Request:
    """Return the request for a permanent neighbour, which replaces one with that address."""
    body = NEIGHBOUR.pack(socket_family(address), index, _PERMANENT, 0, 0)
    body += attribute(_NDA_DST, ip_address(address).packed)
    body += attribute(_NDA_LLADDR, _packed_mac(mac))
    what = ("cannot add neighbour", address, "to", name)
    return Request(_NEWNEIGH, body, what, CREATE | _REPLACE)


def add_forwarding(index: int, name: str, mac: str, address: str) -> Request:
    """Return the request that makes a VXLAN device send frames for `mac` to `address`."""
    body = NEIGHBOUR.pack(socket.AF_BRIDGE, index, _PERMANENT, _SELF, 0)
    body += attribute(_NDA_LLADDR, _packed_mac(mac))
    body += attribute(_NDA_DST, ip_address(address).packed)
    what = ("cannot send", mac, "on", name, "to", address)
    return Request(_NEWNEIGH, body, what, CREATE | _APPEND)


class Link(Struct, frozen=True, kw_only=True):
    """A link as the kernel lists it. `master` is the index of its bridge, 0 without one.

    `hairpin`: as a port of a bridge, it may send back what came in by it. `underlay`: the address
    that a VXLAN device sends from, "" for none, and of other kinds.
    """

    index: int
    name: str
    flags: int
    kind: str
    master: int
    mtu: int
    hairpin: bool
    underlay: str


def index_of(netlink: Netlink, name: str) -> int:
    """Return the index of a link, 0 if there is none of that name.

    Unlike if_nametoindex(3), which has the kernel start modprobe for a name that it does not know,
    twice.
    """
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(IFLA_IFNAME, name)
    try:
        answer = netlink.ask(Request(GETLINK, body, ("look at interface", name)))
    except KernelRefused:
        return 0
    index: int = LINK.unpack_from(answer)[2]
    return index


def links_of(netlink: Netlink) -> list[Link]:
    """Return all links of the socket's namespace."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return [_link(each) for each in netlink.dump(Request(GETLINK, body, ("list links",)))]


def _link(answer: memoryview) -> Link:
    _, _, index, flags, _ = LINK.unpack_from(answer)
    found = dict(attributes(answer[LINK.size :]))
    info = dict(attributes(found.get(IFLA_LINKINFO, _NOTHING)))
    kind = _string(info.get(INFO_KIND, _NOTHING))
    port = info.get(_INFO_SLAVE_DATA, _NOTHING)
    is_port = _string(info.get(_INFO_SLAVE_KIND, _NOTHING)) == "bridge"
    return Link(
        index=index,
        name=_string(found[IFLA_IFNAME]),
        flags=flags,
        kind=kind,
        master=_U32.unpack(found.get(_IFLA_MASTER, bytes(4)))[0],
        mtu=_U32.unpack(found.get(_IFLA_MTU, bytes(4)))[0],
        hairpin=is_port and bytes(dict(attributes(port)).get(_BRPORT_MODE, b"\0")) != b"\0",
        underlay=_underlay(info.get(_INFO_DATA, _NOTHING)) if kind == "vxlan" else "",
    )


def _underlay(data: memoryview) -> str:
    of_vxlan = dict(attributes(data))
    packed = bytes(of_vxlan.get(_VXLAN_LOCAL, of_vxlan.get(_VXLAN_LOCAL6, _NOTHING)))
    return str(ip_address(packed)) if any(packed) else ""


def _string(payload: memoryview) -> str:
    return bytes(payload).rstrip(b"\0").decode()


def _set(index: int, kind: int, value: int, what: tuple[object, ...]) -> Request:
    body = LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + attribute(kind, _U32.pack(value))
    return Request(_SETLINK, body, what)


def _route(index: int, route: Route) -> bytes:
    network = ip_network(route.destination)
    direct = not route.via and family_of(route.destination) is Family.IPV4
    body = ROUTE.pack(
        socket_family(route.destination),
        network.prefixlen,
        0,
        0,
        _MAIN if route.table in (0, _MAIN) else 0,  # the attribute is what counts
        _STATIC,
        _SCOPE_LINK if direct else 0,
        _UNICAST,
        _ON_LINK if route.on_link else 0,
    )
    if network.prefixlen:
        body += attribute(RTA_DST, network.network_address.packed)
    body += attribute(RTA_OIF, _U32.pack(index))
    body += attribute(_RTA_TABLE, _U32.pack(route.table or _MAIN))
    if route.via:
        body += attribute(_RTA_GATEWAY, ip_address(route.via).packed)
    if route.source:
        body += attribute(_RTA_PREFSRC, ip_address(route.source).packed)
    return body


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _packed_mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
