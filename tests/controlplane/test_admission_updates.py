"""Updates of Services: what stays, what is allocated and freed, what is refused."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from tests.controlplane.services import (
    BOTH,
    DUAL,
    HEADLESS_TOLD,
    HTTP,
    NONE,
    POLICY_TOLD,
    PREFER,
    REQUIRE,
    SINGLE,
    TYPES,
    V4,
    allocator,
    free,
    kinds,
    refused,
    service,
    told,
)

HOLDS = {  # addresses, node ports
    "ClusterIP": (1, 0),
    "NodePort": (1, 1),
    "LoadBalancer": (1, 1),
    "Local": (1, 2),
    "ExternalName": (0, 0),
}


@pytest.mark.parametrize("before", TYPES)
@pytest.mark.parametrize("after", TYPES)
def test_transitions_between_types(before: str, after: str) -> None:
    cluster = allocator()
    untouched = free(cluster)
    former = cluster.admit(service(**TYPES[before]))
    stored = cluster.admit(service(**TYPES[after]), former)
    held = tuple(was - now for was, now in zip(untouched, free(cluster), strict=True))
    assert held == HOLDS[after]
    if HOLDS[before][0] and HOLDS[after][0]:
        assert stored.spec.cluster_ips == former.spec.cluster_ips
    if HOLDS[before][1] and HOLDS[after][1]:
        assert stored.spec.ports == former.spec.ports
    assert (stored.spec.ip_families, stored.spec.ip_family_policy) == (
        ((), None) if after == "ExternalName" else (("IPv4",), "SingleStack")
    )
    # The same, and the manifest still states everything that the former one had.
    edited = replace(
        former.spec,
        type=stored.spec.type,
        external_traffic_policy=stored.spec.external_traffic_policy,
        external_name=stored.spec.external_name,
    )
    back = cluster.admit(former, stored)
    again = cluster.admit(replace(former, spec=edited), back)
    assert [HOLDS[after]] == [
        tuple(was - now for was, now in zip(untouched, free(cluster), strict=True))
    ]
    cluster.release(again)
    assert free(cluster) == untouched


class Update(NamedTuple):
    former: dict[str, Any]
    new: dict[str, Any]
    cluster_ips: tuple[str, ...]
    policy: str


DUAL_IPS = ["10.96.0.10", "fd00:10:96::a"]
BOTH_STATED = {
    **PREFER,
    "clusterIP": DUAL_IPS[0],
    "clusterIPs": DUAL_IPS,
    "ipFamilies": list(BOTH),
}
UPDATES = [
    Update({}, {}, ("v4",), "SingleStack"),
    Update({}, PREFER, ("v4", "v6"), "PreferDualStack"),
    Update({}, REQUIRE, ("v4", "v6"), "RequireDualStack"),
    Update({"ipFamilies": ["IPv6"]}, PREFER, ("v6", "v4"), "PreferDualStack"),
    Update({}, {**REQUIRE, "ipFamilies": list(BOTH)}, ("v4", "v6"), "RequireDualStack"),
    Update(PREFER, {}, ("v4", "v6"), "PreferDualStack"),
    Update(PREFER, REQUIRE, ("v4", "v6"), "RequireDualStack"),
    Update(PREFER, SINGLE, ("v4",), "SingleStack"),
    Update(REQUIRE, {**SINGLE, "ipFamilies": ["IPv4"]}, ("v4",), "SingleStack"),
    Update(REQUIRE, {**SINGLE, "ipFamilies": list(BOTH)}, ("v4",), "SingleStack"),
    Update(BOTH_STATED, {**SINGLE, "clusterIP": DUAL_IPS[0]}, ("v4",), "SingleStack"),
    Update(BOTH_STATED, {**PREFER, "clusterIP": DUAL_IPS[0]}, ("v4", "v6"), "PreferDualStack"),
    Update(NONE, {}, ("None",), "SingleStack"),
    Update(NONE, PREFER, ("None",), "PreferDualStack"),
]


@pytest.mark.parametrize("case", UPDATES, ids=str)
def test_families_of_an_update(case: Update) -> None:
    cluster = allocator(*DUAL)
    untouched = free(cluster)
    former = cluster.admit(service(**case.former))
    stored = cluster.admit(service(**case.new), former)
    assert (kinds(stored.spec), stored.spec.ip_family_policy) == (case.cluster_ips, case.policy)
    assert stored.spec.cluster_ip == former.spec.cluster_ip
    held = tuple(was - now for was, now in zip(untouched, free(cluster), strict=True))
    assert held == (case.cluster_ips.count("v4"), case.cluster_ips.count("v6"), 0)
    cluster.release(stored)
    assert free(cluster) == untouched


IP = {"clusterIP": "10.96.0.10"}
FIXED = "may not change once set"
FIRST = "first value must match `clusterIP`"
RELEASES = "must be 'SingleStack' to release the secondary"
REFUSED_UPDATES: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        IP,
        {"clusterIP": "10.96.0.11"},
        ['spec.clusterIPs[0]: Invalid value: ["10.96.0.11"]: ' + FIXED],
    ),
    (IP, NONE, ['spec.clusterIPs[0]: Invalid value: ["None"]: ' + FIXED]),
    (NONE, IP, ['spec.clusterIPs[0]: Invalid value: ["10.96.0.10"]: ' + FIXED]),
    (
        IP,
        {"ipFamilies": ["IPv6"]},
        [
            (
                'spec.clusterIPs[0]: Invalid value: "10.96.0.10": '
                "expected an IPv6 value as indicated by `ipFamilies[0]`"
            )
        ],
    ),
    (
        BOTH_STATED,
        {"clusterIPs": ["10.96.0.10", "fd00:10:96::b"]},
        ['spec.clusterIPs[1]: Invalid value: ["10.96.0.10","fd00:10:96::b"]: ' + FIXED],
    ),
    (
        BOTH_STATED,
        {"clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"]},
        [POLICY_TOLD + f'"PreferDualStack": {RELEASES} cluster IP'],
    ),
    (
        BOTH_STATED,
        {"ipFamilies": ["IPv4"]},
        [POLICY_TOLD + f'"PreferDualStack": {RELEASES} IP family'],
    ),
    (
        IP,
        {**REQUIRE, "clusterIPs": ["10.96.0.11", "fd00:10:96::b"]},
        ['spec.clusterIPs: Invalid value: ["10.96.0.11","fd00:10:96::b"]: ' + FIRST],
    ),
    (
        BOTH_STATED,
        {**PREFER, "clusterIP": DUAL_IPS[0], "clusterIPs": DUAL_IPS[:1]},
        [POLICY_TOLD + f'"PreferDualStack": {RELEASES} cluster IP'],
    ),
    (
        IP,
        {**REQUIRE, "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11", "fd00:10:96::b"]},
        ['spec.clusterIPs[0]: Invalid value: ["10.96.0.11","fd00:10:96::b"]: ' + FIXED],
    ),
    (
        IP,
        {"type": "NodePort", "ports": [{**HTTP, "nodePort": 30080}]},
        ["spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"],
    ),
    (
        {"type": "NodePort", **IP},
        {"ports": [{**HTTP, "nodePort": 30081}]},
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ),
    *(
        (
            {"type": "LoadBalancer", **former},
            {"type": "LoadBalancer", **new},
            [f"spec.loadBalancerClass: Invalid value: {shown}: may not change once set"],
        )
        for former, new, shown in (
            ({}, {"loadBalancerClass": "a"}, '"a"'),
            ({"loadBalancerClass": "a"}, {"loadBalancerClass": "b"}, '"b"'),
            ({"loadBalancerClass": "a"}, {}, '"null"'),
        )
    ),
    (
        {"type": "LoadBalancer", "loadBalancerClass": "a"},
        {"loadBalancerClass": "b", "externalTrafficPolicy": "Local"},
        [
            ("spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"),
            (
                'spec.externalTrafficPolicy: Invalid value: "Local": '
                "may only be set for externally-accessible services"
            ),
        ],
    ),
    (
        NONE,
        {"type": "LoadBalancer"},
        [HEADLESS_TOLD + "LoadBalancer services"],
    ),
]


@pytest.mark.parametrize(("former", "new", "problems"), REFUSED_UPDATES)
def test_refused_updates(former: dict[str, Any], new: dict[str, Any], problems: list[str]) -> None:
    cluster = allocator(*DUAL)
    cluster.admit(service("other", type="NodePort", ports=[{**HTTP, "nodePort": 30080}]))
    stored = cluster.admit(service(**former))
    assert refused(cluster, service(**new), stored) == told(problems)
    assert cluster.admit(stored, stored) == stored


@pytest.mark.parametrize("new", [{}, {"type": "NodePort"}])
def test_another_type_drops_what_it_has_no_use_for(new: dict[str, Any]) -> None:
    stated: dict[str, Any] = {
        "loadBalancerClass": "a",
        "allocateLoadBalancerNodePorts": False,
        "externalTrafficPolicy": "Local",
    }
    cluster = allocator()
    former = cluster.admit(service(type="LoadBalancer", **stated))
    spec = cluster.admit(service(**stated, **new), former).spec
    assert (spec.load_balancer_class, spec.allocate_load_balancer_node_ports) == (None, None)
    assert spec.external_traffic_policy == ("Local" if new else None)


def test_a_load_balancer_may_get_another_class_by_way_of_another_type() -> None:
    cluster = allocator()
    stored = cluster.admit(service(type="LoadBalancer", loadBalancerClass="a"))
    stored = cluster.admit(service(type="NodePort"), stored)
    stored = cluster.admit(service(type="LoadBalancer", loadBalancerClass="b"), stored)
    assert stored.spec.load_balancer_class == "b"


def test_node_ports_follow_the_names_of_ports() -> None:
    cluster = allocator()
    former = cluster.admit(service(type="NodePort", ports=[HTTP, {"name": "https", "port": 443}]))
    ports = [{"name": "https", "port": 8443}, {"name": "metrics", "port": 9090}]
    stored = cluster.admit(service(type="NodePort", ports=ports), former)
    http, https = (port.node_port for port in former.spec.ports)
    assert stored.spec.ports[0].node_port == https
    assert stored.spec.ports[1].node_port not in (0, http, https)
    again = service("other", type="NodePort", ports=[{**HTTP, "nodePort": http}])
    assert cluster.admit(again).spec.ports[0].node_port == http


def test_a_node_port_goes_to_the_port_that_states_it() -> None:
    cluster = allocator()
    former = cluster.admit(service(type="NodePort"))
    number = former.spec.ports[0].node_port
    ports = [{"name": "web", "port": 8080, "nodePort": number}, HTTP]
    web, http = cluster.admit(service(type="NodePort", ports=ports), former).spec.ports
    assert web.node_port == number
    assert http.node_port not in (0, number)


def test_a_preferred_second_family_is_not_added_because_the_cluster_has_it_now() -> None:
    stored = allocator(V4).admit(service(**PREFER))
    cluster = allocator(*DUAL)
    cluster.remember([stored])
    assert cluster.admit(stored, stored) == stored
    required = cluster.admit(service(**REQUIRE), stored)
    assert kinds(required.spec) == ("v4", "v6")


def test_an_update_may_not_state_a_node_port_twice_for_one_protocol() -> None:
    """The API server finds this while it allocates, and calls it no fault of a field."""
    cluster = allocator()
    stored = cluster.admit(service(type="NodePort"))
    ports = [{"name": name, "port": 80 + i, "nodePort": 30090} for i, name in enumerate("ab")]
    problems = refused(cluster, service(type="NodePort", ports=ports), stored)
    assert problems == ["duplicate nodePort: {TCP 30090}"]
