"""Virtual Ethernet pairs, addresses and routes, through pyroute2.

A `Links` talks to one namespace: that of the thread that opened it, and it may be used
in that thread only. One request takes about half a millisecond. What it alters in a namespace goes
away with the namespace.
"""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_interface, ip_network
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.netns import Namespace

_IFA_F_NODAD = 0x02
_IFF_RUNNING = 0x40


class Route(Struct, frozen=True, kw_only=True):
    """Where packets to `destination` (a CIDR) go: out of `link`, through the gateway `via` if set.

    `source` is the address this host prefers when it talks to them, "" for the kernel's choice.
    """

    destination: str
    link: str
    via: str = ""
    source: str = ""


class Links:
    """The links of one namespace. A context manager. Methods raise KernelRefused, Unsupported."""

    def __init__(self) -> None:
        self._netlink = IPRoute()
        self._indexes: dict[str, int] = {}

    def add_veth(
        self, name: str, *, peer: str, peer_namespace: Namespace, index: int | None = None
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
            peer={"ifname": peer, "net_ns_fd": peer_namespace.fileno()},
        )

    def up(self, name: str) -> None:
        self._ask(f"set {name} up", self._netlink.link, "set", index=self._index(name), state="up")

    def delete(self, name: str) -> None:
        """Remove a link; of a pair, both ends."""
        self._ask(f"delete {name}", self._netlink.link, "del", index=self._index(name))
        del self._indexes[name]

    def add_address(self, name: str, address: str) -> None:
        """Add `address`, as 10.0.0.1/24. IPv6 without duplicate detection: usable at once."""
        interface = ip_interface(address)
        self._ask(
            f"add {address} to {name}",
            self._netlink.addr,
            "add",
            index=self._index(name),
            family=socket.AF_INET if interface.version == 4 else socket.AF_INET6,
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            **({} if interface.version == 4 else {"flags": _IFA_F_NODAD}),
        )

    def add_route(self, route: Route) -> None:
        """Add it, or put it in the place of the route to the same destination."""
        self._ask(f"route {_text(route)}", self._netlink.route, "replace", **self._request(route))

    def delete_route(self, route: Route) -> None:
        self._ask(f"remove {_text(route)}", self._netlink.route, "del", **self._request(route))

    def names(self) -> list[str]:
        """Names of all links, `lo` first."""
        return [str(link.get("ifname")) for link in self._netlink.get_links()]

    def addresses(self) -> list[str]:
        """All addresses of all links, as 10.0.0.1/24, in the kernel's order."""
        return [f"{each.get('address')}/{each['prefixlen']}" for each in self._netlink.get_addr()]

    def all_running(self) -> bool:
        """Whether each link is up and has its carrier: before that, packets sent are lost.

        A veth end gets its carrier a moment after its peer came up, from a kernel worker.
        """
        return all(link["flags"] & _IFF_RUNNING for link in self._netlink.get_links())

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
            "family": socket.AF_INET6 if ":" in route.destination else socket.AF_INET,
            "oif": self._index(route.link),
        }
        if route.via:
            request["gateway"] = route.via
        elif ip_network(route.destination).version == 4:
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


def _text(route: Route) -> str:
    return (
        f"{route.destination} dev {route.link}"
        + (f" via {route.via}" if route.via else "")
        + (f" src {route.source}" if route.source else "")
    )
