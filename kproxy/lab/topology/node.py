"""The network of a node: its pods, and its routes to the pods of other nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from kproxy.address import Family
from kproxy.kernel import sysctl
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace
from kproxy.lab.layout import Addresses, Layout, by_family, second_addresses
from kproxy.lab.models import Attachment, NetworkModel, Transport
from kproxy.lab.names import POD_BRIDGE, SECOND, TUNNEL, UPLINK
from kproxy.lab.spec import LabSpec, NodeSpec
from kproxy.lab.topology.cables import ANYWHERE, FIRST_INDEX, attach, cables_to, single_cidr
from kproxy.lab.topology.pods import CAME_BY_UPLINK, PodNetwork, tunnel_mtu
from kproxy.lab.topology.rules import Rules

_VXLAN_PORT = 8472  # of Linux and Flannel; IANA's is 4789
_BRIDGE_MAC = "02:00:00:00:ff:01"  # on every node: only its own pods are neighbours of a bridge

# The routing table and rules of a node whose pods have addresses of its second interface.
_SECOND_TABLE = 200
_BY_MARK, _TO_POD, _FROM_POD = 100, 150, 200  # priorities
_PRIVATE = {
    Family.IPV4: ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    Family.IPV6: ("fd00::/8",),
}


def build_node(
    spec: LabSpec,
    node: NodeSpec,
    model: NetworkModel,
    layout: Layout,
    namespaces: Mapping[str, Namespace],
    variant: str,
) -> None:
    """Create a node's links, routes and rules, and those of its pods."""
    pods = [pod.name for pod in node.pods if not pod.host_network]
    cables = cables_to(pods, layout.addresses, namespaces, FIRST_INDEX)
    network = PodNetwork(spec=spec, model=model, layout=layout)
    rules = Rules(variant)
    with namespaces[node.name].entered(), Links() as links:
        if model.transport is Transport.HOSTS:
            networks = by_family(spec.families, spec.node_cidrs)
            prefixes = {family: network.prefixlen for family, network in networks.items()}
            attach(links, layout.addresses[node.name], layout.node_gateway, prefixes)
        else:
            attach(links, layout.addresses[node.name], layout.node_gateway)
        if model.attachment in (Attachment.BRIDGE, Attachment.FILTERED_BRIDGE):
            _build_bridge(links, node, layout)
        network.hang_on_node(links, node.name, cables)
        _reach_other_nodes(links, spec, node, model, layout)
        if network.has_node_rules:
            _use_second_interface(links, rules, spec, node, layout)
        for cable in cables:
            network.node_rules(rules, cable.name)
        for family in spec.families:
            for rule in model.masquerade:
                for text in _filled(rule, spec, layout, node.name, family):
                    rules.add(family, "nat", f"POSTROUTING {text}")
        rules.commit()
    for pod in pods:
        with namespaces[pod].entered(), Links() as links:
            network.set_up_pod(links, node.name, layout.addresses[pod])


def _build_bridge(links: Links, node: NodeSpec, layout: Layout) -> None:
    """Create a bridge without ports. Its fixed MAC is needed because neighbours remember the MAC:
    by default a bridge has that of a port, which may be removed.
    """
    links.add_bridge(POD_BRIDGE, mac=_BRIDGE_MAC)
    links.up(POD_BRIDGE)
    for family, subnet in layout.subnets[node.name].items():
        prefix = ip_network(subnet).prefixlen
        links.add_address(POD_BRIDGE, f"{layout.gateways[node.name][family]}/{prefix}")


def _reach_other_nodes(
    links: Links, spec: LabSpec, node: NodeSpec, model: NetworkModel, layout: Layout
) -> None:
    others = [other for other in spec.nodes if other.name != node.name]
    if model.transport is Transport.HOSTS:
        for other in others:
            for family, subnet in layout.subnets[other.name].items():
                via = layout.addresses[other.name][family]
                links.add_route(Route(destination=subnet, link=UPLINK, via=via))
    elif model.transport is Transport.VXLAN:
        numbers = {each.name: number for number, each in enumerate(spec.nodes, 1)}
        local = next(iter(layout.addresses[node.name].values()))
        links.add_vxlan(
            TUNNEL,
            vni=model.vni,
            local=local,
            port=_VXLAN_PORT,
            mac=_mac(numbers[node.name]),
            mtu=tunnel_mtu(spec),
        )
        links.up(TUNNEL)
        for family, address in _vteps(layout, node.name).items():
            links.add_address(TUNNEL, single_cidr(family, address))
        for other in others:
            vteps = _vteps(layout, other.name)
            links.add_vxlan_peer(
                TUNNEL,
                mac=_mac(numbers[other.name]),
                address=next(iter(layout.addresses[other.name].values())),
                hosts=vteps.values(),
            )
            for family, subnet in layout.subnets[other.name].items():
                via = vteps[family]
                links.add_route(Route(destination=subnet, link=TUNNEL, via=via, on_link=True))


def _use_second_interface(
    links: Links, rules: Rules, spec: LabSpec, node: NodeSpec, layout: Layout
) -> None:
    """Route pods' traffic by the second interface, except replies to what arrived by the first.

    Such a reply has the node's address as its source, which the VPC accepts only from the first
    interface; the CNI of AWS marks connections for the same reason.
    """
    links.up(SECOND)
    # To the reverse path check, packets for a pod seem to arrive by the wrong interface when they
    # arrive by the first: it does not see the mark that routes their replies. The CNI of AWS sets 2
    # (loose) as well.
    sysctl.write(f"net/ipv4/conf/{UPLINK}/rp_filter", 2)
    for family, subnet in layout.subnets[node.name].items():
        own, via = second_addresses(subnet)
        links.add_address(SECOND, single_cidr(family, own))
        links.add_route(Route(destination=single_cidr(family, via), link=SECOND))
        links.add_route(
            Route(destination=ANYWHERE[family], link=SECOND, via=via, table=_SECOND_TABLE)
        )
        mark = int(CAME_BY_UPLINK, 16)
        links.add_rule(family, table=254, priority=_BY_MARK, mark=mark)
        links.add_rule(family, table=254, priority=_TO_POD, destination=subnet)
        links.add_rule(family, table=_SECOND_TABLE, priority=_FROM_POD, source=subnet)
        asked = ["-m addrtype --dst-type LOCAL --limit-iface-in"]
        if spec.assigns_balancers:
            asked.append(f"-d {by_family(spec.families, spec.load_balancer_cidrs)[family]}")
        for match in asked:
            rules.add(
                family,
                "mangle",
                f"PREROUTING -i {UPLINK} {match} "
                f"-j CONNMARK --set-xmark {CAME_BY_UPLINK}/{CAME_BY_UPLINK}",
            )


def _filled(rule: str, spec: LabSpec, layout: Layout, node: str, family: Family) -> Iterable[str]:
    own = layout.subnets[node][family]
    pods = by_family(spec.families, spec.pod_cidrs)[family]
    private = _PRIVATE[family] if "{private}" in rule else ("",)
    return [rule.format(own=own, pods=pods, private=each) for each in private]


def _vteps(layout: Layout, node: str) -> Addresses:
    """Return the addresses of a node's tunnel device: the first ones of its pod subnets."""
    subnets = layout.subnets[node]
    return {family: str(ip_network(each).network_address) for family, each in subnets.items()}


def _mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"
