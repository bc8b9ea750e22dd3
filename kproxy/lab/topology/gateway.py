"""The gateway to the internet: public addresses of nodes and load balancers.

A public address (EIP) is translated one to one, both ways, and also for clients inside (hairpin):
then the source becomes the client's own public address.
"""

from __future__ import annotations

from collections.abc import Mapping

from kproxy.address import Family, family_of
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace
from kproxy.lab.layout import Layout, by_family
from kproxy.lab.names import DNAT, GATEWAY, UPLINK
from kproxy.lab.spec import EdgeSpec, LabSpec
from kproxy.lab.topology.cables import FIRST_INDEX, cables_to, lead_to, single_cidr
from kproxy.lab.topology.rules import Rules, comment


def build_gateway(
    spec: LabSpec,
    edge: EdgeSpec,
    layout: Layout,
    namespaces: Mapping[str, Namespace],
    variant: str,
) -> None:
    """Connect the gateway to the router and the clients, and commit its rules."""
    clients = [client.name for client in spec.clients]
    with namespaces[GATEWAY].entered(), Links() as links:
        links.up("lo")
        links.up(UPLINK)
        rules = Rules(variant)
        for family, address in layout.addresses[GATEWAY].items():
            router = layout.node_gateway[family]
            links.add_address(UPLINK, single_cidr(family, address))
            links.add_route(Route(destination=single_cidr(family, router), link=UPLINK))
            links.add_blackhole(str(by_family(spec.families, edge.public_cidrs)[family]))
            inside = [*_inside(spec, edge, family), *spec.routes]
            for cidr in inside:
                if family_of(cidr) is family:
                    links.add_route(Route(destination=cidr, link=UPLINK, via=router))
            _translate(rules, spec, edge, layout, family)
        cables = cables_to(clients, layout.addresses, namespaces, FIRST_INDEX)
        lead_to(links, cables, layout.client_gateway)
        rules.commit()


def _inside(spec: LabSpec, edge: EdgeSpec, family: Family) -> list[str]:
    cidrs = (spec.node_cidrs, spec.pod_cidrs, edge.balancer_cidrs)
    return [str(by_family(spec.families, each)[family]) for each in cidrs]


def _translate(rules: Rules, spec: LabSpec, edge: EdgeSpec, layout: Layout, family: Family) -> None:
    for name, public in layout.public.items():
        if name == DNAT:  # shared by the Services that ask for it
            continue
        private = layout.addresses[name][family]
        told = comment(f"public address of {name}")
        rules.add(family, "nat", f"PREROUTING -d {public[family]} {told} -j DNAT --to {private}")
        rules.add(family, "nat", f"POSTROUTING -s {private} {told} -j SNAT --to {public[family]}")
    new = "-m conntrack --ctstate NEW"
    rules.chain(family, "filter", "OUTWARDS")
    # INVALID is an answer that belongs to no connection here, because it did not pass the load
    # balancer or node that would have translated it back.
    outwards = f"FORWARD -i {UPLINK} -m conntrack --ctstate NEW,INVALID -j OUTWARDS"
    rules.add(family, "filter", outwards)
    for node in spec.nodes:
        rules.add(family, "filter", f"OUTWARDS -s {layout.addresses[node.name][family]} -j RETURN")
    rules.add(family, "filter", f"OUTWARDS {comment('the source has no public address')} -j DROP")
    for cidr in _inside(spec, edge, family):
        rules.add(
            family,
            "filter",
            f"FORWARD ! -i {UPLINK} -d {cidr} {new} -m conntrack ! --ctstate DNAT "
            f"{comment('private addresses are not known outside')} -j DROP",
        )
