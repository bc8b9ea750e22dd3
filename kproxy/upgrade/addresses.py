"""The addresses of a model: CIDRs that no Service is in, and what stands for what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network

from msgspec import Struct

from kproxy.address import Family, family_of, family_of_parsed
from kproxy.api.addresses import Network, parse_cidr

# Candidates, the lab's usual ones first: each of a size that fits any model.
_NODES = ("192.168.10.0/24", "172.30.10.0/24", "10.250.10.0/24")
_PODS = ("10.244.0.0/16", "172.28.0.0/16", "10.252.0.0/16")
_CLIENTS = ("198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24")
_SERVICES = ("10.96.0.0/16", "172.29.0.0/16", "10.251.0.0/16")
_NODES_6 = ("fd00:192::/64", "fd00:193::/64", "fd00:194::/64")
_PODS_6 = ("fd00:10:244::/56", "fd00:10:246::/56", "fd00:10:248::/56")
_CLIENTS_6 = ("2001:db8:198::/64", "2001:db8:199::/64", "2001:db8:19a::/64")
_SERVICES_6 = ("fd00:10:96::/112", "fd00:10:97::/112", "fd00:10:98::/112")


class Cidrs(Struct, frozen=True, kw_only=True):
    """CIDRs for a lab, one of each family."""

    nodes: tuple[str, ...]
    pods: tuple[str, ...]
    clients: tuple[str, ...]
    services: tuple[str, ...]


def free_cidrs(of_services: Iterable[str]) -> Cidrs:
    """Return CIDRs that have none of these addresses, except in `services`, where they may be."""
    taken = [ip_address(each) for each in of_services]

    def free(*candidates: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            next(
                (each for each in some if not any(one in ip_network(each) for one in taken)),
                some[0],
            )
            for some in candidates
        )

    return Cidrs(
        nodes=free(_NODES, _NODES_6),
        pods=free(_PODS, _PODS_6),
        clients=free(_CLIENTS, _CLIENTS_6),
        services=(_SERVICES[0], _SERVICES_6[0]),
    )


class Translation(Struct, frozen=True, kw_only=True):
    """The lab's addresses by those of the objects, and its CIDRs by family."""

    pods: Mapping[str, str]
    nodes: Mapping[str, str]
    pod_cidrs: Mapping[Family, str]
    node_cidrs: Mapping[Family, str]

    def address(self, address: str) -> str:
        """Return what stands for an address: itself, unless a node or an endpoint has it."""
        return self.nodes.get(address) or self.pods.get(address) or address

    def cidr(self, text: str) -> str:
        """Return what stands for a CIDR of nodePortAddresses: that of nodes if it has a node."""
        network = parse_cidr(text)
        if network is None or network.prefixlen == 0 or network.is_loopback:
            return text
        if any(_within(each, network) for each in self.nodes):
            return self.node_cidrs[family_of_parsed(network)]
        return text

    def covered(self, network: Network) -> Iterator[str]:
        """Yield the lab's CIDRs of nodes, and of pods, if the network has any of those."""
        family = family_of_parsed(network)
        if any(_within(each, network) for each in self.nodes):
            yield self.node_cidrs[family]
        if any(_within(each, network) for each in self.pods):
            yield self.pod_cidrs[family]


def _within(address: str, network: Network) -> bool:
    return family_of(address) is family_of_parsed(network) and ip_address(address) in network
