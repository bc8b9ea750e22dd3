"""The cloud controller of a lab, made from the lab's hosts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kproxy.lab import names
from kproxy.lab.hosts import LabBalancer, LabHost, LabNode
from kproxy.lab.layout import Layout
from kproxy.lab.models import MODELS, Transport
from kproxy.lab.profiles import PROFILES
from kproxy.lab.spec import LabSpec
from kproxy.store import Update

if TYPE_CHECKING:
    from kproxy.edge import EdgeController, ListenerState, Place


def edge_controller(
    spec: LabSpec,
    layout: Layout,
    nodes: Iterable[LabNode],
    balancers: Iterable[LabBalancer],
    gateway: LabHost,
    variant: str,
    check_interval_s: float,
    drain_s: float,
) -> EdgeController:
    """Return the controller of the load balancers and the DNAT gateway.

    `variant` is that of iptables; for `drain_s` see `EdgeController`.
    """
    # Few labs have an edge, and its room takes a sixth of what a lab imports.
    from kproxy.edge import BalancerClass, Edge, EdgeController, Place, PlaceHost, check_times

    balancers = list(balancers)
    public = layout.public[names.DNAT]
    dnat = Place(name=names.DNAT, kind=BalancerClass.DNAT, address=public, public=public)
    edge = Edge(
        places=(*map(_place, balancers), dnat),
        nodes={node.name: node.addresses for node in nodes},
        reaches_pods=MODELS[spec.network].transport is Transport.UNDERLAY,
        passes_through_local=PROFILES[spec.profile].passes_through_local,
        times=check_times(check_interval_s),
    )
    hosts = {
        each.name: PlaceHost(
            kind=BalancerClass[each.spec.kind.upper()],
            namespace=each.namespace,
            check_sources=each.check_sources,
        )
        for each in balancers
    }
    hosts[names.DNAT] = PlaceHost(
        kind=BalancerClass.DNAT, namespace=gateway.namespace, check_sources={}
    )
    return EdgeController(edge, hosts, variant, drain_s)


class NoEdge:
    """The cloud controller of a lab without load balancers: Services stay as they are."""

    state: tuple[ListenerState, ...] = ()

    def admit(self, update: Update) -> Update:
        return update

    def follow(self, update: Update) -> None:
        pass


def _place(balancer: LabBalancer) -> Place:
    from kproxy.edge import BalancerClass, Place

    return Place(
        name=balancer.name,
        kind=BalancerClass[balancer.spec.kind.upper()],
        address=balancer.addresses,
        public=balancer.public,
    )
