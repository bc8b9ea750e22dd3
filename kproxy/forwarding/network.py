"""What the oracle must know of the network around the nodes: who is where, and who routes what.

A `Network` describes a routed lab: every node and every outside client hangs on one router; each
pod hangs on its node by a point-to-point link, so all its traffic passes the node's netfilter.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct


class HostKind(enum.Enum):
    NODE = "node"
    POD = "pod"
    CLIENT = "client"  # outside the cluster
    ROUTER = "router"
    EDGE = "edge"  # the internet gateway, a load balancer


class Host(Struct, frozen=True, kw_only=True):
    """One network namespace. `node` is the node a pod runs on, "" for the others.

    `addresses`: canonical, at most one for each family for pods and clients.
    A node lists its node addresses here and those towards its pods in `gateways`; `bound` are
    those that its proxy made its own, which `predict` finds out by itself.
    `listens`: (protocol, port) pairs that a pod serves.
    """

    name: str
    kind: HostKind
    addresses: tuple[str, ...]
    node: str = ""
    gateways: tuple[str, ...] = ()  # of a node: its addresses on the links to its pods
    bound: tuple[str, ...] = ()
    listens: tuple[tuple[str, int], ...] = ()


class Network(Struct, frozen=True, kw_only=True):
    """`hosts` by name. `routes`: CIDR -> node that the router sends it to.

    They are for VIPs, external IPs and the nodes' pod subnets (an address there that no pod has
    still goes to that node). Addresses of hosts need no route. There is exactly one router.
    `routed`: it is such a lab. Of any other, `predict` knows nothing; probes need only the hosts.
    """

    hosts: Mapping[str, Host]
    routes: Mapping[str, str]
    routed: bool = True


class Packet(Struct, frozen=True, kw_only=True):
    """The first packet of a connection: who (a host's name) asks which address and port.

    `source`: the address the client uses; "" lets the oracle pick as the kernel would.
    """

    client: str
    address: str
    port: int
    protocol: str = "TCP"
    source: str = ""
