"""A pod that is not ready gets no more connections once a verb has returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kproxy.testing import delivered, refused
from netns_tests.control_plane.plane_lab import (
    PlaneLab,
    check_served,
    check_unserved,
    deployment,
    known,
    service,
)
from netns_tests.services.service_lab import resolve_all

PROBES: Mapping[str, str] = {  # a period that no test waits for
    "http": "{httpGet: {path: /ready, port: http}, periodSeconds: 300, timeoutSeconds: 30}",
    "tcp": "{tcpSocket: {port: 8080}, periodSeconds: 300, timeoutSeconds: 30}",
    "none": "",
}
TYPES = {"http": "LoadBalancer", "tcp": "LoadBalancer", "none": "NodePort"}
FAILURES = {"http": "HTTP 503", "tcp": "refused"}
WATCHED = (
    "{httpGet: {path: /ready, port: http}, periodSeconds: 1, timeoutSeconds: 30,"
    " failureThreshold: 1}"
)


def test_one_of_three(lab: PlaneLab) -> None:
    """This holds with every kind of probe."""
    lab.apply([deployment(name, probe=probe) for name, probe in PROBES.items()])
    lab.apply([service(name, of=name, more=f"type: {TYPES[name]}") for name in PROBES])
    lab.apply([service(f"{name}-pods", of=name, more="clusterIP: None") for name in PROBES])
    all_pods = {name: [f"{name}-{number}" for number in (1, 2, 3)] for name in PROBES}
    others = {name: [f"{name}-1", f"{name}-3"] for name in PROBES}
    addresses = lab.addresses(*(f"{name}-2" for name in PROBES))
    check_all(lab, all_pods)
    assert known(lab, addresses) == {*addresses}
    for name in PROBES:
        lab.pod(f"{name}-2").fail_readiness()
        assert not lab.pod(f"{name}-2").ready
    check_all(lab, others)
    assert not known(lab, addresses)
    for name, failure in FAILURES.items():
        (warning,) = lab.warnings["Pod", "default", f"{name}-2"]
        assert warning.startswith("readiness probe failed: ")
        assert failure in warning
    for name in PROBES:
        lab.pod(f"{name}-2").pass_readiness()
    check_all(lab, all_pods)
    assert not lab.warnings


def check_all(lab: PlaneLab, serving: Mapping[str, Sequence[str]]) -> None:
    """Check by packets and by name."""
    for name, pods in serving.items():
        check_served(lab, *pods, by=name)
    names = [f"{name}-pods" for name in serving]
    expected = {f"{name}-pods": lab.addresses(*pods) for name, pods in serving.items()}
    assert resolve_all(lab, names) == expected


def test_all(lab: PlaneLab) -> None:
    pods = ("web-1", "web-2")
    lab.apply([deployment(replicas=2), service(), service("pods", more="clusterIP: None")])
    for pod in pods:
        lab.pod(pod).fail_readiness()
    check_unserved(lab, refused())
    assert not known(lab, lab.addresses(*pods))
    assert resolve_all(lab, ["pods"]) == {"pods": []}
    for pod in pods:
        lab.pod(pod).pass_readiness()
    check_served(lab, *pods)


def test_the_load_balancer_follows(lab: PlaneLab) -> None:
    """With externalTrafficPolicy Local its address moves to a node with a ready pod."""
    local = service(more="type: LoadBalancer, externalTrafficPolicy: Local")
    lab.apply([deployment(replicas=2), local])
    for ready, other in (("web-1", "web-2"), ("web-2", "web-1")):
        lab.pod(ready).pass_readiness()
        lab.pod(other).fail_readiness()
        for vip in lab.vips("web"):
            assert lab.connect("outside", vip, 80) == delivered(ready, source="outside")
    lab.pod("web-2").fail_readiness()
    for vip in lab.vips("web"):
        assert lab.connect("outside", vip, 80) == refused()


def test_a_pod_that_fails_by_itself(lab: PlaneLab) -> None:
    """The kubelet finds out by its probe, and every node follows."""
    lab.apply([deployment(replicas=2, probe=WATCHED), service()])
    lab.break_pod("web-2", healthy=False)
    assert lab.wait_for(lambda: not lab.pod("web-2").ready)
    check_served(lab, "web-1")
    assert not known(lab, lab.addresses("web-2"))
    lab.break_pod("web-2", healthy=True)
    assert lab.wait_for(lambda: lab.pod("web-2").ready)
    check_served(lab, "web-1", "web-2")
