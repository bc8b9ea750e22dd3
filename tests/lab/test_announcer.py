"""The nodes that load balancers' addresses lead to, when Services change or share them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kproxy.api.types import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Metadata,
    Service,
    ServiceSpec,
    ServiceStatus,
)
from kproxy.lab import LabSpec, NodeSpec
from kproxy.lab.cluster.announcer import Announcer
from kproxy.store import Update

SPEC = LabSpec(
    nodes=(NodeSpec(name="node-a"), NodeSpec(name="node-b")),
    load_balancer_cidrs=("192.168.30.0/24",),
    control_plane=True,
)


def balancer(name: str, *addresses: str) -> Service:
    ingress = tuple(LoadBalancerIngress(ip=each) for each in addresses)
    return Service(
        metadata=Metadata(name=name),
        spec=ServiceSpec(type="LoadBalancer"),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ingress)),
    )


def upsert(*services: Service) -> Update:
    return Update(upserts=services)


DELETED = Update(deletes=(("Service", "default", "web"),))
WEB, OTHER = balancer("web", "192.168.30.5"), balancer("other", "192.168.30.5")
STEPS = [  # updates one after the other -> addresses that are led to a node then
    ([upsert(WEB)], {"192.168.30.5/32"}),
    ([upsert(WEB), DELETED], set()),
    ([upsert(WEB), upsert(balancer("web", "192.168.30.6"))], {"192.168.30.6/32"}),
    ([upsert(WEB), upsert(balancer("web", "203.0.113.1"))], set()),
    ([upsert(WEB), upsert(OTHER), DELETED], {"192.168.30.5/32"}),
    ([upsert(WEB, OTHER), DELETED, upsert(balancer("other"))], set()),
]


class Router:
    def __init__(self) -> None:
        self.routes: dict[str, str] = {}

    def add(self, cidr: str, node: str) -> None:
        self.routes[cidr] = node

    def remove(self, cidr: str) -> None:
        del self.routes[cidr]


@pytest.mark.parametrize(("updates", "expected"), STEPS)
def test_an_address_leads_to_a_node_while_a_service_has_it(
    updates: Sequence[Update], expected: set[str]
) -> None:
    router = Router()
    announcer = Announcer(SPEC, router)
    for update in updates:
        announcer.follow(update)
    assert router.routes == dict.fromkeys(expected, "node-a")
