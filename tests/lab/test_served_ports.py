"""A Pod that names no port serves what it would be asked for."""

from __future__ import annotations

import pytest

from kproxy.api import decode
from kproxy.api.types import Pod, Service
from kproxy.lab.cluster.served_ports import asked_for, declared, names_none


def pod(containers: str = "[{name: web, image: web}]", more: str = "") -> Pod:
    (found,) = decode(
        f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: web, labels: {{app: web, tier: front}}}}
        spec: {{{more} containers: {containers}}}
        """,
        "f",
    ).objects
    assert isinstance(found, Pod)
    return found


def service(ports: str, selector: str = "{app: web}", more: str = "") -> Service:
    decoded = decode(
        f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: web}}
        spec: {{{more} selector: {selector}, ports: {ports}}}
        """,
        "f",
    )
    assert not decoded.problems, decoded.problems
    (found,) = decoded.objects
    assert isinstance(found, Service)
    return found


ASKED = [  # Services -> the ports served
    ([], ["80/TCP"]),
    ([service("[{port: 80}]")], ["80/TCP"]),
    ([service("[{port: 80, targetPort: 8080}]")], ["8080/TCP"]),
    ([service("[{port: 53, protocol: UDP}]")], ["53/UDP"]),
    (
        [service("[{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, protocol: SCTP}]")],
        ["8080/TCP", "81/SCTP"],
    ),
    ([service("[{port: 80, targetPort: 1}]"), service("[{port: 81, targetPort: 1}]")], ["1/TCP"]),
    ([service("[{port: 80, targetPort: http}]")], ["80/TCP"]),  # it is no endpoint of that
    ([service("[{port: 5432}]", more="clusterIP: None,")], ["5432/TCP"]),
    ([service("[{port: 9090}]", "{app: web, tier: back}")], ["80/TCP"]),
    ([service("[{port: 9090}]", "{app: web, tier: front}")], ["9090/TCP"]),
    (
        [service("[{port: 9090}]", more="type: ExternalName, externalName: example.org,")],
        ["80/TCP"],
    ),
]


@pytest.mark.parametrize(("services", "ports"), ASKED)
def test_target_ports_of_the_services_that_select_it(
    services: list[Service], ports: list[str]
) -> None:
    served = asked_for(pod(), services)
    assert [f"{each.port}/{each.protocol}" for each in served] == ports


PROBED = [
    ("httpGet: {port: 8081}", [80, 8081]),
    ("tcpSocket: {port: 80}", [80]),
    ("httpGet: {port: web}", [80]),
]


@pytest.mark.parametrize(("probe", "ports"), PROBED)
def test_its_probe_is_answered(probe: str, ports: list[int]) -> None:
    probed = pod(f"[{{name: web, image: web, readinessProbe: {{{probe}}}}}]")
    assert [each.port for each in asked_for(probed, [])] == ports


def test_on_the_host_network_nothing_is_served_unasked() -> None:
    on_host = pod(more="hostNetwork: true,")
    assert asked_for(on_host, []) == ()
    assert [each.port for each in asked_for(on_host, [service("[{port: 9100}]")])] == [9100]


NAMES_NONE = [  # containers -> whether they name no port
    ("[{name: web, image: web}]", True),
    ("[{name: web, image: web}, {name: log, image: log}]", True),
    ("[{name: web, image: web}, {name: proxy, image: p, ports: [{containerPort: 1}]}]", False),
    ("[{name: dns, image: registry.k8s.io/coredns/coredns:v1}]", False),
]


@pytest.mark.parametrize(("containers", "none"), NAMES_NONE)
def test_a_pod_that_names_a_port_serves_just_those(containers: str, none: bool) -> None:
    found = pod(containers)
    assert names_none(found) is none
    assert [each.port for each in declared(found)] == ([1] if "proxy" in containers else [])
