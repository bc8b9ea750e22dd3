"""A small lab, and plans for it built by hand, so that the oracle is tested without the planner.

                    outside 203.0.113.9
                       |
                     router 192.168.0.1     198.51.100.0/24 -> node-a
         .------------+------------.
      node-a        node-b        node-c    192.168.0.11, .12, .13
       |   |          |             |       pods' gateways 10.244.N.1
    pod-a pod-a2    pod-b         pod-c     10.244.N.5, pod-a2 10.244.1.6; all listen on 8080

All of it in IPv6 as well: fd00:1::1N, fd00:244:N::5, fd00:203::9, VIPs from fd00:51::/64.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from kproxy.address import Family, family_of
from kproxy.backend import BackendOptions
from kproxy.forwarding.network import Host, HostKind, Network
from kproxy.forwarding.plan import (
    DetectLocal,
    Endpoint,
    Frontend,
    FrontendKind,
    LocalDetector,
    Masquerade,
    NodePortAddresses,
    NodeSettings,
    OnEmpty,
    Plan,
    Pool,
    ServicePlan,
    ServicePortName,
)

NODES = ("node-a", "node-b", "node-c")
PROTOCOLS = ("TCP", "UDP", "SCTP")
NO_OPTIONS = BackendOptions()
CLUSTER_CIDR = LocalDetector(DetectLocal.CIDR, "10.244.0.0/16")
CLUSTER_CIDR_6 = LocalDetector(DetectLocal.CIDR, "fd00:244::/32")
POD_LINKS = LocalDetector(DetectLocal.PREFIX, "veth")


def node_cidr(number: int) -> LocalDetector:
    return LocalDetector(DetectLocal.CIDR, f"10.244.{number}.0/24")


def _node(name: str, number: int) -> Host:
    gateways = (f"10.244.{number}.1", f"fd00:244:{number}::1")
    return Host(
        name=name,
        kind=HostKind.NODE,
        addresses=(f"192.168.0.1{number}", f"fd00:1::1{number}", *gateways),
        gateways=gateways,
        listens=(("TCP", 9100),),  # a host network pod on every node
    )


def _pod(name: str, node: str, addresses: tuple[str, ...]) -> Host:
    return Host(
        name=name,
        kind=HostKind.POD,
        node=node,
        addresses=addresses,
        listens=tuple((protocol, 8080) for protocol in PROTOCOLS),
    )


HOSTS = (
    Host(name="router", kind=HostKind.ROUTER, addresses=("192.168.0.1", "fd00:1::1")),
    Host(name="outside", kind=HostKind.CLIENT, addresses=("203.0.113.9", "fd00:203::9")),
    _node("node-a", 1),
    _node("node-b", 2),
    _node("node-c", 3),
    _pod("pod-a", "node-a", ("10.244.1.5", "fd00:244:1::5")),
    _pod("pod-a2", "node-a", ("10.244.1.6", "fd00:244:1::6")),
    _pod("pod-b", "node-b", ("10.244.2.5", "fd00:244:2::5")),
    _pod("pod-c", "node-c", ("10.244.3.5",)),
)
NETWORK = Network(
    hosts={host.name: host for host in HOSTS},
    routes={
        "198.51.100.0/24": "node-a",
        "fd00:51::/64": "node-a",
        **{f"10.244.{number}.0/24": node for number, node in enumerate(NODES, start=1)},
    },
)


class Web(Struct, frozen=True, kw_only=True):
    """One service port as its owner would describe it, `on` pods, nodes, or `ip:port` texts."""

    on: tuple[str, ...] = ("pod-b",)
    external: str = "Cluster"
    internal: str = "Cluster"
    protocol: str = "TCP"
    name: str = "web"
    cluster_ip: str = "10.96.0.10"
    external_ips: tuple[str, ...] = ("198.51.100.7",)
    vips: tuple[str, ...] = ("198.51.100.9",)
    source_ranges: tuple[str, ...] = ()
    node_port: int = 30080
    affinity_timeout_s: int = 0


WEB_6 = Web(cluster_ip="fd00:96::10", external_ips=("fd00:51::7",), vips=("fd00:51::9",))


def settings(
    node: str,
    *,
    family: Family = Family.IPV4,
    detector: LocalDetector | None = CLUSTER_CIDR,
    masquerade_all: bool = False,
    node_port_addresses: tuple[str, ...] = (),
    localhost_node_ports: bool = True,
    service_cidrs: tuple[str, ...] = (),
    options: BackendOptions = NO_OPTIONS,
) -> NodeSettings:
    return NodeSettings(
        family=family,
        node_name=node,
        detector=detector,
        masquerade_all=masquerade_all,
        node_port_addresses=NodePortAddresses(node_port_addresses),
        localhost_node_ports=localhost_node_ports and family is Family.IPV4,
        service_cidrs=service_cidrs,
        options=options,
    )


def primary(node: str) -> str:
    """Return what `nodePortAddresses: [primary]`, nftables mode's default, selects there."""
    return f"{NETWORK.hosts[node].addresses[0]}/32"


def plan(web: Iterable[Web], node: NodeSettings) -> Plan:
    services = [service_plan(entry, node) for entry in web]
    return Plan(settings=node, services={service.name: service for service in services})


def plans_for(*web: Web, detector: LocalDetector | None = CLUSTER_CIDR) -> dict[str, Plan]:
    """Return the plans of all nodes with otherwise default settings."""
    return {node: plan(web, settings(node, detector=detector)) for node in NODES}


def service_plan(web: Web, node: NodeSettings) -> ServicePlan:
    endpoints = tuple(sorted((_endpoint(text, node) for text in web.on), key=str))
    local = tuple(endpoint for endpoint in endpoints if endpoint.local)
    external = Pool.LOCAL if web.external == "Local" else Pool.CLUSTER
    on_empty = OnEmpty.DROP if endpoints else OnEmpty.REJECT

    def frontend(
        kind: FrontendKind, address: str, port: int, ranges: tuple[str, ...] = ()
    ) -> Frontend:
        return Frontend(
            kind=kind,
            address=address,
            port=port,
            pool=external,
            on_empty=on_empty,
            masquerade=Masquerade.NEVER if external is Pool.LOCAL else Masquerade.ALWAYS,
            short_circuit=external is Pool.LOCAL,
            source_ranges=ranges,
        )

    if node.masquerade_all:
        masquerade = Masquerade.ALWAYS
    else:
        masquerade = Masquerade.OFF_CLUSTER if node.detector else Masquerade.NEVER
    return ServicePlan(
        name=ServicePortName("shop", web.name, "http", web.protocol),
        family=node.family,
        frontends=(
            Frontend(
                kind=FrontendKind.CLUSTER_IP,
                address=web.cluster_ip,
                port=80,
                pool=Pool.LOCAL if web.internal == "Local" else Pool.CLUSTER,
                on_empty=on_empty,
                masquerade=masquerade,
            ),
            *(frontend(FrontendKind.EXTERNAL_IP, address, 80) for address in web.external_ips),
            *(
                frontend(FrontendKind.LOAD_BALANCER, address, 80, web.source_ranges)
                for address in web.vips
            ),
            frontend(FrontendKind.NODE_PORT, "", web.node_port),
        ),
        cluster=endpoints,
        local=local,
        reachable=endpoints,
        has_endpoints=bool(endpoints),
        cached_endpoints=len(endpoints),
        cached_local=local,
        internal_local=web.internal == "Local",
        external_local=web.external == "Local",
        externally_accessible=True,
        affinity_timeout_s=web.affinity_timeout_s,
    )


def _endpoint(text: str, node: NodeSettings) -> Endpoint:
    host = NETWORK.hosts.get(text)
    if host is None:
        address, port = text.rsplit(":", 1)
        return Endpoint(address, int(port))
    on = host.node or host.name
    return Endpoint(
        address=next(a for a in host.addresses if family_of(a) is node.family),
        port=8080 if host.kind is HostKind.POD else 9100,
        node=on,
        local=on == node.node_name,
    )
