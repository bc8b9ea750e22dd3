"""Unwanted real servers: connections go on until their clients end them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from kproxy_ipvs.desired import Desired, ServerChange
from kproxy_ipvs.servers import DRAIN_INTERVAL_S, Servers
from kproxy_ipvs.wanted import Server, Wanted

from kproxy.address import Family
from kproxy.forwarding.plan import ServicePortName
from kproxy.kernel import addresses, sysctl
from kproxy.kernel.ipvs import Ipvs, RealServer, Settings, VirtualServer
from kproxy.kernel.links import Links
from kproxy.kernel.netns import Namespace
from netns_tests.run.running import until

pytestmark = pytest.mark.ipvs

VIP, FIRST, SECOND = "10.96.0.10", "10.0.0.2", "10.0.0.3"
TCP, UDP = VirtualServer("TCP", VIP, 80), VirtualServer("UDP", VIP, 80)
RR = Settings("rr", 0, 0)
BOTH = Server(RR, (RealServer(FIRST, 8080), RealServer(SECOND, 8080)))
ONE = Server(RR, (RealServer(SECOND, 8080),))


class Site:
    """A node whose own namespace also holds the pods behind its virtual servers; we are in it."""

    def __init__(self, stack: ExitStack) -> None:
        self.ipvs = stack.enter_context(Ipvs())
        self.servers = Servers(Family.IPV4)
        self._stack = stack
        self.listeners = {address: self._listen(address) for address in (FIRST, SECOND)}

    def change(self, key: VirtualServer, before: Server | None, after: Server | None) -> None:
        self.servers.change(self.ipvs, [ServerChange(key, before, after)])

    def weights(self, key: VirtualServer) -> dict[str, int]:
        return {real.address: load.weight for real, load in self.ipvs.real_servers(key).items()}

    def connect(self) -> tuple[socket.socket, str, socket.socket]:
        """Connect to the virtual server; return client's end, real server, server's end."""
        client = self._keep(socket.create_connection((VIP, 80), timeout=5))
        for address, listener in self.listeners.items():
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:
                continue
            return client, address, self._keep(accepted)
        raise AssertionError("no real server got the connection")

    def connected_to(self, address: str) -> tuple[socket.socket, socket.socket]:
        """Connect to one real server: with round robin, one of two tries leads there."""
        for _ in range(2):
            client, reached, server = self.connect()
            if reached == address:
                return client, server
        raise AssertionError(f"nothing reaches {address}")

    def _listen(self, address: str) -> socket.socket:
        listener = self._keep(socket.create_server((address, 8080)))
        listener.setblocking(False)
        return listener

    def _keep(self, one: socket.socket) -> socket.socket:
        return self._stack.enter_context(one)


@contextmanager
def node() -> Iterator[Site]:
    with Namespace.create("node") as namespace, namespace.entered(), ExitStack() as stack:
        for name in ("conntrack", "expire_nodest_conn"):
            sysctl.write(f"net/ipv4/vs/{name}", 1)
        with Links() as links:
            links.up("lo")
            addresses.add_addresses("lo", [VIP, FIRST, SECOND])
        yield Site(stack)


def speaks(client: socket.socket, server: socket.socket) -> bool:
    client.settimeout(2)
    server.settimeout(2)
    client.sendall(b"ping")
    server.sendall(server.recv(4))
    return client.recv(4) == b"ping"


def reset(client: socket.socket) -> None:
    """End a connection without leaving anything of it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_busy_one_gets_no_new_connections_and_keeps_the_old() -> None:
    with node() as site:
        site.change(TCP, None, BOTH)
        client, server = site.connected_to(FIRST)
        site.change(TCP, BOTH, ONE)
        assert site.weights(TCP) == {FIRST: 0, SECOND: 1}
        assert speaks(client, server)
        assert {site.connect()[1] for _ in range(4)} == {SECOND}


def test_it_is_deleted_when_its_connections_have_ended() -> None:
    with node() as site:
        site.change(TCP, None, BOTH)
        client, _ = site.connected_to(FIRST)
        site.change(TCP, BOTH, ONE)
        assert site.servers.drain_if_due(site.ipvs, 0.0) == DRAIN_INTERVAL_S
        assert site.servers.drain_if_due(site.ipvs, 20.0) == DRAIN_INTERVAL_S - 20
        assert site.servers.drain_if_due(site.ipvs, DRAIN_INTERVAL_S) > 0  # still busy
        assert FIRST in site.weights(TCP)
        reset(client)
        _until_idle(site, FIRST)
        assert site.servers.drain_if_due(site.ipvs, 2 * DRAIN_INTERVAL_S) == 0
        assert site.weights(TCP) == {SECOND: 1}


def test_an_idle_one_is_deleted_at_once() -> None:
    with node() as site:
        site.change(TCP, None, BOTH)
        site.change(TCP, BOTH, ONE)
        assert site.weights(TCP) == {SECOND: 1}
        assert site.servers.drain_if_due(site.ipvs, 0.0) == 0


def test_udp_is_not_drained() -> None:
    with node() as site, ExitStack() as stack:
        client, *pods = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)
        )
        for pod, address in zip(pods, (FIRST, SECOND), strict=True):
            pod.bind((address, 8080))
        site.change(UDP, None, BOTH)
        client.connect((VIP, 80))
        client.send(b"x")
        assert sum(load.inactive for load in site.ipvs.real_servers(UDP).values()) == 1
        site.change(UDP, BOTH, ONE)
        assert site.weights(UDP) == {SECOND: 1}


def test_one_that_comes_back_keeps_its_connections() -> None:
    with node() as site:
        site.change(TCP, None, BOTH)
        client, server = site.connected_to(FIRST)
        site.change(TCP, BOTH, ONE)
        site.change(TCP, ONE, BOTH)
        assert site.weights(TCP) == {FIRST: 1, SECOND: 1}
        assert speaks(client, server)
        assert {site.connect()[1] for _ in range(4)} == {FIRST, SECOND}
        assert site.servers.drain_if_due(site.ipvs, 10 * DRAIN_INTERVAL_S) == 0


def test_a_successor_goes_on_draining() -> None:
    with node() as site:
        site.change(TCP, None, BOTH)
        client, server = site.connected_to(FIRST)
        site.change(TCP, BOTH, ONE)
        successor, desired = Servers(Family.IPV4), Desired()
        needed = Wanted(servers={TCP: ONE}, entries=[], addresses=[], firewall=[])
        desired.change(ServicePortName("default", "web", "", "TCP"), None, needed)
        successor.take_over(site.ipvs, desired, ())
        assert successor.draining == {TCP: {RealServer(FIRST, 8080)}}
        assert site.weights(TCP) == {FIRST: 0, SECOND: 1}
        assert speaks(client, server)


def _until_idle(site: Site, address: str) -> None:
    """Wait until IPVS forgets a connection that was reset, after ten seconds."""

    def is_idle() -> bool:
        load = site.ipvs.real_servers(TCP)[RealServer(address, 8080)]
        return not load.active + load.inactive

    until(f"{address} is idle", is_idle, pause_s=0.2)
