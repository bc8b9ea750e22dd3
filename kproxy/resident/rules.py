"""The rules of one Service on a node of a lab, for the command that asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kproxy.address import Family
from kproxy.api.typed_kinds import as_read
from kproxy.api.types import EndpointSlice, KubernetesObject, Node, Service, ServiceCIDR
from kproxy.backend import HostFacts, Listing, Mode, Plan, load
from kproxy.errors import BadInput
from kproxy.lab import Lab, LabNode
from kproxy.resident.orders import Order
from kproxy.rules.paper import node_on_paper
from kproxy.rules.reading import found_in_force, read_listing
from kproxy.rules.service import service_rules, sought_in, values

_Rules = tuple[Mode, Mapping[Family, tuple[Plan, Listing]]]  # by family

_READ = (Service, EndpointSlice, Node, ServiceCIDR)


def rules_of(lab: Lab, order: Order, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules of the Service that is asked for, by family, as JSON values.

    `request` has `node` ("" for the first), `namespace`, `name` and `port` ("" for all), and
    `families`. Raises BadInput if there is no such node, Service or port.
    """
    namespace, name, port = (str(request.get(each, "")) for each in ("namespace", "name", "port"))
    node = _node(lab, str(request.get("node", "")))
    services = {(each.metadata.namespace, each.metadata.name) for each in lab.objects(Service)}
    if (namespace, name) not in services:
        known = ", ".join(sorted("/".join(each) for each in services)[:8])
        raise BadInput([f"there is no Service {namespace}/{name}; there are: {known}"])
    families = [each for each in lab.spec.families if each.value in request.get("families", ())]
    node_rules = _of_own_proxy if order.mode is not None else _of_another_proxy
    mode, found = node_rules(lab, order, node, families)
    blocks = [
        {
            "family": family.value,
            "rules": values(service_rules(mode, listing, sought_in(plan, namespace, name, port))),
        }
        for family, (plan, listing) in found.items()
    ]
    return {"node": node.name, "mode": mode.name, "families": blocks}


def _node(lab: Lab, name: str) -> LabNode:
    if not name:
        return next(iter(lab.nodes.values()))
    if name not in lab.nodes:
        raise BadInput([f"--node: the lab has no node {name!r}; it has: {', '.join(lab.nodes)}"])
    return lab.nodes[name]


def _of_own_proxy(lab: Lab, order: Order, node: LabNode, families: list[Family]) -> _Rules:
    plans = lab.proxy(node.name).plans
    found = {family: (plans[family], lab.listing(node.name, family)) for family in families}
    return load(str(order.mode)), found


def _of_another_proxy(lab: Lab, _: Order, node: LabNode, families: list[Family]) -> _Rules:
    """Return the mode that is in force on a node, with what kproxy would plan for it."""
    config = lab.node_config(node.name)
    with node.namespace.entered():
        paper = found_in_force(config)
        listings = {each: read_listing(paper.mode, each, paper.options) for each in families}
    objects = [*_objects(lab)]
    plans = node_on_paper(objects, paper, node.name, families, HostFacts()).plans
    return paper.mode, {family: (plans[family], listings[family]) for family in families}


def _objects(lab: Lab) -> Iterator[KubernetesObject]:
    for kind in _READ:
        yield from map(as_read, lab.objects(kind))
