"""The network around the nodes, as the oracle knows it: hosts, addresses and routes.

A `Network` describes a routed lab: every node and every outside client is linked to one router;
each pod is linked to its node point to point, so all its traffic passes the node's netfilter.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cached_property

from msgspec import Struct


class HostKind(enum.Enum):
    NODE = "node"
    POD = "pod"
    CLIENT = "client"  # outside the cluster
    ROUTER = "router"
    EDGE = "edge"  # the internet gateway, a load balancer


class Host(Struct, frozen=True, kw_only=True):
    """One network namespace. `node` is the node a pod runs on, "" for other hosts.

    `addresses` are canonical, and pods and clients have at most one of each family. A node's own
    addresses are there, those towards its pods in `gateways`; `bound` are those that its proxy
    bound to it, which `predict` finds out by itself. `listens` has the (protocol, port) pairs that
    a pod serves, and for a node those of its pods on the host network, which answer in its name.
    """

    name: str
    kind: HostKind
    addresses: tuple[str, ...]
    node: str = ""
    gateways: tuple[str, ...] = ()  # of a node: its addresses on the links to its pods
    bound: tuple[str, ...] = ()
    listens: tuple[tuple[str, int], ...] = ()


class Network(Struct, frozen=True, kw_only=True, dict=True):
    """Hosts by name, and routes: CIDR -> the node that the router sends it to.

    Routes are for VIPs, external IPs and the nodes' pod subnets (an address there that no pod has
    still goes to that node). Addresses of hosts need no route. There is exactly one router.
    `routed` means such a lab; `predict` refuses any other, and probes need only the hosts.
    """

    hosts: Mapping[str, Host]
    routes: Mapping[str, str]
    routed: bool = True
    complete: bool = False  # the nodes have their `bound` addresses already

    @cached_property
    def routers(self) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts.values() if host.kind is HostKind.ROUTER)

    @cached_property
    def owners(self) -> Mapping[str, tuple[Host, ...]]:
        """The hosts by their addresses, in the order of `hosts`: several may share one."""
        found: dict[str, tuple[Host, ...]] = {}
        for host in self.hosts.values():
            for address in host.addresses:
                found[address] = (*found.get(address, ()), host)
        return found


class Packet(Struct, frozen=True, kw_only=True):
    """The first packet of a connection: `client` (a host's name) asks an address and port.

    `source` is the address the client uses; with "" the oracle picks one as the kernel would.
    `source_port` is the port it sends from, 0 for any that is free. `payload_bytes` is the size of
    a probe's datagram, which must not be fragmented then (IPv4: DF); 0 for a small one.
    """

    client: str
    address: str
    port: int
    protocol: str = "TCP"
    source: str = ""
    source_port: int = 0
    payload_bytes: int = 0
