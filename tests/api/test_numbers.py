"""Numbers are judged by value: 80.0 is 80, as for Kubernetes' tools, which read YAML into JSON."""

from __future__ import annotations

import json

import pytest

from kproxy.api.types import Deployment, EndpointSlice, Node, Service
from tests.api.objects import stored

HELM = """\
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 1.08e+04}}
  ports: [{port: 80.0, targetPort: 8443.0, nodePort: 3.0443e+04}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{port: 8.08e+03}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 1e+0
  selector: {matchLabels: {a: b}}
  strategy: {rollingUpdate: {maxSurge: 2.0}}
  template:
    metadata: {labels: {a: b}}
    spec:
      terminationGracePeriodSeconds: 3e1
      containers:
      - {name: a, image: a, ports: [{containerPort: 0o120}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-a}
status: {capacity: {cpu: 4.0}, allocatable: {cpu: 3.92}}
"""


def test_whole_numbers_are_integers() -> None:
    decoded = stored(HELM, "f")
    assert decoded.problems == ()
    service, slice_, deployment, node = decoded.objects
    assert isinstance(service, Service)
    port = service.spec.ports[0]
    assert (port.port, port.target_port, port.node_port) == (80, 8443, 30443)
    assert service.spec.session_affinity_config
    assert service.spec.session_affinity_config.client_ip
    assert service.spec.session_affinity_config.client_ip.timeout_seconds == 10800
    assert isinstance(slice_, EndpointSlice)
    assert slice_.ports[0].port == 8080
    assert isinstance(deployment, Deployment)
    assert deployment.spec.replicas == 1
    assert deployment.spec.strategy.rolling_update.max_surge == 2
    pod = deployment.spec.template.spec
    assert pod.termination_grace_period_seconds == 30
    assert pod.containers[0].ports[0].container_port == 80
    assert isinstance(node, Node)
    assert (node.status.capacity.cpu, node.status.allocatable.cpu) == (4, 3.92)


BY_FORMAT = [  # a number in YAML or JSON -> the port, or what is said
    ("80.0", 80),
    ("8.0e1", 80),
    ("8E1", 80),
    ("800e-1", 80),
    ("80.5", "expected an integer, got 80.5"),
    ("1e-3", "expected an integer, got 0.001"),
    ("1e6", "1000000 is not in 1..65535"),
    ("-80.0", "-80 is not in 1..65535"),
    ('"80.0"', "expected an integer, got '80.0'"),
]


@pytest.mark.parametrize(("number", "found"), BY_FORMAT)
@pytest.mark.parametrize("where", ["f.json", "f.yaml"])
def test_in_every_format(number: str, found: int | str, where: str) -> None:
    meta = json.dumps({"name": "web"})
    text = (
        f'{{"apiVersion": "v1", "kind": "Service", "metadata": {meta},'
        f' "spec": {{"ports": [{{"port": {number}}}]}}}}'
    )
    if where == "f.yaml":
        text = f"---\n{text}"  # which JSON does not have
    decoded = stored(text, where)
    if isinstance(found, int):
        (service,) = decoded.objects
        assert isinstance(service, Service)
        assert service.spec.ports[0].port == found
        assert type(service.spec.ports[0].port) is int
    else:
        (problem,) = decoded.problems
        assert problem.endswith(f": Service web: spec.ports[0].port: {found}")


@pytest.mark.parametrize("name", ["1.0", "1e3", "on", "0o17"])
def test_what_is_to_be_text_is_never_a_number(name: str) -> None:
    (problem,) = stored(f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}", "f").problems
    assert problem.startswith("f:3: Node: metadata.name: expected a string, got ")
