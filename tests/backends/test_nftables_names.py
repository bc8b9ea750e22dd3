"""Names of the chains and sets of a service port in nftables mode: those of kube-proxy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kproxy_nftables import flat_layout, kube_proxy_layout
from kproxy_nftables.hashed_names import endpoint_base, service_base
from kproxy_nftables.wanted import Wanted

from kproxy.forwarding.plan import Endpoint, NodeSettings, ServicePlan, ServicePortName
from tests.forwarding import plans

Layout = Callable[[ServicePlan, NodeSettings], Wanted]

HERE = plans.settings("node-a")
LONG = ServicePortName("n" * 63, "s" * 63, "p" * 63, "SCTP")
LONGEST = ServicePortName("n" * 100, "s" * 100, "p" * 100, "TCP")
MOST_BYTES = 255  # the longest name in nf_tables

# Source: kube-proxy v1.36; recorded, except the long ones.
SERVICES = [
    (ServicePortName("ns1", "svc1", "p80", "TCP"), "ULMVA6XW-ns1/svc1/tcp/p80"),
    (ServicePortName("shop", "web", "", "TCP"), "452DNVGS-shop/web/tcp/"),
    (ServicePortName("shop", "web", "http", "TCP"), "KHN6ECMT-shop/web/tcp/http"),
    (ServicePortName("testing", "service", "http", "TCP"), "P4ZYZVCF-testing/service/tcp/http"),
    (ServicePortName("default", "web", "http", "TCP"), "SUSTUHLJ-default/web/tcp/http"),
]
ENDPOINTS = [
    (
        *(ServicePortName("ns5", "svc5", "p80", "TCP"), Endpoint("10.180.0.3", 80)),
        "GTK6MW7G-ns5/svc5/tcp/p80__10.180.0.3/80",
    ),
    (
        ServicePortName("testing", "service", "http", "TCP"),
        Endpoint("fd80:abcd:12::a1b2:c3d4:e5f6:9999", 80),
        "U7E2ET36-testing/service/tcp/http__fd80.abcd.12..a1b2.c3d4.e5f6.9999/80",
    ),
    (
        *(ServicePortName("shop", "web", "http", "TCP"), Endpoint("10.244.1.5", 8080)),
        "FDH7QP7U-shop/web/tcp/http__10.244.1.5/8080",
    ),
]


@pytest.mark.parametrize(("name", "base"), SERVICES)
def test_a_service_port(name: ServicePortName, base: str) -> None:
    assert service_base(name) == base


@pytest.mark.parametrize(("name", "endpoint", "base"), ENDPOINTS)
def test_an_endpoint_of_a_service_port(
    name: ServicePortName, endpoint: Endpoint, base: str
) -> None:
    assert endpoint_base(name, endpoint) == base


def test_names_that_are_too_long_are_cut() -> None:
    """Shortened names differ by the hash."""
    endpoint = Endpoint("fd00:1111:2222:3333:4444:5555:6666:7777", 65535)
    assert service_base(LONG).endswith(f"/sctp/{'p' * 63}")
    for base in (service_base(LONGEST), endpoint_base(LONG, endpoint)):
        assert len(base) == 240
        assert base.endswith("...")
        assert len(f"endpoint-{base}") <= MOST_BYTES
    other = Endpoint(endpoint.address, 65534)
    assert endpoint_base(LONG, endpoint) != endpoint_base(LONG, other)


BASE = "KHN6ECMT-shop/web/tcp/http"
RANGES = ("203.0.113.0/24",)
CHAINS = [  # a service port -> purposes of its chains, rules in each
    (plans.Web(), {"service": 1, "external": 2}),
    (plans.Web(on=()), {}),
    (plans.Web(internal="Local", on=("pod-a",)), {"service": 1, "local": 1, "external": 2}),
    (plans.Web(external="Local", on=("pod-a",)), {"service": 1, "local": 1, "external": 4}),
    (plans.Web(external="Local"), {"service": 1, "external": 3}),  # no endpoint on this node
    (plans.Web(source_ranges=RANGES), {"service": 1, "external": 2, "firewall": 1}),
    (plans.Web(source_ranges=RANGES, on=()), {"firewall": 1}),
]


@pytest.mark.parametrize(("web", "rules"), CHAINS)
def test_chains_of_a_service_port(web: plans.Web, rules: dict[str, int]) -> None:
    """The flat layout has no chain of a single service port."""
    service = plans.service_plan(web, HERE)
    wanted = kube_proxy_layout.wanted(service, HERE)
    assert {name: len(chain) for name, chain in wanted.chains.items()} == {
        f"{kind}-{BASE}": number for kind, number in rules.items()
    }
    assert wanted.sets == {}
    flat = flat_layout.wanted(service, HERE)
    assert (flat.chains, flat.sets) == ({}, {})


@pytest.mark.parametrize("layout", [kube_proxy_layout.wanted, flat_layout.wanted])
def test_with_affinity_each_endpoint_has_a_set_and_a_chain(layout: Layout) -> None:
    """This holds in both layouts."""
    web = plans.Web(on=("pod-a", "pod-b"), external="Local", affinity_timeout_s=10)
    service = plans.service_plan(web, HERE)
    wanted = layout(service, HERE)
    bases = [endpoint_base(service.name, endpoint) for endpoint in service.reachable]
    assert {name: set_.timeout_s for name, set_ in wanted.sets.items()} == {
        f"affinity-{base}": 10 for base in bases
    }
    assert {name: len(chain) for name, chain in wanted.chains.items()} == {
        f"service-{BASE}": 3,
        f"local-{BASE}": 2,
        f"external-{BASE}": 4,
        **{f"endpoint-{base}": 2 for base in bases},
    }
