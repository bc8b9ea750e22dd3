"""An object that may surprise has a warning until its cause is removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from kproxy.api.types import KubernetesObject
from kproxy.store import ObjectKey
from netns_tests.control_plane.plane_lab import PlaneLab, deployment, objects, service


def a_service(port: str, selector: str = "{app: web}") -> KubernetesObject:
    (found,) = objects(f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: web}}
        spec: {{selector: {selector}, ports: [{{port: 80, targetPort: {port}}}]}}
        """)
    return found


def a_pod(spec: str, name: str = "odd") -> KubernetesObject:
    containers = "containers: [{name: answer, image: answer, ports: [{containerPort: 8080}]}]"
    (found,) = objects(f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: {name}, labels: {{app: web}}}}
        spec: {{{spec}, {containers}}}
        """)
    return found


def a_dns_server(name: str) -> KubernetesObject:
    (found,) = objects(f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: {name}}}
        spec: {{hostNetwork: true, nodeName: node-a, containers: [{{name: dns, image: coredns}}]}}
        """)
    return found


WEB: ObjectKey = ("Service", "default", "web")
ODD: ObjectKey = ("Pod", "default", "odd")


@dataclass(frozen=True, slots=True)
class Case:
    """A warning, and `cure`, which removes its cause."""

    name: str
    written: tuple[KubernetesObject, ...]
    told: dict[ObjectKey, tuple[str, ...]]
    cure: Callable[[PlaneLab], object]

    def __str__(self) -> str:
        return self.name


PENDING = "status.loadBalancer is pending"
NOWHERE = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
UNKNOWN = (
    "spec.nodeName: Node 'node-x' does not exist; it stays Pending (a real cluster deletes such a"
    " Pod)"
)
CASES = [
    Case(
        "what the API server warns of",
        (deployment(replicas=1), service(more="externalIPs: [203.0.113.7], externalName: a")),
        {
            WEB: (
                "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
                'spec.externalName is ignored when spec.type is not "ExternalName"',
            )
        },
        lambda lab: lab.apply([service()]),
    ),
    Case(
        "a selector that matches nothing",
        (a_service("8080"),),
        {WEB: ("spec.selector matches no Pod",)},
        lambda lab: lab.apply([deployment(replicas=1)]),
    ),
    Case(
        "a port that no pod has",
        (deployment(replicas=1), a_service("metrics")),
        {WEB: ("spec.ports[0].targetPort: no selected Pod has a port named 'metrics' (TCP)",)},
        lambda lab: lab.apply([a_service("http")]),
    ),
    Case(
        "a Pod that fits no Node has no IP",
        (a_service("8080"), a_pod("nodeSelector: {disk: ssd}")),
        {ODD: (NOWHERE,), WEB: ("Pod odd has no IP address yet",)},
        lambda lab: (lab.delete([ODD]), lab.apply([deployment(replicas=1)])),
    ),
    Case(
        "a Pod on a Node that is unknown",
        (a_service("8080"), a_pod("nodeName: node-x")),
        {
            ODD: (UNKNOWN,),
            WEB: ("Pod odd has no IP address yet",),
        },
        lambda lab: (lab.delete([ODD]), lab.apply([deployment(replicas=1)])),
    ),
    Case(
        "a load balancer without a controller",
        (
            deployment(replicas=1),
            service(more="type: LoadBalancer, loadBalancerClass: example.org/none"),
        ),
        {WEB: (f"{PENDING}: no controller serves spec.loadBalancerClass 'example.org/none'",)},
        lambda lab: lab.apply([service(more="type: NodePort")]),
    ),
    Case(
        "an address that no pool has",
        (
            deployment(replicas=1),
            service(more="type: LoadBalancer, loadBalancerIP: 192.168.30.9"),
        ),
        {
            WEB: (
                f"{PENDING}: spec.loadBalancerIP: 192.168.30.9 is not in the pool 192.168.30.0/30",
            )
        },
        lambda lab: lab.apply([service()]),
    ),
    Case(
        "a name that is another host's",
        (a_pod("terminationGracePeriodSeconds: 1", name="node-b"),),
        {("Pod", "default", "node-b"): ("pod node-b: this name of a host is taken",)},
        lambda lab: lab.delete([("Pod", "default", "node-b")]),
    ),
    Case(
        "a second DNS server on the node's port",
        (a_dns_server("first"), a_dns_server("second")),
        {("Pod", "default", "second"): ("pod second: port 53 of lab-node-a is taken",)},
        lambda lab: lab.delete([("Pod", "default", "first")]),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_ends_with_its_cause(bare_lab: PlaneLab, case: Case) -> None:
    lab = bare_lab
    assert not lab.warnings
    lab.apply(case.written)
    assert lab.warnings == case.told
    case.cure(lab)
    assert not lab.warnings
