"""Pods whose manifests name no port answer at the target ports of the Services that select them."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.forwarding.network import Packet
from kproxy.probe import connect_many
from kproxy.testing import delivered, refused
from netns_tests.control_plane.plane_lab import PlaneLab, connection, deployment, objects, traffic

V4 = Family.IPV4
# As `kubectl create deployment` and `kubectl create service` write them, with status and all.
CREATED = """
apiVersion: apps/v1
kind: Deployment
metadata: {{creationTimestamp: null, labels: {{app: web}}, name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{}}
  template:
    metadata: {{creationTimestamp: null, labels: {{app: web}}}}
    spec:
      {}
      containers:
      - {{image: nginx, name: nginx, resources: {{}}}}
status: {{}}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{creationTimestamp: null, labels: {{app: web}}, name: {}}}
spec:
  selector: {{app: web}}
  type: {}
  ports: {}
status: {{loadBalancer: {{}}}}
"""
HTTP = "[{name: http, port: 80, targetPort: 8080}]"


def created(more: str = "") -> list[KubernetesObject]:
    return [*objects(CREATED.format(more))]


def exposed(ports: str = HTTP, *, name: str = "web", kind: str = "ClusterIP") -> KubernetesObject:
    (found,) = objects(SERVICE.format(name, kind, ports))
    return found


def ask_pod(lab: PlaneLab, port: int, protocol: str = "TCP", pod: str = "web-1") -> object:
    return lab.connect("node-c", lab.pods[pod].addresses[V4], port, protocol)


SHAPES = [  # ports, the port asked, its protocol
    ("[{port: 80}]", 80, "TCP"),
    (HTTP, 80, "TCP"),
    ("[{name: dns, port: 53, protocol: UDP}]", 53, "UDP"),
    ("[{name: a, port: 1, targetPort: 8080}, {name: b, port: 2, targetPort: 9090}]", 2, "TCP"),
]


@pytest.mark.parametrize(("ports", "port", "protocol"), SHAPES)
def test_created_and_exposed(lab: PlaneLab, ports: str, port: int, protocol: str) -> None:
    lab.apply([*created(), exposed(ports)])
    address = lab.service().spec.cluster_ip
    for client in ("shell", "node-a"):
        asked = (client, address, port, protocol)
        assert lab.connect(*asked) == delivered("web-1", "web-2")
        assert lab.predict(*asked) == delivered("web-1", "web-2")
    assert not lab.warnings


def test_without_a_service_it_is_port_80(bare_lab: PlaneLab) -> None:
    lab = bare_lab
    lab.apply(created())
    assert ask_pod(lab, 80) == delivered("web-1")
    assert ask_pod(lab, 8080) == refused("web-1")


def test_ports_follow_the_services(bare_lab: PlaneLab) -> None:
    """It does not matter which comes first, and nothing stays open that nobody asks for."""
    lab = bare_lab
    lab.apply(created())
    lab.apply([exposed(kind="NodePort")])
    assert ask_pod(lab, 8080) == delivered("web-1")
    assert ask_pod(lab, 80) == refused("web-1")
    lab.scale("web", 3)
    assert ask_pod(lab, 8080, pod="web-3") == delivered("web-3")
    lab.apply([exposed("[{port: 9090}]", name="metrics")])
    assert ask_pod(lab, 9090) == delivered("web-1")
    lab.pod("web-1").restart()
    assert ask_pod(lab, 9090) == delivered("web-1")
    lab.delete([("Service", "default", "web")])
    assert ask_pod(lab, 8080) == refused("web-1")
    assert ask_pod(lab, 9090) == delivered("web-1")
    lab.delete([("Service", "default", "metrics")])
    assert ask_pod(lab, 80) == delivered("web-1")


def test_a_change_of_the_target_port_refuses_nobody(lab: PlaneLab) -> None:
    """Open connections stay, and new ones are answered before and after the nodes learn of it."""
    lab.apply([*created(), exposed()])
    to = Packet(client="shell", address=lab.service().spec.cluster_ip, port=80)
    with traffic(lab, [to]) as seen:
        for port in (9090, 8080, 9091):
            lab.apply([exposed(f"[{{name: http, port: 80, targetPort: {port}}}]")])
    assert seen.failed == []
    with connection(lab, to) as sock:
        lab.apply([exposed()])
        sock.sendall(b"who?\n")
        assert sock.makefile("rb").readline().startswith(b'{"pod": "web-')


def test_a_named_port_that_no_pod_has_is_no_endpoint(bare_lab: PlaneLab) -> None:
    lab = bare_lab
    lab.apply([*created(), exposed("[{port: 80, targetPort: http}]")])
    (told,) = lab.warnings["Service", "default", "web"]
    assert told == "spec.ports[0].targetPort: no selected Pod has a port named 'http' (TCP)"


TARGETS = [  # the Service's port, its protocol -> what is said
    ("{port: 80, targetPort: 9090}", "9090/TCP"),
    ("{port: 80}", "80/TCP"),
    ("{port: 53, targetPort: 9999, protocol: UDP}", "9999/UDP"),
    ("{port: 80, targetPort: 8080}", ""),
]


@pytest.mark.parametrize(("port", "said"), TARGETS)
def test_a_target_port_that_no_pod_names(bare_lab: PlaneLab, port: str, said: str) -> None:
    lab = bare_lab
    lab.apply([deployment(replicas=1), exposed(f"[{port}]")])
    told = lab.warnings.get(("Service", "default", "web"), ())
    names = f"no selected Pod names {said}, so connections are refused; they name 8080/TCP"
    assert [names in each for each in told] == ([True] if said else [])
    lab.scale("web", 0)
    assert lab.warnings[("Service", "default", "web")] == ("spec.selector matches no Pod",)


def test_a_port_of_the_node_that_is_taken(bare_lab: PlaneLab) -> None:
    """Two pods of the host network on one node: the second one cannot answer, and that is said."""
    lab = bare_lab
    lab.apply([*created("nodeName: node-a\n      hostNetwork: true"), exposed()])
    (warned,) = (key for key in lab.warnings if key[0] == "Pod")
    assert "pod web-2: 8080/TCP of lab-node-a is taken" in lab.warnings[warned]
    address = lab.nodes["node-a"].addresses[V4]
    (how,) = connect_many(lab, [Packet(client="node-b", address=address, port=8080)])
    assert how.pod == "web-1"
    assert lab.connect("node-b", address, 80) == refused("node-a")
