"""How pods hang on their nodes: what is built with a lab, and what comes and goes while it runs.

A stopped pod's links take their addresses and routes with them; its rules are revoked.
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
from kproxy.lab.topology.cables import Cable, alone, attach, lead_to, plug
from kproxy.lab.topology.rules import Rules
from kproxy.lab.topology.source_check import check_sources

CAME_BY_UPLINK = "0x80"  # a mark of connections

_VXLAN_MTU = 1450  # 1500 less the outer headers over IPv4
_VXLAN_MTU_V6 = 1430


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """What a network model means for single pods. Nothing is kept of them.

    `Links` and `Rules` are those of the namespace that a method names.
    """

    spec: LabSpec
    model: NetworkModel
    layout: Layout

    @property
    def uses_router(self) -> bool:
        """Whether each pod has a port of the VPC's router, and a second link to its node."""
        return self.model.attachment is Attachment.UNDERLAY

    @property
    def has_node_rules(self) -> bool:
        """Whether the node has rules of its own for each pod."""
        model = self.model
        return model.transport is Transport.UNDERLAY and model.attachment is Attachment.VETH

    @property
    def pod_links(self) -> tuple[str, ...]:
        """Of a pod, its `lo` aside."""
        return (UPLINK, SECOND) if self.uses_router else (UPLINK,)

    @property
    def node_links(self) -> tuple[str, ...]:
        """Of a node, those that have a carrier only while it has pods."""
        bridged = self.model.attachment in (Attachment.BRIDGE, Attachment.FILTERED_BRIDGE)
        return (POD_BRIDGE,) if bridged else ()

    def hang_on_node(self, links: Links, node: str, cables: Iterable[Cable]) -> None:
        """In the node's namespace; the bridge, if there is one, is there."""
        match self.model.attachment:
            case Attachment.VETH:
                lead_to(links, cables, self.layout.gateways[node])
            case Attachment.UNDERLAY:  # by this cable the node finds its own pods
                lead_to(links, cables, self.layout.gateways[node], SECOND)
            case Attachment.BRIDGE | Attachment.FILTERED_BRIDGE:
                hairpin = self.model.attachment is Attachment.FILTERED_BRIDGE
                for cable in cables:
                    plug(links, cable, UPLINK, _mac(cable.addresses))
                    links.set_port(cable.name, POD_BRIDGE, hairpin=hairpin)

    def hang_on_router(self, links: Links, cables: Iterable[Cable]) -> None:
        """Where a pod has a port of the VPC."""
        lead_to(links, cables, self.layout.node_gateway)

    def set_up_pod(self, links: Links, node: str, addresses: Addresses) -> None:
        """In the pod's namespace, when its cables are there."""
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
        """Its Services and the node itself are reached by the second cable."""
        links.up(SECOND)
        for family, gateway in self.layout.gateways[node].items():
            # IPv6 is silent when asked for an address of another interface.
            links.add_address(SECOND, alone(family, addresses[family]))
            links.add_route(Route(destination=alone(family, gateway), link=SECOND))
            services = by_family(self.spec.families, self.spec.service_cidrs)[family]
            own_node = alone(family, self.layout.addresses[node][family])
            for destination in (str(services), own_node):
                links.add_route(Route(destination=destination, link=SECOND, via=gateway))

    def node_rules(self, rules: Rules, interface: str) -> None:
        """An answer to what came by the node's first interface leaves by it."""
        if self.has_node_rules:
            for family in self.spec.families:
                rules.add(
                    family,
                    "mangle",
                    f"PREROUTING -i {interface} -j CONNMARK --restore-mark --mask {CAME_BY_UPLINK}",
                )

    def router_rules(self, rules: Rules, pod: str, interface: str, addresses: Addresses) -> None:
        """The VPC takes nothing else from a port of a pod than what has the pod's addresses."""
        if self.uses_router and self.model.source_check:
            check_sources(rules, interface, pod, [addresses])


def tunnel_mtu(spec: LabSpec) -> int:
    return _VXLAN_MTU if Family.IPV4 in spec.families else _VXLAN_MTU_V6


def _mac(addresses: Addresses) -> str:
    """Of a pod on a bridge, from its address, as Docker does: whoever still knows the MAC of the
    pod that had this address before finds the new one by it.
    """
    first = ip_address(next(iter(addresses.values())))
    return "0a:58:" + first.packed[-4:].hex(":")
