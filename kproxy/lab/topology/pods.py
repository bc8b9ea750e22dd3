"""The connection of pods to their nodes, for pods built with a lab and for those added later.

The addresses and routes of a stopped pod are removed with its links; its rules are revoked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from kproxy.address import Family
from kproxy.kernel.links import Links, Route
from kproxy.lab.layout import Addresses, Layout, by_family
from kproxy.lab.models import Attachment, NetworkModel, Transport
from kproxy.lab.names import POD_BRIDGE, SECOND, UPLINK
from kproxy.lab.spec import LabSpec
from kproxy.lab.topology.cables import Cable, attach, lead_to, plug, single_cidr
from kproxy.lab.topology.rules import Rules
from kproxy.lab.topology.source_check import check_sources

CAME_BY_UPLINK = "0x80"  # a mark of connections

_VXLAN_MTU = 1450  # 1500 less the outer headers over IPv4
_VXLAN_MTU_V6 = 1430


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """The network of single pods, by the network model. It keeps no state about pods.

    `Links` and `Rules` are those of the namespace that a method names.
    """

    spec: LabSpec
    model: NetworkModel
    layout: Layout

    @property
    def uses_router(self) -> bool:
        """True if each pod has a port of the VPC's router, and a second link to its node."""
        return self.model.attachment is Attachment.UNDERLAY

    @property
    def has_node_rules(self) -> bool:
        """True if the node has rules of its own for each pod."""
        model = self.model
        return model.transport is Transport.UNDERLAY and model.attachment is Attachment.VETH

    @property
    def pod_links(self) -> tuple[str, ...]:
        """The links of a pod, except `lo`."""
        return (UPLINK, SECOND) if self.uses_router else (UPLINK,)

    @property
    def node_links(self) -> tuple[str, ...]:
        """The links of a node that have a carrier only while it has pods."""
        bridged = self.model.attachment in (Attachment.BRIDGE, Attachment.FILTERED_BRIDGE)
        return (POD_BRIDGE,) if bridged else ()

    def hang_on_node(self, links: Links, node: str, cables: Iterable[Cable]) -> None:
        """Create cables to pods in the node's namespace, where the bridge exists, if it has one."""
        cables = list(cables)
        match self.model.attachment:
            case Attachment.VETH:
                lead_to(links, cables, self.layout.gateways[node])
            case Attachment.UNDERLAY:  # the node reaches its own pods by this cable
                lead_to(links, cables, self.layout.gateways[node], SECOND)
            case Attachment.BRIDGE | Attachment.FILTERED_BRIDGE:
                hairpin = self.model.attachment is Attachment.FILTERED_BRIDGE
                for cable in cables:
                    plug(links, cable, UPLINK, _mac(cable.addresses))
                    links.set_port(cable.name, POD_BRIDGE, hairpin=hairpin)
        if self.model.transport is Transport.VXLAN:  # else pods would lose what the node sends
            for cable in cables:
                links.set_mtu(cable.name, tunnel_mtu(self.spec))

    def hang_on_router(self, links: Links, cables: Iterable[Cable]) -> None:
        """Create cables to pods in the router's namespace, if they have ports of the VPC."""
        lead_to(links, cables, self.layout.node_gateway)

    def set_up_pod(self, links: Links, node: str, addresses: Addresses) -> None:
        """Set up links and routes in the pod's namespace, when its cables exist."""
        gateways = self.layout.gateways[node]
        match self.model.attachment:
            case Attachment.VETH:
                attach(links, addresses, gateways)
            case Attachment.UNDERLAY:
                attach(links, addresses, self.layout.node_gateway)
                self._use_node(links, node, addresses)
            case Attachment.BRIDGE | Attachment.FILTERED_BRIDGE:
                subnets = self.layout.subnets[node]
                prefixes = {family: ip_network(each).prefixlen for family, each in subnets.items()}
                attach(links, addresses, gateways, prefixes)
        if self.model.transport is Transport.VXLAN:
            links.set_mtu(UPLINK, tunnel_mtu(self.spec))

    def _use_node(self, links: Links, node: str, addresses: Addresses) -> None:
        """Route Services and the node's own addresses by the second cable."""
        links.up(SECOND)
        for family, gateway in self.layout.gateways[node].items():
            # IPv6 does not answer a neighbour solicitation for an address of another interface.
            links.add_address(SECOND, single_cidr(family, addresses[family]))
            links.add_route(Route(destination=single_cidr(family, gateway), link=SECOND))
            services = by_family(self.spec.families, self.spec.service_cidrs)[family]
            own_node = single_cidr(family, self.layout.addresses[node][family])
            for destination in (str(services), own_node):
                links.add_route(Route(destination=destination, link=SECOND, via=gateway))

    def node_rules(self, rules: Rules, interface: str) -> None:
        """Add the rules that let replies to what arrived by the node's first interface leave by it,
        if the model needs them.
        """
        if self.has_node_rules:
            for family in self.spec.families:
                rules.add(
                    family,
                    "mangle",
                    f"PREROUTING -i {interface} -j CONNMARK --restore-mark --mask {CAME_BY_UPLINK}",
                )

    def router_rules(self, rules: Rules, pod: str, interface: str, addresses: Addresses) -> None:
        """Add the VPC's source check: a pod's port may send only from the pod's addresses."""
        if self.uses_router and self.model.source_check:
            check_sources(rules, interface, pod, [addresses])


def tunnel_mtu(spec: LabSpec) -> int:
    return _VXLAN_MTU if Family.IPV4 in spec.families else _VXLAN_MTU_V6


def _mac(addresses: Addresses) -> str:
    """Return the MAC of a pod on a bridge, made from its address, as Docker does: so a neighbour
    that remembers the MAC of an earlier pod with this address reaches the new one.
    """
    first = ip_address(next(iter(addresses.values())))
    return "0a:58:" + first.packed[-4:].hex(":")
