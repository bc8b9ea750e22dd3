"""The check of a lab spec: every problem at once, each with its place.

Places are written as in the file form: `nodes[0].pods[1].ports[0].port: 0 is not in 1..65535`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from itertools import combinations

from kproxy.address import Family, family_of_parsed
from kproxy.config.decode import from_values
from kproxy.lab.layout import (
    MAX_EDGE_HOSTS,
    MAX_HOSTS,
    SHARED_CHECK_CIDRS,
    SUBNET_BITS,
    Network,
    gateway,
)
from kproxy.lab.models import MODELS
from kproxy.lab.names import RESERVED, interface
from kproxy.lab.profiles import PROFILES
from kproxy.lab.spec import ClientSpec, LabSpec, NodeSpec, PodSpec

PROTOCOLS = ("TCP", "UDP", "SCTP")
PROGRAMS = ("nginx",)
BALANCER_KINDS = ("shared", "dedicated")
_ANY_SIZE = ("serviceCIDRs", "loadBalancerCIDRs")  # no host is numbered there

# kubernetes/apimachinery util/validation: IsDNS1123Label, IsQualifiedName, IsValidLabelValue,
# IsValidPortName
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_QUALIFIED = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", re.A
)
_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?", re.A)
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](?!.*--)([-a-z0-9]{0,13}[a-z0-9])?")


def problems(spec: LabSpec) -> list[str]:
    """Return `place: problem` for each problem; the lab can be built if there is none."""
    return [
        *_names(spec),
        *_networks(spec),
        *(
            problem
            for number, node in enumerate(spec.nodes)
            for problem in _node(f"nodes[{number}]", node)
        ),
        *_clients(spec),
        *_routes(spec),
        *_edge(spec),
        *_control_plane(spec),
    ]


def _names(spec: LabSpec) -> Iterator[str]:
    yield from _dns_label("name", spec.name)
    if not spec.nodes:
        yield "nodes: at least one is needed"
    for place, number in (("nodes", len(spec.nodes)), ("clients", len(spec.clients))):
        if number > MAX_HOSTS:
            yield f"{place}: {number} are more than {MAX_HOSTS}"
    if spec.network not in MODELS:
        yield f"network: {spec.network!r} is none of {', '.join(MODELS)}"
    if spec.profile not in PROFILES:
        yield f"profile: {spec.profile!r} is none of {', '.join(PROFILES)}"
    owners: dict[str, str] = {}
    interfaces: dict[str, str] = {}
    for place, name in _hosts(spec):
        yield from _dns_label(place, name)
        if name in RESERVED:
            yield f"{place}: {name!r} is reserved"
        if name in owners:
            yield f"{place}: {name!r} is also {owners[name]}"
        owners.setdefault(name, place)
        if interfaces.setdefault(interface(name), name) != name:
            other = interfaces[interface(name)]
            yield f"{place}: {name!r} and {other!r} would both have the interface {interface(name)}"


def _hosts(spec: LabSpec) -> Iterator[tuple[str, str]]:
    for number, node in enumerate(spec.nodes):
        yield f"nodes[{number}].name", node.name
        for pod_number, pod in enumerate(node.pods):
            yield f"nodes[{number}].pods[{pod_number}].name", pod.name
    for number, client in enumerate(spec.clients):
        yield f"clients[{number}].name", client.name
    for number, balancer in enumerate(spec.edge.balancers if spec.edge else ()):
        yield f"edge.balancers[{number}].name", balancer.name


def _edge(spec: LabSpec) -> Iterator[str]:
    if spec.edge is None:
        return
    for number, balancer in enumerate(spec.edge.balancers):
        if balancer.kind not in BALANCER_KINDS:
            known = ", ".join(BALANCER_KINDS)
            yield f"edge.balancers[{number}].kind: {balancer.kind!r} is none of {known}"
    for place, count in (
        ("nodes", len(spec.nodes)),
        ("edge.balancers", len(spec.edge.balancers)),
    ):
        if count > MAX_EDGE_HOSTS:
            yield f"{place}: {count} are more than {MAX_EDGE_HOSTS}, which have public addresses"


def _control_plane(spec: LabSpec) -> Iterator[str]:
    first, last = spec.node_port_range
    if not 1 <= first <= last <= 65535:
        yield f"nodePortRange: {first}-{last} is no range of ports, first and last of 1..65535"
    if spec.upstream and not spec.control_plane:
        yield "upstream: only with a control plane (controlPlane: true), which answers DNS"


def _networks(spec: LabSpec) -> Iterator[str]:
    if not spec.families:
        yield "families: at least one is needed"
    if len(set(spec.families)) != len(spec.families):
        yield "families: one is named twice"
    known: list[tuple[str, Network]] = []
    for place, cidrs in _cidr_fields(spec):
        networks: dict[Family, Network] = {}
        for number, text in enumerate(cidrs):
            network = _cidr(text)
            if network is None:
                yield f"{place}[{number}]: {text!r} is not a CIDR such as 10.0.0.0/16"
                continue
            family = family_of_parsed(network)
            if family in networks:
                yield f"{place}[{number}]: a second CIDR of {family.value}"
            networks[family] = network
            known.append((place, network))
            yield from _room(f"{place}[{number}]", place, network, len(spec.nodes))
        if all(_cidr(text) for text in cidrs):
            for family in spec.families:
                if family not in networks:
                    yield f"{place}: no CIDR of {family.value}"
    for (place, network), (other_place, other) in combinations(known, 2):
        if network.version == other.version and network.overlaps(other):
            yield f"{other_place}: {other} overlaps {network} of {place}"


def _cidr_fields(spec: LabSpec) -> tuple[tuple[str, tuple[str, ...]], ...]:
    edge = spec.edge
    return (
        ("nodeCIDRs", spec.node_cidrs),
        ("podCIDRs", spec.pod_cidrs),
        ("serviceCIDRs", spec.service_cidrs),
        ("clientCIDRs", spec.client_cidrs),
        *([("edge.publicCIDRs", edge.public_cidrs)] if edge else []),
        *([("edge.balancerCIDRs", edge.balancer_cidrs)] if edge else []),
        *([("edge (health checks)", SHARED_CHECK_CIDRS)] if edge else []),
        *([("loadBalancerCIDRs", spec.load_balancer_cidrs)] if spec.assigns_balancers else []),
    )


def _room(place: str, kind: str, network: Network, nodes: int) -> Iterator[str]:
    bits = SUBNET_BITS[family_of_parsed(network)]
    if kind == "podCIDRs":
        if network.prefixlen > bits or 1 << (bits - network.prefixlen) <= nodes:
            yield f"{place}: {network} has no /{bits} subnets numbered from 1 to {nodes}"
    elif kind not in _ANY_SIZE and network.max_prefixlen - network.prefixlen < 8:
        yield f"{place}: {network} is smaller than a /{network.max_prefixlen - 8}"
    elif network.version == 6 and kind not in _ANY_SIZE and network.prefixlen > 112:
        yield f"{place}: {network} is smaller than a /112"


def _node(place: str, node: NodeSpec) -> Iterator[str]:
    if not _VALUE.fullmatch(node.zone):
        yield f"{place}.zone: {node.zone!r} is not a label value"
    if len(node.pods) > MAX_HOSTS:
        yield f"{place}.pods: {len(node.pods)} are more than {MAX_HOSTS}"
    read = from_values(node.config)
    for problem in (*read.problems, *read.notices):
        yield problem.at(f"{place}.config")
    for number, pod in enumerate(node.pods):
        yield from _pod(f"{place}.pods[{number}]", pod)
    yield from _shared_ports(place, node)


def _shared_ports(place: str, node: NodeSpec) -> Iterator[str]:
    """Yield ports of host-network pods that clash, as such pods share the ports of their node."""
    taken: dict[tuple[int, str], str] = {}
    for number, pod in enumerate(node.pods):
        for port_number, port in enumerate(pod.ports if pod.host_network else ()):
            owner = taken.setdefault((port.port, port.protocol), pod.name)
            if owner != pod.name:
                here = f"{place}.pods[{number}].ports[{port_number}]"
                yield f"{here}: {port.port}/{port.protocol} of the node is served by {owner}"


def _pod(place: str, pod: PodSpec) -> Iterator[str]:
    yield from _dns_label(f"{place}.namespace", pod.namespace)
    for key, value in pod.labels.items():
        if not _QUALIFIED.fullmatch(key):
            yield f"{place}.labels: {key!r} is not a label name"
        if not _VALUE.fullmatch(value):
            yield f"{place}.labels.{key}: {value!r} is not a label value"
    if pod.runs and pod.runs not in PROGRAMS:
        yield f"{place}.runs: {pod.runs!r} is none of {', '.join(PROGRAMS)}"
    if pod.runs and not pod.ports:
        yield f"{place}.ports: at least one is needed, where {pod.runs} listens"
    numbers: set[tuple[int, str]] = set()
    names: set[str] = set()
    for number, port in enumerate(pod.ports):
        here = f"{place}.ports[{number}]"
        if not 1 <= port.port <= 65535:
            yield f"{here}.port: {port.port} is not in 1..65535"
        if port.protocol not in PROTOCOLS:
            yield f"{here}.protocol: {port.protocol!r} is none of {', '.join(PROTOCOLS)}"
        elif pod.runs and port.protocol != "TCP":
            yield f"{here}.protocol: {pod.runs} serves TCP only, not {port.protocol}"
        if (port.port, port.protocol) in numbers:
            yield f"{here}: {port.port}/{port.protocol} is served already"
        numbers.add((port.port, port.protocol))
        if port.name and not _PORT_NAME.fullmatch(port.name):
            yield f"{here}.name: {port.name!r} is not a port name"
        if port.name and port.name in names:
            yield f"{here}.name: {port.name!r} is used twice"
        names.add(port.name)


def _clients(spec: LabSpec) -> Iterator[str]:
    networks = _valid_networks(spec.client_cidrs)
    taken: dict[str, str] = {}
    for number, client in enumerate(spec.clients):
        yield from _client(f"clients[{number}].addresses", client, networks, spec.families, taken)


def _client(
    place: str,
    client: ClientSpec,
    networks: Mapping[Family, Network],
    families: Iterable[Family],
    taken: dict[str, str],
) -> Iterator[str]:
    seen: set[Family] = set()
    for number, text in enumerate(client.addresses):
        here = f"{place}[{number}]"
        try:
            address = ip_address(text)
        except ValueError:
            yield f"{here}: {text!r} is not an IP address"
            continue
        family = family_of_parsed(address)
        network = networks.get(family)
        if family not in families:
            yield f"{here}: the lab has no {family.value}"
        elif network and address not in network:
            yield f"{here}: {text} is not in {network}"
        elif network and str(address) in (gateway(network), str(network.network_address)):
            yield f"{here}: {text} is the router's or the network's own"
        if family in seen:
            yield f"{here}: a second {family.value} address"
        seen.add(family)
        if str(address) in taken:
            yield f"{here}: {text} belongs to {taken[str(address)]}"
        taken.setdefault(str(address), client.name)


def _routes(spec: LabSpec) -> Iterator[str]:
    names = {node.name for node in spec.nodes}
    for cidr, node in spec.routes.items():
        yield from route_problems(spec, f"routes[{cidr}]", cidr)
        if node not in names:
            yield f"routes[{cidr}]: {node!r} is not a node"


def route_problems(spec: LabSpec, place: str, cidr: str) -> Iterator[str]:
    """Yield the reasons why the router of such a lab cannot have a route to `cidr`."""
    network = _cidr(cidr)
    if network is None:
        yield f"{place}: {cidr!r} is not a CIDR such as 203.0.113.0/24"
        return
    if family_of_parsed(network) not in spec.families:
        yield f"{place}: the lab has no {family_of_parsed(network).value}"
    for kind, cidrs in _cidr_fields(spec):
        own = _valid_networks(cidrs).get(family_of_parsed(network))
        if kind != "serviceCIDRs" and own and own.overlaps(network):
            yield f"{place}: overlaps {own} of {kind}"


def _valid_networks(cidrs: Iterable[str]) -> dict[Family, Network]:
    networks = [network for text in cidrs if (network := _cidr(text))]
    return {family_of_parsed(network): network for network in networks}


def _cidr(text: str) -> Network | None:
    try:
        return ip_network(text) if "/" in text else None
    except ValueError:
        return None


def _dns_label(place: str, name: str) -> Iterator[str]:
    if not _LABEL.fullmatch(name):
        yield f"{place}: {name!r} is not a DNS label (a-z, 0-9, '-', at most 63 characters)"
