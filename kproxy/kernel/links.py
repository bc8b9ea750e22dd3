"""Virtual links (veth, bridge, VXLAN), addresses, routes and neighbours, through pyroute2.

A `Links` talks to the namespace of the thread that opened it, and may be used in that thread only.
One request takes about half a millisecond. All it changes ends with the namespace.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from fcntl import ioctl
from ipaddress import ip_interface
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec import Struct
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from kproxy.address import Family, family_of, socket_family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.netns import Namespace

_T = TypeVar("_T")

_IFA_F_NODAD = 0x02
_IFF_RUNNING = 0x40
_TO_REMOVE = 0x6B70726F  # the group of links that are about to be deleted
_SIOCGIFFLAGS = 0x8913
_IFREQ = struct.Struct("=16sH22x")  # ifr_name, ifr_flags


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


class Links:
    """The links of one namespace. A context manager. Methods raise KernelRefused, Unsupported."""

    def __init__(self) -> None:
        self._netlink = IPRoute()
        self._indexes: dict[str, int] = {}

    def add_veth(
        self,
        name: str,
        *,
        peer: str,
        peer_namespace: Namespace,
        index: int | None = None,
        peer_mac: str = "",
    ) -> None:
        """Add a veth pair whose other end is created in `peer_namespace` as `peer`; both down.

        `index` is the interface index of this end, None for the kernel's choice. If both ends
        happen to get the same one, their carrier may come up to a second late: the kernel's
        linkwatch does not see then that they are virtual (Linux 6.18, linkwatch_urgent_event).
        """
        self._ask(
            f"add veth {name}",
            self._netlink.link,
            "add",
            ifname=name,
            kind="veth",
            **({"index": index} if index else {}),
            peer={
                "ifname": peer,
                "net_ns_fd": peer_namespace.fileno(),
                **({"address": peer_mac} if peer_mac else {}),
            },
        )

    def add_bridge(self, name: str, *, mac: str = "") -> None:
        """Add a bridge without ports, down. It takes the carrier of its ports.

        Without a `mac` of its own it takes that of one of its ports.
        """
        self._ask(
            f"add bridge {name}",
            self._netlink.link,
            "add",
            ifname=name,
            kind="bridge",
            **({"address": mac} if mac else {}),
        )

    def add_vxlan(self, name: str, *, vni: int, local: str, port: int, mac: str, mtu: int) -> None:
        """Add a VXLAN device (RFC 7348), down, that knows only the peers added to it.

        `local`: the source address of its packets; `port`: the UDP port of both sides.
        """
        self._ask(
            f"add vxlan {name}",
            self._netlink.link,
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
            self._ask(
                f"add neighbour {host} to {name}",
                self._netlink.neigh,
                "replace",
                dst=host,
                lladdr=mac,
                ifindex=index,
                family=socket_family(host),
                state="permanent",
            )
        self._ask(
            f"send {mac} on {name} to {address}",
            self._netlink.fdb,
            "append",
            ifindex=index,
            lladdr=mac,
            dst=address,
        )

    def set_port(self, name: str, bridge: str, *, hairpin: bool = False) -> None:
        """Make a link a port of a bridge. `hairpin`: it may send back packets it received."""
        what = f"make {name} a port of {bridge}"
        index = self._index(name)
        self._ask(what, self._netlink.link, "set", index=index, master=self._index(bridge))
        if hairpin:
            self._ask(what, self._netlink.brport, "set", index=index, mode=1)

    def set_mtu(self, name: str, mtu: int) -> None:
        index = self._index(name)
        self._ask(f"set mtu of {name}", self._netlink.link, "set", index=index, mtu=mtu)

    def up(self, name: str) -> None:
        self._ask(f"set {name} up", self._netlink.link, "set", index=self._index(name), state="up")

    def delete(self, *names: str) -> None:
        """Delete links, if any; of a veth pair, both ends.

        They are deleted as a group, so that the kernel waits for their readers (some 20 ms) once
        and not for each.
        """
        for name in names:
            what, index = f"delete {name}", self._index(name)
            self._ask(what, self._netlink.link, "set", index=index, group=_TO_REMOVE)
        if names:
            what = f"delete {', '.join(names)}"
            self._ask(what, self._netlink.link, "del", index=0, group=_TO_REMOVE)
        for name in names:
            del self._indexes[name]

    def add_address(self, name: str, address: str) -> None:
        """Add `address` (10.0.0.1/24). IPv6 skips duplicate detection, to be usable at once."""
        interface = ip_interface(address)
        self._ask(
            f"add {address} to {name}",
            self._netlink.addr,
            "add",
            index=self._index(name),
            family=socket_family(address),
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            **({} if interface.version == 4 else {"flags": _IFA_F_NODAD}),
        )

    def add_route(self, route: Route) -> None:
        """Add the route, or replace the route to the same destination."""
        self._ask(f"route {_text(route)}", self._netlink.route, "replace", **self._request(route))

    def delete_route(self, route: Route) -> None:
        self._ask(f"remove {_text(route)}", self._netlink.route, "del", **self._request(route))

    def add_blackhole(self, destination: str) -> None:
        """Drop packets to a CIDR silently, unless a route with a longer prefix exists."""
        self._ask(
            f"route blackhole {destination}",
            self._netlink.route,
            "replace",
            dst=destination,
            family=socket_family(destination),
            type="blackhole",
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

        Rules are tried from the lowest priority number up. The main table, 254, has 32766.
        """
        self._ask(
            f"add a rule for table {table}",
            self._netlink.rule,
            "add",
            family=family.socket_family,
            table=table,
            priority=priority,
            **({"src": source} if source else {}),
            **({"dst": destination} if destination else {}),
            **({"fwmark": mark} if mark else {}),
        )

    def names(self) -> list[str]:
        """Return the names of all links, `lo` first."""
        return [str(link.get("ifname")) for link in self._netlink.get_links()]

    def addresses(self) -> list[str]:
        """Return all addresses of all links, written 10.0.0.1/24, in the kernel's order."""
        return [f"{each.get('address')}/{each['prefixlen']}" for each in self._netlink.get_addr()]

    def all_running(self) -> bool:
        """Tell whether each link is up and has its carrier: before that, packets sent are lost.

        A veth end gets its carrier from a kernel worker, a moment after its peer is set up. A
        bridge has that of its ports, or none.
        """
        links = self._netlink.get_links()
        ports = {link.get("master") for link in links}
        return all(
            link["flags"] & _IFF_RUNNING
            for link in links
            if link["index"] in ports or (link.get("linkinfo") or {}).get("kind") != "bridge"
        )

    def is_running(self, name: str) -> bool:
        """Tell the same as `all_running` for one link. False if there is no such link."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            try:
                answer = ioctl(asking, _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
            except OSError:
                return False
        return bool(_IFREQ.unpack(answer)[1] & _IFF_RUNNING)

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

    def _request(self, route: Route) -> dict[str, object]:
        request: dict[str, object] = {
            "dst": route.destination,
            "family": socket_family(route.destination),
            "oif": self._index(route.link),
        }
        if route.table:
            request["table"] = route.table
        if route.on_link:
            request["flags"] = ["onlink"]
        if route.via:
            request["gateway"] = route.via
        elif family_of(route.destination) is Family.IPV4:
            request["scope"] = "link"
        if route.source:
            request["prefsrc"] = route.source
        return request

    def _index(self, name: str) -> int:
        if name not in self._indexes:
            try:
                self._indexes[name] = socket.if_nametoindex(name)
            except OSError:
                raise KernelRefused(f"no link called {name}") from None
        return self._indexes[name]

    def _ask(self, what: str, request: Any, *arguments: str, **fields: object) -> None:
        try:
            request(*arguments, **fields)
        except NetlinkError as error:
            message = f"cannot {what}: {os.strerror(error.code)}"
            if error.code == errno.EPERM:
                raise Unsupported(
                    message,
                    remedy="run as root; in a container with --privileged, "
                    "or with the capability CAP_NET_ADMIN",
                ) from None
            if error.code == errno.EOPNOTSUPP:
                raise Unsupported(message, remedy="this kernel needs CONFIG_VETH") from None
            raise KernelRefused(message) from None


def apart(task: Callable[[], _T]) -> _T:
    """Run a task that uses `Links` in a thread of its own: pyroute2 runs an event loop, and the
    caller may be inside one already.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(task).result()


def _text(route: Route) -> str:
    return (
        f"{route.destination} dev {route.link}"
        + (f" via {route.via}" if route.via else "")
        + (f" src {route.source}" if route.source else "")
    )
