"""A control plane on every network: pods, their names, and load balancers without a cloud."""

from __future__ import annotations

import pytest

from kproxy.api.types import Service
from kproxy.lab import ClientSpec, LabSpec, NodeSpec
from kproxy.lab.models import MODELS
from kproxy.testing import delivered
from kproxy.testing.lab import LabFactory

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: web, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.mark.parametrize("network", MODELS)
def test_a_service_is_reached_by_name_and_from_outside(
    kproxy_lab: LabFactory, network: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    manifest = tmp_path_factory.mktemp("manifest") / "web.yaml"
    manifest.write_text(MANIFEST)
    lab = kproxy_lab(
        LabSpec(
            nodes=(NodeSpec(name="node-a"), NodeSpec(name="node-b")),
            clients=(ClientSpec(name="outside"),),
            network=network,
            control_plane=True,
        ),
        manifests=[manifest],
    )
    service = lab.get("Service", "web")
    assert isinstance(service, Service)
    vips = [each.ip for each in service.status.load_balancer.ingress]
    assert len(vips) == 2
    for vip in vips:
        assert lab.connect("outside", vip, 80) == delivered("web-1", "web-2")
    done = lab.pod("web-1").run(["curl", "-sS", "--max-time", "20", "http://web.default"])
    assert '"pod": "web-' in done.stdout, done.stderr
