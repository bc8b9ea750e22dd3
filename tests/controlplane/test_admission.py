"""New Services as the API server would store them, and those it would refuse."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.api.types import Service, ServiceSpec
from kproxy.controlplane.admission import Allocator
from kproxy.errors import BadInput
from tests.controlplane.services import (
    BOTH,
    DNS,
    DUAL,
    HEADLESS_TOLD,
    HTTP,
    LOCAL,
    NO_SELECTOR,
    NONE,
    POLICY_TOLD,
    PREFER,
    REQUIRE,
    SINGLE,
    TURNED,
    TYPES,
    V4,
    V6,
    allocator,
    free,
    kinds,
    refused,
    service,
    told,
)

# --- a new Service ---------------------------------------------------------------------------


class New(NamedTuple):
    cidrs: tuple[str, ...]
    spec: dict[str, Any]
    policy: str | None
    families: tuple[str, ...]
    cluster_ips: tuple[str, ...]


NEW = [
    New((V4,), {}, "SingleStack", ("IPv4",), ("v4",)),
    New((V6,), {}, "SingleStack", ("IPv6",), ("v6",)),
    New((V4,), PREFER, "PreferDualStack", ("IPv4",), ("v4",)),
    New((V4,), NONE, "SingleStack", ("IPv4",), ("None",)),
    New((V4,), {**NONE, **PREFER}, "PreferDualStack", ("IPv4",), ("None",)),
    New((V4,), NO_SELECTOR, "RequireDualStack", BOTH, ("None",)),
    New((V6,), NO_SELECTOR, "RequireDualStack", TURNED, ("None",)),
    New(
        (V4,), {**NO_SELECTOR, "ipFamilyPolicy": "SingleStack"}, "SingleStack", ("IPv4",), ("None",)
    ),
    New((V4,), {"type": "ExternalName", "externalName": "a.example"}, None, (), ()),
    New(DUAL, {}, "SingleStack", ("IPv4",), ("v4",)),
    New((V6, V4), {}, "SingleStack", ("IPv6",), ("v6",)),
    New(DUAL, {"ipFamilies": ["IPv6"]}, "SingleStack", ("IPv6",), ("v6",)),
    New(DUAL, PREFER, "PreferDualStack", BOTH, ("v4", "v6")),
    New((V6, V4), PREFER, "PreferDualStack", TURNED, ("v6", "v4")),
    New(DUAL, REQUIRE, "RequireDualStack", BOTH, ("v4", "v6")),
    New(DUAL, {**REQUIRE, "ipFamilies": ["IPv6"]}, "RequireDualStack", TURNED, ("v6", "v4")),
    New(DUAL, {**REQUIRE, "ipFamilies": list(TURNED)}, "RequireDualStack", TURNED, ("v6", "v4")),
    New(DUAL, {**PREFER, "clusterIP": "fd00:10:96::a"}, "PreferDualStack", TURNED, ("v6", "v4")),
    New(DUAL, {"clusterIP": "fd00:10:96::a"}, "SingleStack", ("IPv6",), ("v6",)),
    New(DUAL, {**NONE, **PREFER}, "PreferDualStack", BOTH, ("None",)),
    New(DUAL, NO_SELECTOR, "RequireDualStack", BOTH, ("None",)),
]


@pytest.mark.parametrize("case", NEW, ids=str)
def test_families_of_a_new_service(case: New) -> None:
    cluster = allocator(*case.cidrs)
    untouched = free(cluster)
    stored = cluster.admit(service(**case.spec))
    spec = stored.spec
    assert (spec.ip_family_policy, spec.ip_families) == (case.policy, case.families)
    assert kinds(spec) == case.cluster_ips
    assert spec.cluster_ip == (spec.cluster_ips or ("",))[0]
    assert spec.ports[0].target_port == 80
    assert cluster.admit(stored, stored) == stored
    cluster.release(stored)
    assert free(cluster) == untouched


REFUSED_NEW: list[tuple[tuple[str, ...], dict[str, Any], list[str]]] = [
    (
        (V4,),
        REQUIRE,
        [
            POLICY_TOLD
            + '"RequireDualStack": this cluster is not configured for dual-stack services'
        ],
    ),
    (
        (V4,),
        {"ipFamilies": ["IPv6"]},
        ['spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'],
    ),
    (
        (V4,),
        {**REQUIRE, "ipFamilies": list(TURNED)},
        [
            POLICY_TOLD
            + '"RequireDualStack": this cluster is not configured for dual-stack services',
            'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
        ],
    ),
    (
        (V4,),
        {"clusterIP": "fd00::1"},
        ['spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster'],
    ),
    (
        DUAL,
        {"ipFamilies": list(BOTH)},
        [
            POLICY_TOLD + "\"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' "
            "when multiple IP families are specified"
        ],
    ),
    (
        (V4,),
        {"clusterIP": "10.96.0.10"},
        [
            (
                'spec.clusterIPs: Invalid value: ["10.96.0.10"]: '
                "failed to allocate IP 10.96.0.10: provided IP is already allocated"
            )
        ],
    ),
    (
        DUAL,
        {**REQUIRE, "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11", "fd00::1"]},
        [
            (
                'spec.clusterIPs: Invalid value: ["10.96.0.11","fd00::1"]: '
                "failed to allocate IP fd00::1: the provided network does not match the current"
                " range"
            )
        ],
    ),
    (
        DUAL,
        {"type": "NodePort", **REQUIRE, "ports": [{**HTTP, "nodePort": 30080}]},
        ["spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"],
    ),
    (
        (V4,),
        {"type": "NodePort", "ports": [{**HTTP, "nodePort": 80}]},
        [
            (
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range"
                ". The range of valid ports is 30000-32767"
            )
        ],
    ),
    (
        (V4,),
        {
            "type": "NodePort",
            "ports": [
                {"name": "a", "port": 53, "protocol": "UDP", "nodePort": 30053},
                {"name": "b", "port": 54, "protocol": "TCP", "nodePort": 30053},
            ],
        },
        ["spec.ports[1].nodePort: Invalid value: 30053: provided port is already allocated"],
    ),
    *(
        (
            (V4,),
            {
                "type": "LoadBalancer",
                "allocateLoadBalancerNodePorts": allocate,
                "ports": [
                    {"name": "a", "port": 53, "protocol": "UDP"},
                    {"name": "b", "port": 53, "protocol": "TCP", "nodePort": 53},
                ],
            },
            [
                (
                    f"spec.ports[{i}].nodePort: Invalid value: 53: provided port is not in the"
                    " valid range. The range of valid ports is 30000-32767"
                )
            ],
        )
        for allocate, i in [(True, 0), (False, 1)]  # where the server first needs the node port
    ),
    (
        (V4,),
        {
            "type": "NodePort",
            "ports": [
                {"name": "a", "port": 53, "protocol": "UDP", "nodePort": 30053},
                {"name": "b", "port": 53, "protocol": "SCTP"},
                {"name": "c", "port": 53, "protocol": "TCP", "nodePort": 30080},
            ],
        },
        ["spec.ports[2].nodePort: Invalid value: 30080: provided port is already allocated"],
    ),
    (
        (V4,),
        {"ports": [{**HTTP, "nodePort": 30081}]},
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ),
    (
        (V4,),
        {"type": "NodePort", **NONE},
        [HEADLESS_TOLD + "NodePort services"],
    ),
    (
        (V4,),
        {**TYPES["ExternalName"], "clusterIP": "10.96.0.11", "ipFamilies": ["IPv4"], **PREFER},
        [
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
            "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
        ],
    ),
    (
        (V4,),
        {"type": "LoadBalancer", "healthCheckNodePort": 30090},
        [
            (
                "spec.healthCheckNodePort: Invalid value: 30090: may only be set when "
                "`type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            )
        ],
    ),
]


@pytest.mark.parametrize(("cidrs", "spec", "problems"), REFUSED_NEW)
def test_refused_when_new(
    cidrs: tuple[str, ...], spec: dict[str, Any], problems: list[str]
) -> None:
    cluster = allocator(*cidrs)
    other = {"type": "NodePort", "clusterIP": "10.96.0.10", "ports": [{**HTTP, "nodePort": 30080}]}
    cluster.admit(service("other", **other))
    assert refused(cluster, service(**spec)) == told(problems)


FULL = 'failed to allocate a serviceIP for Service "web": range is full'
EXHAUSTED: list[tuple[tuple[str, ...], range, dict[str, Any], str]] = [
    (
        ("10.96.0.0/31",),
        range(30000, 30009),
        {},
        FULL,
    ),
    (
        (V4, "fd00::/128"),
        range(1),
        PREFER,
        FULL,
    ),
    (
        (V4,),
        range(30000, 30000),
        {"type": "NodePort"},
        "failed to allocate a nodePort: range is full",
    ),
    (
        (V4,),
        range(30000, 30001),
        LOCAL,
        "failed to allocate a HealthCheck NodePort 0: range is full",
    ),
]


@pytest.mark.parametrize(("cidrs", "node_ports", "spec", "problem"), EXHAUSTED)
def test_exhausted(
    cidrs: tuple[str, ...], node_ports: range, spec: dict[str, Any], problem: str
) -> None:
    cluster = allocator(*cidrs, node_ports=node_ports)
    assert refused(cluster, service(**spec)) == [f"Internal error occurred: {problem}"]


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (30001, "provided port is already allocated"),
        (80, "provided port is not in the valid range. The range of valid ports is 30000-30008"),
    ],
)
def test_a_refused_health_check_port_is_named(number: int, problem: str) -> None:
    cluster = allocator(V4, node_ports=range(30000, 30009))
    ports = [{**HTTP, "nodePort": 30001}]
    reason = f"failed to allocate requested HealthCheck NodePort {number}: {problem}"
    assert refused(cluster, service(**LOCAL, ports=ports, healthCheckNodePort=number)) == [
        f"Internal error occurred: {reason}"
    ]


@pytest.mark.parametrize(
    ("cidrs", "problem"),
    [
        ((), "--service-cluster-ip-range must contain one or two entries"),
        ((V4, V6, V4), "--service-cluster-ip-range must contain one or two entries"),
        (
            (V4, V4),
            (
                "--service-cluster-ip-range[0] and --service-cluster-ip-range[1] "
                "must be of different IP family"
            ),
        ),
    ],
)
def test_ranges_of_a_cluster(cidrs: tuple[str, ...], problem: str) -> None:
    with pytest.raises(BadInput) as error:
        Allocator(cidrs, Random(0))
    assert error.value.problems == [problem]


# --- node ports and health check node ports -------------------------------------------------


def test_protocols_of_one_port_have_one_node_port() -> None:
    cluster = allocator()
    first, second = cluster.admit(service(type="NodePort", ports=DNS)).spec.ports
    assert first.node_port == second.node_port >= 30086


def test_a_stated_node_port_counts_for_the_other_protocol() -> None:
    ports = [DNS[0], {**DNS[1], "nodePort": 30053}]
    stored = allocator().admit(service(type="NodePort", ports=ports))
    assert [port.node_port for port in stored.spec.ports] == [30053, 30053]


def test_a_load_balancer_without_node_ports() -> None:
    cluster = allocator()
    ports = [HTTP, {"name": "https", "port": 443, "nodePort": 30443}]
    new = service(type="LoadBalancer", ports=ports, allocateLoadBalancerNodePorts=False)
    stored = cluster.admit(new)
    assert [port.node_port for port in stored.spec.ports] == [0, 30443]
    node_port = cluster.admit(service("other", type="NodePort"))
    assert node_port.spec.ports[0].node_port


def test_health_check_node_port() -> None:
    cluster = allocator()
    before = free(cluster)
    stored = cluster.admit(service(**LOCAL))
    number = stored.spec.health_check_node_port
    assert number in range(30086, 32768)
    assert number != stored.spec.ports[0].node_port
    assert cluster.admit(service(**LOCAL), stored) == stored
    assert refused(cluster, service(**LOCAL, healthCheckNodePort=30001), stored) == [
        'Service "web" is invalid: spec.healthCheckNodePort: Forbidden: field is immutable'
    ]
    stored = cluster.admit(service(type="LoadBalancer", healthCheckNodePort=number), stored)
    assert stored.spec.health_check_node_port == 0
    cluster.release(stored)
    assert free(cluster) == before


def test_remembered_services_keep_what_they_have() -> None:
    first = allocator(*DUAL)
    stored = [
        first.admit(service("web", **LOCAL, **PREFER)),
        first.admit(service("dns", type="NodePort", ports=DNS)),
        first.admit(service("headless", **NONE)),
        first.admit(service("outside", type="ExternalName", externalName="a.example")),
    ]
    second = allocator(*DUAL)
    second.remember(stored)
    assert free(second) == free(first)
    assert second.admit(service("web", **LOCAL, **PREFER), stored[0]) == stored[0]
    before = free(second)
    with pytest.raises(BadInput) as error:
        second.remember([service("new", clusterIP="10.96.0.9"), stored[0]])
    assert len(error.value.problems) == 4  # two addresses, a node port, a health check node port
    assert all(each.startswith('Service "web" is invalid: ') for each in error.value.problems)
    assert free(second) == before


# --- any history -----------------------------------------------------------------------------

SPECS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([*TYPES.values(), NONE, {**NONE, "selector": {}}]),
        "policy": st.sampled_from([{}, SINGLE, PREFER, REQUIRE]),
        "ports": st.sampled_from([[HTTP], DNS, [{**HTTP, "nodePort": 30001}], [*DNS, HTTP]]),
        "ip": st.sampled_from([{}, {}, {"clusterIP": "10.96.0.2"}]),
    }
)
STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.none() | SPECS), max_size=25)


@settings(max_examples=150)
@given(steps=STEPS, seed=st.integers(0, 9))
def test_no_two_services_share_anything(
    steps: list[tuple[str, dict[str, Any] | None]], seed: int
) -> None:
    cluster = allocator("10.96.0.0/29", "fd00::/125", seed=seed, node_ports=range(30000, 30008))
    untouched = free(cluster)
    live: dict[str, Service] = {}
    for name, parts in steps:
        if parts is None:
            if name in live:
                cluster.release(live.pop(name))
            continue
        spec = {**parts["ip"], **parts["policy"], **parts["kind"], "ports": parts["ports"]}
        before = free(cluster)
        former = live.get(name)
        try:
            stored = cluster.admit(service(name, **spec), former)
        except BadInput:
            assert free(cluster) == before
            continue
        live[name] = stored
        assert cluster.admit(stored, stored) == stored
        if former is None or former.spec.type == stored.spec.type:
            # What the former type needed is dropped once, and refused when it is stated again.
            assert cluster.admit(service(name, **spec), stored) == stored
        check_nothing_is_shared(live)
        check_nothing_is_lost(cluster, untouched, live)
    for each in live.values():
        cluster.release(each)
    assert free(cluster) == untouched


def check_nothing_is_shared(live: dict[str, Service]) -> None:
    addresses = [ip for each in live.values() for ip in each.spec.cluster_ips if ip != "None"]
    assert len(addresses) == len(set(addresses))
    ports = [number for each in live.values() for number in numbers(each.spec)]
    assert len(ports) == len(set(ports))


def check_nothing_is_lost(
    cluster: Allocator, untouched: tuple[int, ...], live: dict[str, Service]
) -> None:
    held = [kind for each in live.values() for kind in kinds(each.spec)]
    ports = sum(len(numbers(each.spec)) for each in live.values())
    used = (held.count("v4"), held.count("v6"), ports)
    assert free(cluster) == tuple(a - b for a, b in zip(untouched, used, strict=True))


def numbers(spec: ServiceSpec) -> set[int]:
    if spec.type not in ("NodePort", "LoadBalancer"):
        return set()
    return {*(port.node_port for port in spec.ports), spec.health_check_node_port} - {0}
