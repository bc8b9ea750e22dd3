"""Which address everybody has: a pure function of the spec. The numbering is told in `LabSpec`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from kproxy.forwarding.plan import Family
from kproxy.lab.spec import ClientSpec, LabSpec

Addresses = Mapping[Family, str]
Network = IPv4Network | IPv6Network

MAX_HOSTS = 200  # in one subnet, so that 10+n stays inside a /24
SUBNET_BITS = {Family.IPV4: 24, Family.IPV6: 64}
_FIRST_HOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Addresses by family: of each host by name, and of what lies between them.

    `subnets` and `gateways` by node name: its share of the pod CIDR, and the address that all its
    interfaces towards pods have. `node_gateway`, `client_gateway`: the router's addresses.
    """

    addresses: Mapping[str, Addresses]
    subnets: Mapping[str, Addresses]
    gateways: Mapping[str, Addresses]
    node_gateway: Addresses
    client_gateway: Addresses

    @classmethod
    def of(cls, spec: LabSpec) -> Layout:
        """`spec` must be valid."""
        nodes, pods, clients = (
            by_family(spec.families, cidrs)
            for cidrs in (spec.node_cidrs, spec.pod_cidrs, spec.client_cidrs)
        )
        addresses: dict[str, Addresses] = {}
        subnets: dict[str, Addresses] = {}
        gateways: dict[str, Addresses] = {}
        for number, node in enumerate(spec.nodes, 1):
            addresses[node.name] = host_addresses(nodes, number)
            own = {family: pod_subnet(network, number) for family, network in pods.items()}
            subnets[node.name] = {family: str(network) for family, network in own.items()}
            gateways[node.name] = _gateways(own)
            for pod_number, pod in enumerate(node.pods, 1):
                addresses[pod.name] = host_addresses(own, pod_number)
        for client, its_addresses in zip(
            spec.clients, client_addresses(spec.clients, clients), strict=True
        ):
            addresses[client.name] = its_addresses
        return cls(
            addresses=addresses,
            subnets=subnets,
            gateways=gateways,
            node_gateway=_gateways(nodes),
            client_gateway=_gateways(clients),
        )


def by_family(families: Iterable[Family], cidrs: Iterable[str]) -> dict[Family, Network]:
    """The CIDRs of the wanted families."""
    networks = {_family(network): network for network in map(ip_network, cidrs)}
    return {family: networks[family] for family in families}


def pod_subnet(network: Network, number: int) -> Network:
    """Subnet `number` (from 0) of a pod CIDR."""
    bits = SUBNET_BITS[_family(network)]
    start = int(network.network_address) + (number << (network.max_prefixlen - bits))
    return ip_network((type(network.network_address)(start), bits))


def host_addresses(networks: Mapping[Family, Network], number: int) -> Addresses:
    return {family: _host(network, _FIRST_HOST + number) for family, network in networks.items()}


def client_addresses(
    clients: Iterable[ClientSpec], networks: Mapping[Family, Network]
) -> list[Addresses]:
    """Those the clients ask for, in canonical form; else the next in turn that nobody asks for."""
    clients = list(clients)
    wanted = [{_family(ip): str(ip) for ip in map(ip_address, each.addresses)} for each in clients]
    taken = {address for each in wanted for address in each.values()}
    found: list[Addresses] = []
    numbers = dict.fromkeys(networks, _FIRST_HOST)
    for own in wanted:
        chosen = {}
        for family, network in networks.items():
            numbers[family] += 1
            while family not in own and _host(network, numbers[family]) in taken:
                numbers[family] += 1
            chosen[family] = own.get(family) or _host(network, numbers[family])
        found.append(chosen)
    return found


def gateway(network: Network) -> str:
    return _host(network, 1)


def _gateways(networks: Mapping[Family, Network]) -> Addresses:
    return {family: gateway(network) for family, network in networks.items()}


def _host(network: Network, number: int) -> str:
    """Host `number`. In IPv6 its decimal digits are read as hexadecimal ones: they look alike."""
    offset = number if network.version == 4 else int(str(number), 16)
    return str(network.network_address + offset)


def _family(value: object) -> Family:
    return Family.IPV4 if getattr(value, "version", 6) == 4 else Family.IPV6
