"""The objects one service port needs in the kernel: virtual servers, entries, addresses. Pure.

Source: kube-proxy v1.36 ipvs/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from msgspec import Struct

from kproxy.address import Family, family_of
from kproxy.forwarding.plan import (
    Frontend,
    FrontendKind,
    NodeSettings,
    Pool,
    ServicePlan,
)
from kproxy.kernel.ipvs import RealServer, Settings, VirtualServer
from kproxy_ipvs.options import real_servers

PERSISTENT = 0x1  # IP_VS_SVC_F_PERSISTENT
SCHED_MH_PORT = 0x10  # IP_VS_SVC_F_SCHED_MH_PORT: hash the source port, too


class Place(Struct, frozen=True, kw_only=True):
    """The facts about a node that the objects of its services depend on."""

    settings: NodeSettings
    node_addresses: frozenset[str]
    """The addresses of all interfaces except that of IPVS."""
    node_port_addresses: tuple[str, ...]
    """The addresses that answer node ports."""
    scheduler: str
    """The scheduler of all virtual servers: rr, lc, ..."""


def place_of(settings: NodeSettings, addresses: Iterable[str], scheduler: str) -> Place:
    """Return the Place of a node. Node ports answer on those addresses that nodePortAddresses
    selects. `addresses`: those of all interfaces except that of IPVS.

    kube-proxy also considers the addresses of Services that an earlier sync has bound.
    """
    found = tuple(addresses)
    networks = [ip_network(cidr) for cidr in settings.node_port_addresses.cidrs]
    return Place(
        settings=settings,
        node_addresses=frozenset(found),
        node_port_addresses=tuple(
            address
            for address in found
            if not networks or any(ip_address(address) in network for network in networks)
        ),
        scheduler=scheduler,
    )


class Server(NamedTuple):
    """A desired virtual server, without its key."""

    settings: Settings
    real: tuple[RealServer, ...]  # each with weight 1


class Entry(NamedTuple):
    """An entry of an ipset."""

    set: str  # the suffix, see `SETS`
    text: str  # as ipset prints it


class Wanted(Struct):
    """The objects that one service port needs."""

    servers: dict[VirtualServer, Server]
    entries: list[Entry]
    addresses: list[str]  # to be bound to the device
    firewall: list[str]  # rules of the filter table


def wanted(service: ServicePlan, place: Place) -> Wanted:
    """Return the objects a service port needs. Without endpoints its virtual servers are empty."""
    found = Wanted(servers={}, entries=[], addresses=[], firewall=[])
    protocol = service.protocol.lower()
    for endpoint in service.cached_local:
        text = f"{endpoint.address},{protocol}:{endpoint.port},{endpoint.address}"
        found.entries.append(Entry("LOOP-BACK", text))
    settings = _settings(service, place)
    node_ports = False
    for frontend in service.frontends:
        server = Server(settings, _real_servers(service, frontend, place.settings))
        if frontend.kind is FrontendKind.NODE_PORT:
            node_ports = True
            addresses = place.node_port_addresses
            found.entries += _node_port_entries(frontend, service.protocol, addresses)
        else:
            addresses = (frontend.address,)
            found.entries += _entries(frontend, protocol)
            internal = frontend.kind is FrontendKind.CLUSTER_IP
            if internal or frontend.address not in place.node_addresses:
                found.addresses.append(frontend.address)
            if frontend.source_ranges and not _admits_itself(frontend):
                found.firewall.append(_no_answer_to_itself(frontend, protocol))
        for address in addresses:
            found.servers[VirtualServer(service.protocol, address, frontend.port)] = server
    # Like kube-proxy, leave the health check port out if no address answers node ports.
    if service.health_check_node_port and (place.node_port_addresses or not node_ports):
        found.entries.append(Entry("HEALTH-CHECK-NODE-PORT", str(service.health_check_node_port)))
    found.entries += [Entry("IPVS-IPS", address) for address in found.addresses]
    return found


def _settings(service: ServicePlan, place: Place) -> Settings:
    flags = PERSISTENT if service.affinity_timeout_s else 0
    if place.scheduler == "mh":
        flags |= SCHED_MH_PORT
    return Settings(place.scheduler, flags, service.affinity_timeout_s)


def _real_servers(
    service: ServicePlan, frontend: Frontend, node: NodeSettings
) -> tuple[RealServer, ...]:
    endpoints = real_servers(service, frontend, node)
    return tuple(RealServer(endpoint.address, endpoint.port) for endpoint in endpoints)


def _entries(frontend: Frontend, protocol: str) -> Iterator[Entry]:
    """Yield the entries of a frontend with an address of its own."""
    text = f"{frontend.address},{protocol}:{frontend.port}"
    local = frontend.pool is Pool.LOCAL
    match frontend.kind:
        case FrontendKind.CLUSTER_IP:
            yield Entry("CLUSTER-IP", text)
        case FrontendKind.EXTERNAL_IP:
            yield Entry("EXTERNAL-IP-LOCAL" if local else "EXTERNAL-IP", text)
        case _:
            yield Entry("LOAD-BALANCER", text)
            if local:
                yield Entry("LOAD-BALANCER-LOCAL", text)
            if frontend.source_ranges:
                yield Entry("LOAD-BALANCER-FW", text)
                for cidr in frontend.source_ranges:
                    if "/" in cidr:
                        single = "/32" if family_of(cidr) is Family.IPV4 else "/128"
                        entry = f"{text},{cidr.removesuffix(single)}"  # as ipset lists them
                        yield Entry("LOAD-BALANCER-SOURCE-CIDR", entry)
            if _admits_itself(frontend):
                yield Entry("LOAD-BALANCER-SOURCE-IP", f"{text},{frontend.address}")


def _node_port_entries(
    frontend: Frontend, protocol: str, addresses: tuple[str, ...]
) -> Iterator[Entry]:
    if not addresses:
        return
    suffixes = [f"NODE-PORT-{protocol}"]
    if frontend.pool is Pool.LOCAL:
        suffixes.append(f"NODE-PORT-LOCAL-{protocol}")
    for suffix in suffixes:
        if protocol == "SCTP":
            for address in addresses:
                yield Entry(f"{suffix}-HASH", f"{address},sctp:{frontend.port}")
        else:
            yield Entry(suffix, str(frontend.port))


def _admits_itself(frontend: Frontend) -> bool:
    """Tell whether the node itself may enter: its packets have their destination as source."""
    return frontend.address in frontend.source_ranges


def _no_answer_to_itself(frontend: Frontend, protocol: str) -> str:
    vip = frontend.address
    return (
        f"-A KUBE-IPVS-OUT-FILTER -s {vip} -m ipvs --vaddr {vip}"
        f" --vproto {protocol} --vport {frontend.port} -j DROP"
    )
