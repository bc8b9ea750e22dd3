"""Names of addresses, from the objects of a cluster."""

from __future__ import annotations

import pytest

from kproxy.api.base_types import Metadata, ObjectReference
from kproxy.api.types import Endpoint, EndpointSlice, ServicePort
from kproxy.explain.itinerary import Named
from kproxy.explain.names import Names
from tests.explain.itineraries import ITINERARY
from tests.explain.named_objects import node, pod, service

SLICE = EndpointSlice(
    metadata=Metadata(name="web-1", namespace="shop"),
    address_type="IPv4",
    endpoints=(
        Endpoint(addresses=("10.244.1.9",), target_ref=ObjectReference(kind="Pod", name="web-1")),
        Endpoint(addresses=("10.244.1.10",)),
        Endpoint(
            addresses=("192.168.10.11",), target_ref=ObjectReference(kind="Pod", name="on-host")
        ),
    ),
)
NAMES = Names(
    [
        node("node-a", "192.168.10.11"),
        service(
            "web",
            ["10.96.0.10", "fd00::10"],
            ServicePort(port=80, node_port=30080),
            namespace="shop",
            external=("203.0.113.5", "192.168.10.11"),
            balancer="203.0.113.6",
        ),
        pod("client", "10.244.1.7", "fd00:0::7"),
        pod("done", "10.244.1.8", phase="Succeeded"),
        SLICE,
    ]
)
PLACES = [
    ("10.96.0.10", 80, "svc/web.shop"),
    ("10.96.0.10", 0, "svc/web.shop"),
    ("fd00::10", 443, "svc/web.shop"),
    ("203.0.113.5", 80, "svc/web.shop"),
    ("203.0.113.5", 81, ""),  # an address that others may have, too
    ("203.0.113.6", 80, "svc/web.shop"),
    ("192.168.10.11", 30080, "svc/web.shop on node-a"),
    ("192.168.10.11", 80, "svc/web.shop"),  # an external IP
    ("192.168.10.11", 22, "node/node-a"),  # and not one of its pods
    ("10.244.1.7", 30080, "pod/client"),
    ("fd00::7", 1, "pod/client"),
    ("10.244.1.8", 1, ""),
    ("10.244.1.9", 8080, "pod/web-1.shop"),
    ("10.244.1.10", 8080, ""),
]


@pytest.mark.parametrize(("address", "port", "name"), PLACES)
def test_places(address: str, port: int, name: str) -> None:
    assert NAMES.of(address, port) == name


def test_places_on_the_way() -> None:
    found = NAMES.named(ITINERARY).names
    assert found == (Named(address="10.96.0.10", port=80, name="svc/web.shop"),)
