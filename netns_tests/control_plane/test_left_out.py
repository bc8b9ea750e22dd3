"""A lab says what it leaves out of manifests, and what it waits for in vain."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from kproxy.errors import KproxyError, TimedOut
from kproxy.testing import LabFactory
from netns_tests.control_plane.plane_lab import PlaneLab, deployment, service

CHART = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: prod}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {affinity: {nodeAffinity: {}}, containers: [{name: db, image: db}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: prod}
data: {a: b}
---
apiVersion: v1
kind: Pod
metadata: {name: edge, labels: {app: edge}}
spec:
  containers: [{name: edge, image: nginx, ports: [{containerPort: 8080, hostPort: 443}]}]
"""
POLICY, STATEFUL = ("NetworkPolicy", "default", "deny"), ("StatefulSet", "prod", "db")
JOB, EDGE = ("Job", "default", "once"), ("Pod", "default", "edge")


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    path = tmp_path / "chart.yaml"
    path.write_text(CHART)
    return path


def test_until_it_is_deleted(
    bare_lab: PlaneLab, chart: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab = bare_lab
    with caplog.at_level(logging.WARNING, "kproxy"):
        lab.apply(chart)
    assert {*lab.warnings} == {POLICY, STATEFUL, JOB, EDGE} == {*lab.left_out}
    (told,) = lab.warnings[EDGE]
    assert told.startswith("spec.containers[0].ports[0].hostPort is not supported and left out")
    (told,) = lab.warnings[STATEFUL]
    assert told.startswith("spec.template.spec.affinity is not supported and left out")
    assert lab.plane.get(POLICY)  # though nothing enforces it
    logged = [record.message for record in caplog.records]
    assert any(each.startswith("NetworkPolicy deny: left out: ") for each in logged)
    assert any(each.startswith("Job once: left out: ") for each in logged)
    caplog.clear()
    lab.apply(chart)
    assert not caplog.records
    lab.delete([EDGE])
    assert {*lab.warnings} == {POLICY, STATEFUL, JOB}
    lab.apply(chart)
    lab.delete(chart)
    assert not lab.warnings


def test_until_it_is_replaced(bare_lab: PlaneLab, chart: Path) -> None:
    lab = bare_lab
    lab.apply(chart)
    lab.replace([deployment(replicas=0)])
    assert not lab.left_out


def test_without_a_control_plane(tmp_path: Path) -> None:
    """Objects are taken as they are there, and pods are run by somebody else."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("---".join(CHART.split("---")[:2]))
    with LabFactory() as factory:
        lab = factory(manifests=[policy])
        assert {*lab.warnings} == {POLICY, STATEFUL}
        (told,) = lab.warnings[STATEFUL]
        assert told == "left out: this lab does not run it, so its Pods do not exist"
        lab.delete(policy)
        assert not lab.warnings


def test_what_is_seen_after_waiting_in_vain(bare_lab: PlaneLab) -> None:
    lab = bare_lab
    lab.apply([deployment(replicas=2, probe="{tcpSocket: {port: 9}}"), service()])
    with pytest.raises(TimedOut) as error:
        lab.wait_for(lambda: lab.pod("web-2").ready, timeout_s=0.01)
    first, *seen = str(error.value).splitlines()
    assert first.startswith("not true within 0.01 s: ")
    assert 'lab.pod("web-2").ready' in first
    assert "Deployment web: 0 of 2 Pods ready, 2 of the newest template" in seen
    assert "Pod shell: ready, on node-a" in seen
    assert "Service web: 0 of 4 endpoints ready" in seen
    (why,) = (each for each in seen if each.startswith("Warning: Pod web-2: "))
    assert "readiness probe failed: connect to" in why
    assert isinstance(error.value, TimeoutError)
    assert isinstance(error.value, KproxyError)
    assert lab.wait_for(lambda: True)
