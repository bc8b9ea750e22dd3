"""A client, a node that routes, and a pod, for packets that are traced on the node."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product

from kproxy.address import Family
from kproxy.kernel import sysctl
from kproxy.kernel.in_flight import queues
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace
from kproxy.probe.packets import Probe, build
from netns_tests.run.running import until

V4, V6 = Family.IPV4, Family.IPV6
CLIENT = {V4: "10.0.1.2", V6: "fd00:1::2"}
POD = {V4: "10.0.2.2", V6: "fd00:2::2"}
SERVICE = {V4: "10.96.0.1", V6: "fd00:96::1"}


@dataclass
class Net:
    """client (eth0) -- (to-client) node (to-pod) -- (eth0) pod. The node routes, and is traced."""

    client: Namespace
    node: Namespace
    tags: int = 1000

    def send(self, family: Family, protocol: str, address: str, port: int = 8080) -> int:
        """Send one probe from the client and return its tag."""
        self.tags += 8
        probe = Probe(
            source=CLIENT[family],
            source_port=20_000 + self.tags % 10_000,
            address=address,
            port=port,
            protocol=protocol,
            tag=self.tags,
        )
        with (
            self.client.entered(),
            socket.socket(family.socket_family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
        ):
            raw.sendto(build(probe), (address, 0))
        return self.tags

    def send_each(self, addresses: dict[Family, str]) -> dict[int, Family]:
        """Send probes of both families and both protocols."""
        return {
            self.send(family, protocol, addresses[family]): family
            for family, protocol in product(Family, ("TCP", "UDP"))
        }


@contextmanager
def connected() -> Iterator[Net]:
    """Yield three namespaces whose links carry packets."""
    with Namespace.create() as client, Namespace.create() as node, Namespace.create() as pod:
        with node.entered(), Links() as links:
            links.up("lo")
            for name, subnet, peer in (("to-client", 1, client), ("to-pod", 2, pod)):
                links.add_veth(name, peer="eth0", peer_namespace=peer, index=100 + subnet)
                links.up(name)
                links.add_address(name, f"10.0.{subnet}.1/24")
                links.add_address(name, f"fd00:{subnet}::1/64")
            sysctl.write("net/ipv4/ip_forward", 1)
            sysctl.write("net/ipv6/conf/all/forwarding", 1)
        for subnet, host in ((1, client), (2, pod)):
            with host.entered(), Links() as links:
                links.up("eth0")
                links.add_address("eth0", f"10.0.{subnet}.2/24")
                links.add_address("eth0", f"fd00:{subnet}::2/64")
                for every, via in (("0.0.0.0/0", "10.0.{}.1"), ("::/0", "fd00:{}::1")):
                    links.add_route(Route(destination=every, link="eth0", via=via.format(subnet)))
        for host in (client, node, pod):
            with host.entered(), Links() as links:
                links.up("lo")
                until("the links carry packets", partial(links.all_ready, [V4]))
        yield Net(client, node)


def no_packet_waits() -> bool:
    found = queues()
    assert found, "this kernel does not tell the length of its queues"
    return not found.waiting
