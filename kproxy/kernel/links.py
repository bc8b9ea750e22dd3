"""Virtual links (veth, bridge, VXLAN), addresses, routes and neighbours.

A `Links` talks to one namespace: that of the thread that opened it, and it may be used
in that thread only. What it alters in a namespace goes away with the namespace.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable
from fcntl import ioctl
from ipaddress import ip_address, ip_interface
from types import TracebackType
from typing import Self

from msgspec import Struct

from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Family
from kproxy.kernel import link_messages as messages
from kproxy.kernel.netlink import CREATE, EXCL, NETLINK_ROUTE, Netlink, Request, attributes
from kproxy.kernel.netns import Namespace

_SIOCGIFFLAGS = 0x8913
_IFREQ = struct.Struct("=16sH22x")  # ifr_name, ifr_flags
_DOOMED = 0x6B70726F  # the group of links that are about to be deleted


class Route(Struct, frozen=True, kw_only=True):
    """Where packets to `destination` (a CIDR) go: out of `link`, through the gateway `via` if set.

    `source` is the address this host prefers when it talks to them, "" for the kernel's choice.
    `on_link`: the gateway is a neighbour, though no route says so. `table` 0 is the main one.
    """

    destination: str
    link: str
    via: str = ""
    source: str = ""
    on_link: bool = False
    table: int = 0


class Links:
    """The links of one namespace. A context manager. Methods raise KernelRefused, Unsupported."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_ROUTE)
        self._indexes: dict[str, int] = {}

    def add_veth(
        self,
        name: str,
        *,
        peer: str,
        peer_namespace: Namespace,
        index: int = 0,
        peer_mac: str = "",
    ) -> None:
        """A pair whose other end is born in `peer_namespace` under the name `peer`; both down.

        `index` is the interface index of this end, 0 for the kernel's choice. If both ends
        happen to get the same one, their carrier may come up to a second late: the kernel's
        linkwatch does not see then that they are virtual (Linux 6.18, linkwatch_urgent_event).
        """
        data = messages.veth_peer(peer, peer_namespace.fileno(), peer_mac)
        self._add_link(f"veth {name}", messages.new_link(name, "veth", data, index=index))

    def add_bridge(self, name: str, *, mac: str = "") -> None:
        """A bridge without ports, down. It has the carrier of its ports.

        Without a `mac` of its own it has that of one of its ports.
        """
        self._add_link(f"bridge {name}", messages.new_link(name, "bridge", mac=mac))

    def add_vxlan(self, name: str, *, vni: int, local: str, port: int, mac: str, mtu: int) -> None:
        """A VXLAN device that knows only the peers it is told of (RFC 7348), down.

        `local`: the address of this host that its packets come from; `port`: UDP, of both sides.
        """
        data = messages.vxlan(vni, local, port)
        self._add_link(f"vxlan {name}", messages.new_link(name, "vxlan", data, mac=mac, mtu=mtu))

    def add_vxlan_peer(self, name: str, *, mac: str, address: str, hosts: Iterable[str]) -> None:
        """The device with this `mac` is at the host `address` and has the addresses `hosts`."""
        index = self._index(name)
        for host in hosts:
            self._ask(
                f"add neighbour {host} to {name}",
                messages.NEW_NEIGHBOUR,
                messages.neighbour(index, host, mac),
                CREATE | messages.REPLACE,
            )
        self._ask(
            f"send {mac} on {name} to {address}",
            messages.NEW_NEIGHBOUR,
            messages.forwarding_entry(index, mac, address),
            CREATE | messages.APPEND,
        )

    def set_port(self, name: str, bridge: str, *, hairpin: bool = False) -> None:
        """Make a link a port of a bridge. `hairpin`: it may send back what came in by it."""
        what = f"make {name} a port of {bridge}"
        index = self._index(name)
        body = messages.link(index, master=self._index(bridge))
        self._ask(what, messages.NEW_LINK, body)
        if hairpin:
            self._ask(what, messages.NEW_LINK, messages.hairpin_port(index))

    def set_mtu(self, name: str, mtu: int) -> None:
        body = messages.link(self._index(name), mtu=mtu)
        self._ask(f"set mtu of {name}", messages.NEW_LINK, body)

    def up(self, name: str) -> None:
        body = messages.link(self._index(name), up=True)
        self._ask(f"set {name} up", messages.NEW_LINK, body)

    def delete(self, *names: str) -> None:
        """Remove links, if any; of a pair, both ends.

        The kernel waits once for all, and not for each (some 20 ms), until nobody looks at them.
        """
        for name in names:
            body = messages.link(self._index(name), group=_DOOMED)
            self._ask(f"delete {name}", messages.NEW_LINK, body)
        if names:
            body = messages.link(0, group=_DOOMED)
            self._ask(f"delete {', '.join(names)}", messages.DELETE_LINK, body)
        for name in names:
            del self._indexes[name]

    def add_address(self, name: str, address: str) -> None:
        """Add `address`, as 10.0.0.1/24. IPv6 without duplicate detection: usable at once."""
        self._ask(
            f"add {address} to {name}",
            messages.NEW_ADDRESS,
            messages.address(self._index(name), ip_interface(address)),
            CREATE | EXCL,
        )

    def add_route(self, route: Route) -> None:
        """Add it, or put it in the place of the route to the same destination."""
        flags = CREATE | messages.REPLACE
        self._ask(f"route {_text(route)}", messages.NEW_ROUTE, self._route(route), flags)

    def delete_route(self, route: Route) -> None:
        self._ask(f"remove {_text(route)}", messages.DELETE_ROUTE, self._route(route))

    def add_blackhole(self, destination: str) -> None:
        """Drop packets to a CIDR in silence, unless a longer prefix is known."""
        self._ask(
            f"route blackhole {destination}",
            messages.NEW_ROUTE,
            messages.blackhole(destination),
            CREATE | messages.REPLACE,
        )

    def add_rule(
        self,
        family: Family,
        *,
        table: int,
        priority: int,
        source: str = "",
        destination: str = "",
        mark: int = 0,
    ) -> None:
        """Look up packets from `source`, to `destination` (CIDRs) or with `mark` in that table.

        The lower the number of the priority the earlier. The main table, 254, has 32766.
        """
        body = messages.rule(
            socket.AF_INET if family is Family.IPV4 else socket.AF_INET6,
            table=table,
            priority=priority,
            source=source,
            destination=destination,
            mark=mark,
        )
        self._ask(f"add a rule for table {table}", messages.NEW_RULE, body, CREATE | EXCL)

    def names(self) -> list[str]:
        """Names of all links, `lo` first."""
        return [name for _, name in socket.if_nameindex()]

    def addresses(self) -> list[str]:
        """All addresses of all links, as 10.0.0.1/24, in the kernel's order."""
        found = []
        body = messages.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        for answer in self._netlink.dump(Request(messages.GET_ADDRESS, body, ("list addresses",))):
            prefix = messages.ADDRESS.unpack_from(answer)[1]
            fields = dict(attributes(answer[messages.ADDRESS.size :]))
            packed = bytes(fields.get(messages.IFA_LOCAL, fields[messages.IFA_ADDRESS]))
            found.append(f"{ip_address(packed)}/{prefix}")
        return found

    def all_running(self) -> bool:
        """Whether each link is up and has its carrier: before that, packets sent are lost.

        A veth end gets its carrier a moment after its peer came up, from a kernel worker. A
        bridge has that of its ports, or none.
        """
        links = self._list()
        ports = {link.master for link in links}
        return all(link.running for link in links if link.index in ports or link.kind != "bridge")

    def is_running(self, name: str) -> bool:
        """As `all_running` says of all. False where there is no such link."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            try:
                answer = ioctl(asking, _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
            except OSError:
                return False
        return bool(_IFREQ.unpack(answer)[1] & messages.IFF_RUNNING)

    def close(self) -> None:
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _list(self) -> list[_Link]:
        found = []
        body = messages.LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        for answer in self._netlink.dump(Request(messages.GET_LINK, body, ("list links",))):
            _, _, index, flags, _ = messages.LINK.unpack_from(answer)
            fields = dict(attributes(answer[messages.LINK.size :]))
            master = bytes(fields.get(messages.IFLA_MASTER, b""))
            info = dict(attributes(memoryview(fields.get(messages.IFLA_LINKINFO, b""))))
            found.append(
                _Link(
                    index=index,
                    running=bool(flags & messages.IFF_RUNNING),
                    master=int.from_bytes(master, sys.byteorder),
                    kind=bytes(info.get(messages.INFO_KIND, b"")).rstrip(b"\0").decode(),
                )
            )
        return found

    def _route(self, route: Route) -> bytes:
        return messages.route(
            route.destination,
            index=self._index(route.link),
            via=route.via,
            source=route.source,
            on_link=route.on_link,
            table=route.table or messages.MAIN_TABLE,
        )

    def _index(self, name: str) -> int:
        if name not in self._indexes:
            try:
                self._indexes[name] = socket.if_nametoindex(name)
            except OSError:
                raise KernelRefused(f"no link called {name}") from None
        return self._indexes[name]

    def _add_link(self, what: str, body: bytes) -> None:
        try:
            self._ask(f"add {what}", messages.NEW_LINK, body, CREATE | EXCL)
        except KernelRefused as error:
            if os.strerror(errno.EOPNOTSUPP) in str(error):
                raise Unsupported(str(error), remedy="this kernel needs CONFIG_VETH") from None
            raise

    def _ask(self, what: str, kind: int, body: bytes, flags: int = 0) -> None:
        self._netlink.send([Request(kind, body, (f"cannot {what}",), flags)])


class _Link(Struct, frozen=True, kw_only=True):
    """`master`: the index of the bridge that it is a port of, or 0."""

    index: int
    running: bool
    master: int
    kind: str


def _text(route: Route) -> str:
    return (
        f"{route.destination} dev {route.link}"
        + (f" via {route.via}" if route.via else "")
        + (f" src {route.source}" if route.source else "")
    )
