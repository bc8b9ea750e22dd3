"""Virtual links (veth, bridge, VXLAN), addresses, routes and neighbours, through pyroute2.

A `Links` talks to one namespace: that of the thread that opened it, and it may be used
in that thread only. One request takes about half a millisecond. What it alters in a namespace goes
away with the namespace.
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
_DOOMED = 0x6B70726F  # the group of links that are about to be deleted
_SIOCGIFFLAGS = 0x8913
_IFREQ = struct.Struct("=16sH22x")  # ifr_name, ifr_flags


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
        """A pair whose other end is born in `peer_namespace` under the name `peer`; both down.

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
        """A bridge without ports, down. It has the carrier of its ports.

        Without a `mac` of its own it has that of one of its ports.
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
        """A VXLAN device that knows only the peers it is told of (RFC 7348), down.

        `local`: the address of this host that its packets come from; `port`: UDP, of both sides.
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
        """The device with this `mac` is at the host `address` and has the addresses `hosts`."""
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
        """Make a link a port of a bridge. `hairpin`: it may send back what came in by it."""
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
        """Remove links, if any; of a pair, both ends.

        The kernel waits once for all, and not for each (some 20 ms), until nobody looks at them.
        """
        for name in names:
            what, index = f"delete {name}", self._index(name)
            self._ask(what, self._netlink.link, "set", index=index, group=_DOOMED)
        if names:
            what = f"delete {', '.join(names)}"
            self._ask(what, self._netlink.link, "del", index=0, group=_DOOMED)
        for name in names:
            del self._indexes[name]

    def add_address(self, name: str, address: str) -> None:
        """Add `address`, as 10.0.0.1/24. IPv6 without duplicate detection: usable at once."""
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
        """Add it, or put it in the place of the route to the same destination."""
        self._ask(f"route {_text(route)}", self._netlink.route, "replace", **self._request(route))

    def delete_route(self, route: Route) -> None:
        self._ask(f"remove {_text(route)}", self._netlink.route, "del", **self._request(route))

    def add_blackhole(self, destination: str) -> None:
        """Drop packets to a CIDR in silence, unless a longer prefix is known."""
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

        The lower the number of the priority the earlier. The main table, 254, has 32766.
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
        """Names of all links, `lo` first."""
        return [str(link.get("ifname")) for link in self._netlink.get_links()]

    def addresses(self) -> list[str]:
        """All addresses of all links, as 10.0.0.1/24, in the kernel's order."""
        return [f"{each.get('address')}/{each['prefixlen']}" for each in self._netlink.get_addr()]

    def all_running(self) -> bool:
        """Whether each link is up and has its carrier: before that, packets sent are lost.

        A veth end gets its carrier a moment after its peer came up, from a kernel worker. A
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
        """As `all_running` says of all. False where there is no such link."""
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
    """Run what uses `Links` in a thread of its own: pyroute2 runs an event loop, and the caller may
    be inside one already.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(task).result()


def _text(route: Route) -> str:
    return (
        f"{route.destination} dev {route.link}"
        + (f" via {route.via}" if route.via else "")
        + (f" src {route.source}" if route.source else "")
    )
