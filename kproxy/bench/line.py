"""Three namespaces in a row, to connect through the middle one.

    client 10.254.0.2 -- 10.254.0.1 node 10.254.0.5 -- 10.254.0.6 server, and all endpoints

The client sends everything to the node, which forwards. The server is every endpoint of a cluster:
one listening socket answers for their whole ranges. All three are free of rules.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kproxy.bench.cluster import ENDPOINT_PORT, ENDPOINTS
from kproxy.errors import KernelRefused
from kproxy.kernel import sysctl
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace

Address = tuple[str, int]  # and port

_NODE_INDEX = 100  # of its links; never 2, the index of an `eth0`: see Links.add_veth
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close resets, so that no TIME_WAIT keeps the port
_SYN_RETRIES = 2  # after 1 s and 3 s; given up after 7 s
_ACCEPT_TIMEOUT_S = 1.0


class Line:
    """The three namespaces, made by `line`. `node` is the one for the rules to measure."""

    def __init__(self, client: Namespace, node: Namespace, listener: socket.socket) -> None:
        self.node = node
        self._client = client
        self._listener = listener

    def sockets(self, count: int) -> list[socket.socket]:
        """Return new sockets of the client, for one `connect_ns` each."""
        with self._client.entered():
            return [_client_socket() for _ in range(count)]

    def connect_ns(self, client: socket.socket, address: Address) -> int:
        """Connect, close the connection again, and return the nanoseconds that connecting took.

        Raises KernelRefused if there is no connection.
        """
        try:
            start = time.perf_counter_ns()
            client.connect(address)
            taken = time.perf_counter_ns() - start
        except OSError as error:
            raise KernelRefused(f"connect to {address[0]}:{address[1]}: {error.strerror}") from None
        client.close()
        # On two CPUs the reset may overtake the end of the handshake: then none is accepted.
        with suppress(TimeoutError):
            self._listener.accept()[0].close()
        return taken


@contextmanager
def line() -> Iterator[Line]:
    """Create the namespaces, which end with the block. Raises KernelRefused, Unsupported."""
    with (
        Namespace.create("client") as client,
        Namespace.create("node") as node,
        Namespace.create("server") as server,
    ):
        with node.entered(), Links() as links:
            _forward()
            for index, (name, peer) in enumerate((("client", client), ("server", server))):
                links.add_veth(name, peer="eth0", peer_namespace=peer, index=_NODE_INDEX + index)
                links.up(name)
            links.add_address("client", "10.254.0.1/30")
            links.add_address("server", "10.254.0.5/30")
        with client.entered(), Links() as links:
            _attach(links, "10.254.0.2/30", "10.254.0.1")
        with server.entered(), Links() as links:
            _attach(links, "10.254.0.6/30", "10.254.0.5")
            links.up("lo")
            for cidr in ENDPOINTS:
                links.add_address("lo", cidr)  # makes the whole range local
            listener = socket.create_server(("", ENDPOINT_PORT), backlog=128)
        with node.entered(), Links() as links:
            for cidr in ENDPOINTS:
                links.add_route(Route(destination=cidr, link="server", via="10.254.0.6"))
        with listener:
            listener.settimeout(_ACCEPT_TIMEOUT_S)
            yield Line(client, node, listener)


def _forward() -> None:
    """Turn forwarding on and reverse path filters off, whatever new namespaces have by default."""
    sysctl.write("net/ipv4/ip_forward", 1)
    for scope in ("all", "default"):
        sysctl.write(f"net/ipv4/conf/{scope}/rp_filter", 0)


def _attach(links: Links, address: str, gateway: str) -> None:
    links.up("eth0")
    links.add_address("eth0", address)
    links.add_route(Route(destination="0.0.0.0/0", link="eth0", via=gateway))


def _client_socket() -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, _SYN_RETRIES)
    return client
