"""Which node load balancers' addresses lead to, as Services come, go and share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from kproxy.lab.proxies import upsert
from kproxy.store import Store

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


def deleted(store: Store) -> None:
    store.delete(("Service", "default", "web"))


WEB, OTHER = balancer("web", "192.168.30.5"), balancer("other", "192.168.30.5")
STEPS = [  # changes one after the other -> addresses that are led to a node then
    ([upsert([WEB])], {"192.168.30.5/32"}),
    ([upsert([WEB]), deleted], set()),
    ([upsert([WEB]), upsert([balancer("web", "192.168.30.6")])], {"192.168.30.6/32"}),
    ([upsert([WEB]), upsert([balancer("web", "203.0.113.1")])], set()),
    ([upsert([WEB]), upsert([OTHER]), deleted], {"192.168.30.5/32"}),
    ([upsert([WEB, OTHER]), deleted, upsert([balancer("other")])], set()),
]


@pytest.mark.parametrize(("changes", "expected"), STEPS)
def test_an_address_leads_to_a_node_while_a_service_has_it(
    changes: Sequence[Callable[[Store], None]], expected: set[str]
) -> None:
    routes: dict[str, str] = {}

    def unroute(cidr: str, node: str) -> None:
        assert routes.pop(cidr) == node

    announcer = Announcer(SPEC, routes.__setitem__, unroute)
    for change in changes:
        announcer.follow(change)
    assert routes == dict.fromkeys(expected, "node-a")
