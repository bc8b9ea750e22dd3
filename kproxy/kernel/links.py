"""Virtual links (veth, bridge, VXLAN), addresses, routes and neighbours.

A `Links` talks to the namespace of the thread that opened it, and may be used in that thread only.
What a lab needs for each of its hosts goes to the kernel in one send; a request through pyroute2,
which carries the others, takes about a millisecond. All that is changed ends with the namespace.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from fcntl import ioctl
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kproxy.address import Family, family_of
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import rtnetlink
from kproxy.kernel.netlink import NETLINK_ROUTE, Netlink, Request
from kproxy.kernel.netns import Namespace
from kproxy.kernel.rtnetlink import Route

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ["Links", "Route", "apart"]

_T = TypeVar("_T")

_IFF_RUNNING = 0x40
_RTF_LOCAL = 0x80000000
_TO_REMOVE = 0x6B70726F  # the group of links that are about to be deleted
_SIOCGIFFLAGS = 0x8913
_IFREQ = struct.Struct("=16sH22x")  # ifr_name, ifr_flags


class Links:
    """The links of one namespace. A context manager. Methods raise KernelRefused, Unsupported.

    What is asked for is collected, and sent at once by `flush`, by every method that reads, and at
    the end of a block without an error. So errors may show only then; a failure does not stop what
    was asked for after it.
    """

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_ROUTE)
        self._waiting: list[Request] = []
        self._slow: IPRoute | None = None
        self._indexes: dict[str, int] = {}

    def add_veth(
        self,
        name: str,
        *,
        peer: str,
        peer_namespace: Namespace,
        index: int = 0,
        peer_mac: str = "",
        up: bool = False,
    ) -> None:
        """Add a veth pair whose other end is created in `peer_namespace` as `peer`.

        `index` is the interface index of this end, 0 for the kernel's choice. If both ends
        happen to get the same one, their carrier may come up to a second late: the kernel's
        linkwatch does not see then that they are virtual (Linux 6.18, linkwatch_urgent_event).
        With `up` this end is set up; the other end is down.
        """
        self._collect(
            rtnetlink.add_veth(
                name,
                peer=peer,
                peer_descriptor=peer_namespace.fileno(),
                index=index,
                peer_mac=peer_mac,
                up=up,
            )
        )
        if index:
            self._indexes[name] = index

    def add_bridge(self, name: str, *, mac: str = "") -> None:
        """Add a bridge without ports, down. It takes the carrier of its ports.

        Without a `mac` of its own it takes that of one of its ports.
        """
        self._ask_pyroute2(
            f"add bridge {name}",
            lambda netlink: netlink.link,
            "add",
            ifname=name,
            kind="bridge",
            **({"address": mac} if mac else {}),
        )

    def add_vxlan(self, name: str, *, vni: int, local: str, port: int, mac: str, mtu: int) -> None:
        """Add a VXLAN device (RFC 7348), down, that knows only the peers added to it.

        `local`: the source address of its packets; `port`: the UDP port of both sides.
        """
        self._ask_pyroute2(
            f"add vxlan {name}",
            lambda netlink: netlink.link,
            "add",
            ifname=name,
            kind="vxlan",
            vxlan_id=vni,
            vxlan_port=port,
            vxlan_learning=False,
            **{"vxlan_local6" if family_of(local) is Family.IPV6 else "vxlan_local": local},
            address=mac,
            mtu=mtu,
        )

    def add_vxlan_peer(self, name: str, *, mac: str, address: str, hosts: Iterable[str]) -> None:
        """Add a peer: the device with this `mac` is at `address` and has the addresses `hosts`."""
        index = self._index(name)
        for host in hosts:
            self._collect(rtnetlink.add_neighbour(index, name, host, mac))
        self._collect(rtnetlink.add_forwarding(index, name, mac, address))

    def set_port(self, name: str, bridge: str, *, hairpin: bool = False) -> None:
        """Make a link a port of a bridge. `hairpin`: it may send back packets it received."""
        index = self._index(name)
        self._collect(rtnetlink.set_master(index, name, self._index(bridge), bridge))
        if hairpin:
            self._collect(rtnetlink.set_hairpin(index, name))

    def set_mtu(self, name: str, mtu: int) -> None:
        self._collect(rtnetlink.set_mtu(self._index(name), name, mtu))

    def up(self, name: str) -> None:
        self._collect(rtnetlink.set_up(self._index(name), name))

    def delete(self, *names: str) -> None:
        """Delete links, if any; of a veth pair, both ends.

        They are deleted as a group, so that the kernel waits for their readers (some 20 ms) once
        and not for each.
        """
        for name in names:
            self._collect(rtnetlink.set_group(self._index(name), name, _TO_REMOVE))
        if names:
            self._collect(rtnetlink.delete_group(_TO_REMOVE, ", ".join(names)))
        self.flush()
        for name in names:
            del self._indexes[name]

    def add_address(self, name: str, address: str) -> None:
        """Add `address` (10.0.0.1/24). IPv6 skips duplicate detection, which takes a second; see
        `all_ready` nevertheless.
        """
        self._collect(rtnetlink.add_address(self._index(name), name, address))

    def add_route(self, route: Route) -> None:
        """Add the route, or replace the route to the same destination."""
        self._collect(rtnetlink.add_route(self._index(route.link), route))

    def delete_route(self, route: Route) -> None:
        self._collect(rtnetlink.delete_route(self._index(route.link), route))

    def add_blackhole(self, destination: str) -> None:
        """Drop packets to a CIDR silently, unless a route with a longer prefix exists."""
        self._collect(rtnetlink.add_blackhole(destination))

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

        Rules are tried from the lowest priority number up. The main table, 254, has 32766.
        """
        self._ask_pyroute2(
            f"add a rule for table {table}",
            lambda netlink: netlink.rule,
            "add",
            family=family.socket_family,
            table=table,
            priority=priority,
            **({"src": source} if source else {}),
            **({"dst": destination} if destination else {}),
            **({"fwmark": mark} if mark else {}),
        )

    def all_ready(self, families: Collection[Family] = tuple(Family)) -> bool:
        """Tell whether all links carry packets: before that, some are lost, or take another route.
        `families`: of the packets.

        A veth end gets its carrier from a kernel worker, a moment after its peer is set up; a
        bridge has that of its ports, or none. Another worker adds the route by which a host
        reaches an IPv6 address of its own.
        """
        self.flush()
        links = rtnetlink.links_of(self._netlink)
        ports = {link.master for link in links}
        if not all(
            link.flags & _IFF_RUNNING
            for link in links
            if link.index in ports or link.kind != "bridge"
        ):
            return False
        if Family.IPV6 not in families:
            return True
        return not _unreachable_addresses({link.name for link in links})

    def are_ready(self, names: Collection[str]) -> bool:
        """Tell the same as `all_ready` for some links. False if one does not exist."""
        self.flush()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            if not all(_is_running(asking, name) for name in names):
                return False
        return not _unreachable_addresses(names)

    def flush(self) -> None:
        """Have everything carried out that was asked for so far."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._netlink.send(waiting)

    def close(self) -> None:
        """Close the sockets, without what was not sent yet."""
        self._netlink.close()
        if self._slow:
            self._slow.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    def _index(self, name: str) -> int:
        if name not in self._indexes:
            self._indexes[name] = rtnetlink.index_of(self._netlink, name)
        if not self._indexes[name]:  # a link that was asked for without an index
            self.flush()
            self._indexes[name] = rtnetlink.index_of(self._netlink, name)
        if not self._indexes[name]:
            raise KernelRefused(f"no link called {name}")
        return self._indexes[name]

    def _collect(self, request: Request) -> None:
        self._waiting.append(request)

    def _ask_pyroute2(
        self,
        what: str,
        request: Callable[[IPRoute], Any],
        *arguments: str,
        **fields: object,
    ) -> None:
        """Have a rare request carried out through pyroute2, after all others."""
        self.flush()
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError

        self._slow = self._slow or IPRoute()
        try:
            request(self._slow)(*arguments, **fields)
        except NetlinkError as error:
            message = f"cannot {what}: {os.strerror(error.code)}"
            if error.code == errno.EPERM:
                raise Unsupported(
                    message,
                    remedy="run as root; in a container with --privileged, "
                    "or with the capability CAP_NET_ADMIN",
                ) from None
            raise KernelRefused(message) from None


def _is_running(asking: socket.socket, name: str) -> bool:
    try:
        answer = ioctl(asking, _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
    except OSError:
        return False
    return bool(_IFREQ.unpack(answer)[1] & _IFF_RUNNING)


def _unreachable_addresses(names: Collection[str]) -> set[tuple[str, str]]:
    """Return the IPv6 addresses of links that have no local route yet, with their links."""
    addresses = {(row[0], row[-1]) for row in _rows("if_inet6") if row[-1] in names}
    routes = {(row[0], row[-1]) for row in _rows("ipv6_route") if int(row[-2], 16) & _RTF_LOCAL}
    return addresses - routes


def _rows(name: str) -> list[list[str]]:
    """Return the words of each line of a list of the kernel; none without IPv6."""
    try:
        with open(f"/proc/thread-self/net/{name}") as file:
            return [line.split() for line in file]
    except FileNotFoundError:
        return []


def apart(task: Callable[[], _T]) -> _T:
    """Run a task that uses `Links` in a thread of its own: pyroute2 runs an event loop, and the
    caller may be inside one already.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(task).result()
