"""The addresses of all hosts: a pure function of the spec. `LabSpec` describes the numbering."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from kproxy.address import Family, family_of_parsed
from kproxy.lab import names
from kproxy.lab.spec import ClientSpec, EdgeSpec, LabSpec

Addresses = Mapping[Family, str]
Network = IPv4Network | IPv6Network

MAX_HOSTS = 200  # in one subnet, so that 10+n stays inside a /24
MAX_EDGE_HOSTS = 80  # nodes, and load balancers: with an edge their public addresses share a /24
SUBNET_BITS = {Family.IPV4: 24, Family.IPV6: 64}
_GATEWAY_HOST = 2  # of the balancer CIDR
_FIRST_HOST = 10
_LAST_POD = 254  # .255 is IPv4's broadcast address
SHARED_CHECK_CIDRS = ("100.125.0.0/16", "fd00:100:125::/64")  # of shared load balancers
_FIRST_PUBLIC_BALANCER, _PUBLIC_DNAT = 100, 200
_FIRST_DEDICATED_CHECK = 100  # of the balancer CIDR


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Addresses by family, of each host by name, and of the gateways between them.

    `subnets` and `gateways` are by node name: its share of the pod CIDR, and the address that all
    its interfaces towards pods have. `node_gateway` is the router's address, `client_gateway` that
    of the host that clients are connected to. `public` has the public addresses of nodes, load
    balancers and `DNAT`; it is empty without an edge. `check_sources` has the addresses that a load
    balancer sends its health checks from, besides its own.
    """

    addresses: Mapping[str, Addresses]
    subnets: Mapping[str, Addresses]
    gateways: Mapping[str, Addresses]
    node_gateway: Addresses
    client_gateway: Addresses
    public: Mapping[str, Addresses]
    check_sources: Mapping[str, Addresses]

    @classmethod
    def of(cls, spec: LabSpec) -> Layout:
        """Return the layout of a valid spec."""
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
                addresses[pod.name] = (
                    addresses[node.name] if pod.host_network else host_addresses(own, pod_number)
                )
        for client, its_addresses in zip(
            spec.clients, client_addresses(spec.clients, clients), strict=True
        ):
            addresses[client.name] = its_addresses
        public: dict[str, Addresses] = {}
        check_sources: dict[str, Addresses] = {}
        if spec.edge:
            addresses |= _edge_addresses(spec.families, spec.edge)
            public = _public_addresses(spec, spec.edge)
            check_sources = _check_sources(spec.families, spec.edge)
        return cls(
            addresses=addresses,
            public=public,
            check_sources=check_sources,
            subnets=subnets,
            gateways=gateways,
            node_gateway=_gateways(nodes),
            client_gateway=_gateways(clients),
        )


class PodAddresses:
    """Free addresses of one node's subnets, for pods that are added to a running lab.

    They are given in order, from after those of the spec's pods to .254; a freed one is given again
    after all others. The addresses of a pod have the same digits in all families.
    """

    def __init__(self, subnets: Addresses, pods: int) -> None:
        """Take the subnets of the node; `pods` is the number of its pods in the spec, including
        those of the host network.
        """
        self._networks = {family: ip_network(subnet) for family, subnet in subnets.items()}
        self._free = deque(range(_FIRST_HOST + pods + 1, _LAST_POD + 1))

    def __len__(self) -> int:
        return len(self._free)

    def take(self) -> tuple[int, Addresses]:
        """Return a number, for `free`, and its addresses. Raises IndexError if none is left."""
        number = self._free.popleft()
        return number, _hosts(self._networks, number)

    def free(self, number: int) -> None:
        self._free.append(number)


def _edge_addresses(families: Iterable[Family], edge: EdgeSpec) -> dict[str, Addresses]:
    inside = by_family(families, edge.balancer_cidrs)
    found = {names.GATEWAY: _hosts(inside, _GATEWAY_HOST)}
    for number, balancer in enumerate(edge.balancers, 1):
        found[balancer.name] = host_addresses(inside, number)
    return found


def _check_sources(families: Iterable[Family], edge: EdgeSpec) -> dict[str, Addresses]:
    """Return the sources of health checks; never an address that nodes may have as a VIP: to them
    it would be a martian.
    """
    shared = by_family(families, SHARED_CHECK_CIDRS)
    own = by_family(families, edge.balancer_cidrs)
    return {
        balancer.name: host_addresses(shared, number)
        if balancer.kind == "shared"
        else _hosts(own, _FIRST_DEDICATED_CHECK + number)
        for number, balancer in enumerate(edge.balancers, 1)
    }


def _public_addresses(spec: LabSpec, edge: EdgeSpec) -> dict[str, Addresses]:
    public = by_family(spec.families, edge.public_cidrs)
    found = {node.name: host_addresses(public, number) for number, node in enumerate(spec.nodes, 1)}
    for number, balancer in enumerate(edge.balancers, 1):
        found[balancer.name] = _hosts(public, _FIRST_PUBLIC_BALANCER + number)
    found[names.DNAT] = _hosts(public, _PUBLIC_DNAT)
    return found


def second_addresses(pod_subnet: str) -> tuple[str, str]:
    """Return the addresses of the node's second interface and of the router's port for it."""
    network = ip_network(pod_subnet)
    return _host(network, 2), _host(network, 3)


def by_family(families: Iterable[Family], cidrs: Iterable[str]) -> dict[Family, Network]:
    """Return the CIDRs of the wanted families."""
    networks = {family_of_parsed(network): network for network in map(ip_network, cidrs)}
    return {family: networks[family] for family in families}


def pod_subnet(network: Network, number: int) -> Network:
    """Return subnet `number` (from 0) of a pod CIDR."""
    bits = SUBNET_BITS[family_of_parsed(network)]
    start = int(network.network_address) + (number << (network.max_prefixlen - bits))
    return ip_network((type(network.network_address)(start), bits))


def host_addresses(networks: Mapping[Family, Network], number: int) -> Addresses:
    return _hosts(networks, _FIRST_HOST + number)


def client_addresses(
    clients: Iterable[ClientSpec], networks: Mapping[Family, Network]
) -> list[Addresses]:
    """Return the addresses that clients ask for, in canonical form; for the others, the next in
    order that no client asks for.
    """
    clients = list(clients)
    wanted = [
        {family_of_parsed(ip): str(ip) for ip in map(ip_address, each.addresses)}
        for each in clients
    ]
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


def _hosts(networks: Mapping[Family, Network], number: int) -> Addresses:
    return {family: _host(network, number) for family, network in networks.items()}


def _host(network: Network, number: int) -> str:
    """Return host `number`. IPv6 reads its decimal digits as hexadecimal ones, to look alike."""
    offset = number if family_of_parsed(network) is Family.IPV4 else int(str(number), 16)
    return str(network.network_address + offset)
