"""What `Links` says to the kernel: the bodies of its requests, packed here because it says a lot.

Pure. Source: linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h, fib_rules.h.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Interface, IPv6Interface, ip_network
from typing import Final

from kproxy.kernel.netlink import attribute

NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, GET_ADDRESS = 20, 22
NEW_ROUTE, DELETE_ROUTE = 24, 25
NEW_NEIGHBOUR, NEW_RULE = 28, 32
REPLACE, APPEND = 0x100, 0x800  # NLM_F_

LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
IFLA_MASTER, IFLA_LINKINFO, INFO_KIND = 10, 18, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFF_UP, IFF_RUNNING = 0x1, 0x40

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_GROUP, _IFLA_NET_NS_FD = 1, 3, 4, 27, 28
_INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA, _VETH_INFO_PEER = 2, 4, 5, 1
_BRPORT_HAIRPIN = 4  # IFLA_BRPORT_MODE
_VXLAN_ID, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PORT, _VXLAN_LOCAL6 = 1, 4, 7, 15, 17
_IFA_F_NODAD = 0x02
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg, and fib_rule_hdr
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 7, 15
_FRA_DST, _FRA_SRC, _FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE = 1, 2, 6, 10, 15
_STATIC, _UNIVERSE, _ON_LINK_SCOPE, _UNICAST, _BLACKHOLE, _TO_TABLE = 4, 0, 253, 1, 6, 1
_RTNH_F_ONLINK = 4
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT, _NTF_SELF, _PF_BRIDGE = 1, 2, 0x80, 2, 7

MAIN_TABLE: Final = 254


def new_link(name: str, kind: str, data: bytes = b"", *, mac: str = "", **more: int) -> bytes:
    """`more`: `index` and `mtu`, as the kernel chooses where they are not given."""
    return (
        LINK.pack(socket.AF_UNSPEC, 0, more.get("index", 0), 0, 0)
        + _text(_IFLA_IFNAME, name)
        + (attribute(_IFLA_ADDRESS, _mac(mac)) if mac else b"")
        + (_number(_IFLA_MTU, more["mtu"]) if "mtu" in more else b"")
        + attribute(IFLA_LINKINFO, _text(INFO_KIND, kind) + attribute(_INFO_DATA, data))
    )


def veth_peer(name: str, namespace: int, mac: str) -> bytes:
    """The data of a veth: its other end. `namespace`: a descriptor."""
    peer = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
    peer += _number(_IFLA_NET_NS_FD, namespace)
    if mac:
        peer += attribute(_IFLA_ADDRESS, _mac(mac))
    return attribute(_VETH_INFO_PEER, peer)


def vxlan(vni: int, local: str, port: int) -> bytes:
    """The data of a VXLAN device that does not learn."""
    return (
        _number(_VXLAN_ID, vni)
        + attribute(_VXLAN_LOCAL6 if ":" in local else _VXLAN_LOCAL, _packed(local))
        + attribute(_VXLAN_LEARNING, b"\0")
        + attribute(_VXLAN_PORT, struct.pack(">H", port))
    )


def link(index: int, *, up: bool = False, group: int | None = None, **more: int) -> bytes:
    """A link and what is to become of it. `more`: `mtu`, `master`. `group` alone: all of it."""
    flags = IFF_UP if up else 0
    body = LINK.pack(socket.AF_UNSPEC, 0, index, flags, flags)
    for kind, field in ((_IFLA_MTU, "mtu"), (IFLA_MASTER, "master")):
        if field in more:
            body += _number(kind, more[field])
    return body + (b"" if group is None else _number(_IFLA_GROUP, group))


def hairpin_port(index: int) -> bytes:
    port = _text(_INFO_SLAVE_KIND, "bridge")
    port += attribute(_INFO_SLAVE_DATA, attribute(_BRPORT_HAIRPIN, b"\1"))
    return LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + attribute(IFLA_LINKINFO, port)


def address(index: int, interface: IPv4Interface | IPv6Interface) -> bytes:
    """IPv6 without duplicate detection."""
    flags = 0 if interface.version == 4 else _IFA_F_NODAD
    length = interface.network.prefixlen
    packed = interface.ip.packed
    return (
        ADDRESS.pack(family_of(str(interface)), length, flags, 0, index)
        + attribute(IFA_LOCAL, packed)
        + attribute(IFA_ADDRESS, packed)
    )


def route(
    destination: str, *, index: int, via: str, source: str, on_link: bool, table: int
) -> bytes:
    """`via`, `source`: "" for none."""
    alone = family_of(destination) == socket.AF_INET and not via
    return (
        _route(
            destination,
            table,
            scope=_ON_LINK_SCOPE if alone else _UNIVERSE,
            flags=_RTNH_F_ONLINK if on_link else 0,
        )
        + _number(_RTA_OIF, index)
        + (attribute(_RTA_GATEWAY, _packed(via)) if via else b"")
        + (attribute(_RTA_PREFSRC, _packed(source)) if source else b"")
    )


def blackhole(destination: str) -> bytes:
    return _route(destination, MAIN_TABLE, kind=_BLACKHOLE)


def rule(
    family: socket.AddressFamily,
    *,
    table: int,
    priority: int,
    source: str,
    destination: str,
    mark: int,
) -> bytes:
    """`source`, `destination`: CIDRs, "" for any. `mark`: 0 for any."""
    lengths = [ip_network(cidr).prefixlen if cidr else 0 for cidr in (destination, source)]
    return (
        _ROUTE.pack(family, *lengths, 0, _short(table), 0, 0, _TO_TABLE, 0)
        + _number(_FRA_TABLE, table)
        + _number(_FRA_PRIORITY, priority)
        + (attribute(_FRA_DST, _network(destination)) if destination else b"")
        + (attribute(_FRA_SRC, _network(source)) if source else b"")
        + (_number(_FRA_FWMARK, mark) if mark else b"")
    )


def neighbour(index: int, host: str, mac: str) -> bytes:
    """One that never expires."""
    return (
        _NEIGHBOUR.pack(family_of(host), index, _NUD_PERMANENT, 0, 0)
        + attribute(_NDA_DST, _packed(host))
        + attribute(_NDA_LLADDR, _mac(mac))
    )


def forwarding_entry(index: int, mac: str, host: str) -> bytes:
    """Of a VXLAN device: frames for `mac` go to `host`."""
    return (
        _NEIGHBOUR.pack(_PF_BRIDGE, index, _NUD_PERMANENT, _NTF_SELF, 0)
        + attribute(_NDA_LLADDR, _mac(mac))
        + attribute(_NDA_DST, _packed(host))
    )


def family_of(text: str) -> socket.AddressFamily:
    """Of an address or a CIDR."""
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def _route(
    destination: str, table: int, *, scope: int = _UNIVERSE, kind: int = _UNICAST, flags: int = 0
) -> bytes:
    length = ip_network(destination).prefixlen
    header = (family_of(destination), length, 0, 0, _short(table), _STATIC, scope, kind, flags)
    return (
        _ROUTE.pack(*header)
        + attribute(_RTA_DST, _network(destination))
        + _number(_RTA_TABLE, table)
    )


def _short(table: int) -> int:
    """The number of a table where a byte must do; the whole of it follows."""
    return table if table < 256 else 0


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _packed(text: str) -> bytes:
    return socket.inet_pton(family_of(text), text)


def _network(cidr: str) -> bytes:
    return ip_network(cidr).network_address.packed
