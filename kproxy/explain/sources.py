"""Names and owners of the addresses that servers see."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from kproxy.address import Family
from kproxy.lab import Lab
from kproxy.lab.layout import second_addresses


@dataclass(frozen=True, slots=True)
class Source:
    """The kind of an address that a server sees, and its owner."""

    kind: str
    """pod, node, eip (a node's public address), gateway (a node's towards its pods), tunnel (that
    of its VXLAN device), second (that of its second interface), balancer or client.
    """
    owner: str

    def __str__(self) -> str:
        own = self.kind in ("pod", "node", "client", "balancer")
        return self.owner if own else f"{self.kind} of {self.owner}"


def sources(lab: Lab, family: Family) -> dict[str, Source]:
    """Return all sources that a server may see, by address."""
    found = {each.addresses[family]: Source("client", each.name) for each in lab.clients.values()}
    for pod in lab.pods.values():
        found[pod.addresses[family]] = Source("pod", pod.name)
    for balancer in lab.balancers.values():
        found[balancer.addresses[family]] = Source("balancer", balancer.name)
    for node in lab.nodes.values():
        found[node.gateways[family]] = Source("gateway", node.name)
        tunnel = str(ip_network(node.subnets[family]).network_address)
        found[tunnel] = Source("tunnel", node.name)
        second, _ = second_addresses(node.subnets[family])
        found[second] = Source("second", node.name)
        found[node.addresses[family]] = Source("node", node.name)
        if family in node.public:
            found[node.public[family]] = Source("eip", node.name)
    return found
