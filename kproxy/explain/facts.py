"""Facts about what a host would do with a packet, read from its kernel in its namespace."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from kproxy.address import host_port
from kproxy.errors import KernelRefused
from kproxy.kernel import sysctl
from kproxy.kernel.addresses import all_addresses, link_towards
from kproxy.kernel.process import run
from kproxy.probe.taps import HasNamespace

_VIRTUAL_SERVERS = Path("/proc/thread-self/net/ip_vs")
_HEADER_LINES = 3
_DROPS = re.compile(r"skmem:\(.*\bd(\d+)\)")


class Facts:
    """Cached facts about hosts. Use a new one after routes or settings have changed."""

    def __init__(self, hosts: Mapping[str, HasNamespace], *, relays: bool = False) -> None:
        """`relays`: proxies take what is for Services by sockets of their own, with filters, as in
        userspace mode. Elsewhere a socket counts other drops, for example of a source that no route
        leads to.
        """
        self._hosts = hosts
        self.relays = relays
        self.addresses = cache(self._addresses)
        self._route_towards = cache(self._ask_for_route)
        self.is_strict = cache(self._is_strict)
        self.has_virtual_servers = cache(self._has_virtual_servers)
        self.listener_drops = cache(self._listener_drops)

    def _addresses(self, host: str) -> frozenset[str]:
        """Return all addresses of the host's links."""
        with self._hosts[host].namespace.entered():
            return frozenset(all_addresses())

    def link_towards(self, host: str, address: str) -> str:
        """Return the link by which the host sends packets to an address; "" without a route."""
        return self._route_towards(host, address)[0]

    def is_black_hole(self, host: str, address: str) -> bool:
        """Tell whether the host has a route that discards packets to an address silently."""
        return self._route_towards(host, address)[1]

    def _ask_for_route(self, host: str, address: str) -> tuple[str, bool]:
        with self._hosts[host].namespace.entered():
            try:
                return link_towards(address), False
            except KernelRefused as error:  # EINVAL: a black hole; others: no route
                return "", os.strerror(errno.EINVAL) in str(error)

    def _is_strict(self, host: str, link: str) -> bool:
        """Tell whether the link filters strictly by reverse path (ip-sysctl.rst: rp_filter)."""
        with self._hosts[host].namespace.entered():
            settings = [
                int(sysctl.read(f"net/ipv4/conf/{scope.replace('.', '/')}/rp_filter"))
                for scope in ("all", link)
            ]
        return max(settings) == 1

    def _has_virtual_servers(self, host: str) -> bool:
        """Tell whether IPVS has any virtual server on the host."""
        with self._hosts[host].namespace.entered():
            try:
                table = _VIRTUAL_SERVERS.read_text(encoding="ascii")
            except FileNotFoundError:  # a kernel without IPVS
                return False
        return len(table.splitlines()) > _HEADER_LINES

    def _listener_drops(self, host: str, address: str, port: int) -> bool:
        """Tell whether a TCP socket that listens at this very address has dropped any packet, as
        one with a socket filter does (ss(8): `d` of skmem).
        """
        if not self.relays:
            return False
        place = ("src", host_port(address, port))
        found = _DROPS.search(self._ask(host, "ss", "-H", "-l", "-n", "-t", "-m", *place))
        return found is not None and int(found[1]) > 0

    def _ask(self, host: str, *command: str) -> str:
        with self._hosts[host].namespace.entered():
            return run(command)
