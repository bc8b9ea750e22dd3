"""Questions about objects: every kind of client asks every address; and the recorded cases."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from ipaddress import ip_network
from pathlib import Path

from kproxy.address import Family, family_of
from kproxy.api import manifests
from kproxy.api.types import EndpointSlice, KubernetesObject, Service
from kproxy.backend.configuration import checked_configuration
from kproxy.verdict.places import Place
from kproxy.verdict.question import NodeProxy
from tests.verdict.walking import Fate, Node, Packet

CASES = sorted(
    path.parent
    for path in (Path(__file__).parents[2] / "netns_tests/conformance/cases").glob(
        "*/kube-proxy.iptables"
    )
)
NODE = "node-0"  # where all cases were recorded
GATEWAY = "10.244.0.1"  # an address of it that its Node object does not have
OWN = ("192.168.10.10", GATEWAY, "fd00:192::10")
_CLIENTS = {
    Family.IPV4: {
        "10.244.0.77": "pod",
        "10.244.1.77": "eth0",
        "192.168.10.10": "",
        GATEWAY: "",
        "127.0.0.1": "",
        "192.168.10.11": "eth0",
        "198.51.100.7": "eth0",
    },
    Family.IPV6: {
        "fd00:10:244::77": "pod",
        "fd00:10:244:1::77": "eth0",
        "fd00:192::10": "",
        "::1": "",
        "fd00:192::11": "eth0",
        "2001:db8::7": "eth0",
    },
}
_ELSEWHERE = {
    Family.IPV4: ("10.96.0.250", "192.168.10.11", "198.51.100.8", "127.0.0.1", "127.0.0.5"),
    Family.IPV6: ("fd00:10:96::fa", "fd00:192::11", "2001:db8::8", "::1"),
}
_FREE = 4444  # a port of no Service


def node_of(recording: str) -> Node:
    """Return the node as it was when the kernel was recorded."""
    return Node(frozenset(OWN), "net/ipv4/conf/all/route_localnet = 1" in recording)


@cache
def objects(case: Path) -> tuple[KubernetesObject, ...]:
    return manifests.load([case / "objects.yaml"], stored=True).objects


def proxy(case: Path, mode: str, version: str = "1.36") -> NodeProxy:
    overrides = {"mode": mode, "emulate": version}
    configuration = checked_configuration(case / "config.yaml", overrides)
    return NodeProxy(objects(case), configuration, NODE, [GATEWAY])


def questions(
    there: Sequence[KubernetesObject], pods: str, bound: Collection[str] = ()
) -> Iterator[tuple[Packet, Place]]:
    """Yield each packet, as the node sees it, with the place that it asks.

    `pods`: the interface of pods of the node; `bound`: addresses that its proxy makes its own, from
    which processes ask only these.
    """
    for family in Family:
        clients = {
            address: pods if interface == "pod" else interface
            for address, interface in _CLIENTS[family].items()
        }
        clients |= {
            address: interface
            for address, interface in _others(there, pods)
            if family_of(address) is family and address not in clients
        }
        for place in _places(there, family):
            for source, interface in clients.items():
                if source in bound and place.address not in bound:
                    continue
                through = "" if source in bound else interface
                protocol = place.protocol.lower()
                yield Packet(source, place.address, place.port, protocol, through), place


def seen(proxy: NodeProxy, packet: Packet, place: Place) -> Fate:
    """Return the verdict in the words of the walkers."""
    verdict = proxy.answer(packet.source, place).verdict
    return Fate(str(verdict.action), verdict.endpoints, verdict.masquerade)


def pod_interface(case: Path) -> str:
    """Return an interface of pods of the node: one that the configuration looks for."""
    text = (case / "config.yaml").read_text()
    found = re.search(r"bridgeInterface: (\S+)", text)
    return found[1] if found else "veth1a2b3c4d"


def _others(there: Sequence[KubernetesObject], pods: str) -> Iterator[tuple[str, str]]:
    """Yield the clients that these objects have: endpoints, addresses of Services, and for each
    source range one of its addresses.
    """
    for each in there:
        if isinstance(each, EndpointSlice):
            for endpoint in each.endpoints[:4]:
                address = endpoint.addresses[0]
                here = endpoint.node_name == NODE
                yield address, "" if address in OWN else pods if here else "eth0"
        if isinstance(each, Service):
            for address in _addresses(each):
                yield address, "eth0"
            for text in each.spec.load_balancer_source_ranges:
                network = ip_network(text)
                if network.prefixlen:
                    yield str(network[min(9, network.num_addresses - 1)]), "eth0"


def _addresses(service: Service) -> Iterator[str]:
    spec = service.spec
    ingress = [each.ip for each in service.status.load_balancer.ingress if each.ip]
    clusters = [each for each in (spec.cluster_ip, *spec.cluster_ips) if each not in ("", "None")]
    yield from dict.fromkeys((*clusters, *spec.external_ips, *ingress))


def _places(there: Sequence[KubernetesObject], family: Family) -> Iterator[Place]:
    """Yield every address with every number that some Service has in any way, and another one."""
    services = [each for each in there if isinstance(each, Service)]
    slices = [each for each in there if isinstance(each, EndpointSlice)]
    addresses = [address for each in services for address in _addresses(each)]
    addresses += [e.addresses[0] for each in slices for e in each.endpoints[:2]]
    addresses += [*OWN, *_ELSEWHERE[family]]
    used = {each.protocol for service in services for each in service.spec.ports}
    protocols = sorted(used | {"UDP" if used == {"TCP"} else "TCP"})
    ports = {each.port for service in services for each in service.spec.ports}
    ports |= {each.node_port for service in services for each in service.spec.ports}
    ports |= {each.spec.health_check_node_port for each in services}
    ports |= {each.port or 0 for slice_ in slices for each in slice_.ports}
    for address in dict.fromkeys(addresses):
        if family_of(address) is family:
            for port in sorted({*ports, _FREE} - {0}):
                for protocol in protocols if port != _FREE else protocols[:1]:
                    yield Place(address=address, port=port, protocol=protocol)
