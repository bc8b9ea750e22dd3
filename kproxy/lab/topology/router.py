"""The router of a lab: in a cloud, the VPC's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kproxy.address import Family, family_of
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace
from kproxy.lab.layout import Addresses, Layout, by_family, second_addresses
from kproxy.lab.models import Attachment, NetworkModel, Transport
from kproxy.lab.names import GATEWAY, ROUTER, SECOND, SEGMENT, UPLINK, interface, second_port
from kproxy.lab.spec import EdgeSpec, LabSpec
from kproxy.lab.topology.cables import (
    ANYWHERE,
    FIRST_INDEX,
    Cable,
    cables_to,
    lead_to,
    plug,
    single_cidr,
)
from kproxy.lab.topology.pods import PodNetwork
from kproxy.lab.topology.rules import Rules
from kproxy.lab.topology.source_check import check_sources

_FIRST_TABLE = 100  # for routes back to load balancers, as the interface indexes


def build_router(
    spec: LabSpec,
    model: NetworkModel,
    layout: Layout,
    namespaces: Mapping[str, Namespace],
    variant: str,
) -> None:
    """Create the router's cables to all other hosts, its routes and its rules."""
    nodes = [node.name for node in spec.nodes]
    balancers = [each.name for each in spec.edge.balancers] if spec.edge else []
    others = [*balancers, GATEWAY] if spec.edge else [client.name for client in spec.clients]
    with namespaces[ROUTER].entered(), Links() as links:
        links.up("lo")
        if model.transport is Transport.HOSTS:
            _build_segment(links, spec, nodes, layout, namespaces)
        else:
            cables = cables_to(nodes, layout.addresses, namespaces, FIRST_INDEX)
            lead_to(links, cables, layout.node_gateway)
        index = FIRST_INDEX + len(nodes)
        gateways = layout.node_gateway if spec.edge else layout.client_gateway
        lead_to(links, cables_to(others, layout.addresses, namespaces, index), gateways)
        _route_pods(links, spec, model, layout, namespaces, index + len(others))
        if spec.edge:
            _route_outside(links, spec, spec.edge, model, layout)
            for number, balancer in enumerate(balancers):
                _route_back(links, balancer, number, layout)
        for cidr, name in spec.routes.items():
            links.add_route(route_to_node(layout, cidr, name, model))
        rules = Rules(variant)
        if model.source_check:
            for port, owner, allowed in _ports(spec, model, layout):
                check_sources(rules, port, owner, allowed)
        network = PodNetwork(spec=spec, model=model, layout=layout)
        for pod in _own_pods(spec):
            network.router_rules(rules, pod, interface(pod), layout.addresses[pod])
        for number, balancer in enumerate(balancers):
            _steer_back(rules, spec.families, balancer, number)
        rules.commit()


def route_to_node(layout: Layout, cidr: str, node: str, model: NetworkModel) -> Route:
    """Return the router's route that sends a CIDR to a node."""
    via = layout.addresses[node][family_of(cidr)]
    link = SEGMENT if model.transport is Transport.HOSTS else interface(node)
    return Route(destination=cidr, link=link, via=via)


def _build_segment(
    links: Links,
    spec: LabSpec,
    nodes: Iterable[str],
    layout: Layout,
    namespaces: Mapping[str, Namespace],
) -> None:
    """Create one segment for all nodes and the router."""
    links.add_bridge(SEGMENT)
    links.up(SEGMENT)
    for family, network in by_family(spec.families, spec.node_cidrs).items():
        links.add_address(SEGMENT, f"{layout.node_gateway[family]}/{network.prefixlen}")
    for cable in cables_to(nodes, layout.addresses, namespaces, FIRST_INDEX):
        plug(links, cable, UPLINK)
        links.set_port(cable.name, SEGMENT)


def _route_pods(
    links: Links,
    spec: LabSpec,
    model: NetworkModel,
    layout: Layout,
    namespaces: Mapping[str, Namespace],
    index: int,
) -> None:
    """Add the VPC's routes to pods. `index` is the first free interface index."""
    if model.transport is Transport.ROUTER:
        for node in spec.nodes:
            for subnet in layout.subnets[node.name].values():
                links.add_route(route_to_node(layout, subnet, node.name, model))
    elif model.attachment is Attachment.UNDERLAY:
        network = PodNetwork(spec=spec, model=model, layout=layout)
        cables = cables_to(_own_pods(spec), layout.addresses, namespaces, index)
        network.hang_on_router(links, cables)
    elif model.transport is Transport.UNDERLAY:
        for number, node in enumerate(spec.nodes, index):
            port = second_port(node.name)
            cable = Cable(
                name=port,
                index=number,
                namespace=namespaces[node.name],
                addresses=layout.subnets[node.name],
            )
            plug(links, cable, SECOND)
            for family, subnet in layout.subnets[node.name].items():
                theirs, own = second_addresses(subnet)
                links.add_address(port, single_cidr(family, own))
                links.add_route(Route(destination=single_cidr(family, theirs), link=port))
                links.add_route(Route(destination=subnet, link=port, via=theirs))


def _route_outside(
    links: Links, spec: LabSpec, edge: EdgeSpec, model: NetworkModel, layout: Layout
) -> None:
    """Route everything else to the internet, except private destinations, which are dropped."""
    gateway = layout.addresses[GATEWAY]
    private = [spec.pod_cidrs, spec.service_cidrs, edge.balancer_cidrs]
    if model.transport is not Transport.HOSTS:  # the segment is a route to all of them
        private.append(spec.node_cidrs)
    for family in spec.families:
        links.add_route(Route(destination=ANYWHERE[family], link=GATEWAY, via=gateway[family]))
        for cidrs in private:
            links.add_blackhole(str(by_family(spec.families, cidrs)[family]))


def _route_back(links: Links, balancer: str, number: int, layout: Layout) -> None:
    """Route what `_steer_back` marks, and answers to health checks, to the load balancer."""
    table = _FIRST_TABLE + number
    for family, address in layout.addresses[balancer].items():
        links.add_route(
            Route(destination=ANYWHERE[family], link=interface(balancer), via=address, table=table)
        )
        links.add_rule(family, table=table, priority=table, mark=number + 1)
    for family, address in layout.check_sources[balancer].items():
        via = layout.addresses[balancer][family]
        links.add_route(
            Route(destination=single_cidr(family, address), link=interface(balancer), via=via)
        )


def _steer_back(rules: Rules, families: Iterable[Family], balancer: str, number: int) -> None:
    """Mark replies to what arrived by a load balancer, so that they return to it, though it has not
    translated the source.

    It translates destinations, and must see both ways; clouds track such flows in their fabric.
    """
    port, mark = interface(balancer), number + 1
    for family in families:
        rules.add(
            family,
            "mangle",
            f"PREROUTING -i {port} -m conntrack --ctstate NEW -j CONNMARK --set-mark {mark}",
        )
        rules.add(
            family,
            "mangle",
            f"PREROUTING ! -i {port} -m connmark --mark {mark} "
            f"-m conntrack --ctdir REPLY -j MARK --set-mark {mark}",
        )


def _own_pods(spec: LabSpec) -> list[str]:
    """Return the names of pods that have their own network namespace."""
    return [pod.name for pod in spec.pods if not pod.host_network]


def _ports(
    spec: LabSpec, model: NetworkModel, layout: Layout
) -> Iterable[tuple[str, str, list[Addresses]]]:
    """Yield the interface of each node's port, its owner, and the addresses allowed as sources."""
    for node in spec.nodes:
        allowed = [layout.addresses[node.name]]
        if model.transport is Transport.ROUTER:
            allowed.append(layout.subnets[node.name])
        if spec.assigns_balancers:  # nodes answer from load balancers' addresses
            pools = by_family(spec.families, spec.load_balancer_cidrs)
            allowed.append({family: str(pool) for family, pool in pools.items()})
        yield interface(node.name), node.name, allowed
        if model.transport is Transport.UNDERLAY and model.attachment is Attachment.VETH:
            yield second_port(node.name), f"{node.name}, second", [layout.subnets[node.name]]
