"""Pods end gracefully, and nothing is left of deleted objects."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from kproxy.api.types import EndpointSlice
from netns_tests.control_plane.plane_lab import (
    PlaneLab,
    ask_on,
    check_served,
    connection,
    deployment,
    everything,
    known,
    namespaces,
    service,
    ways,
)
from netns_tests.modes import Mode

WEB_1 = ("Pod", "default", "web-1")


def test_open_connections_end_first(lab: PlaneLab) -> None:
    """A Pod that is deleted finishes them, while new ones go to its successor."""
    lab.apply([deployment(replicas=1), service()])
    addresses = lab.addresses("web-1")
    with ExitStack() as stack:
        open_ones = [stack.enter_context(connection(lab, to)) for to in ways(lab)]
        lab.delete([WEB_1])
        assert {"web-1", "web-2"} <= lab.pods.keys()
        assert conditions(lab)["web-1"] == (False, True, True)
        check_served(lab, "web-2")
        assert not known(lab, addresses)
        assert {ask_on(sock) for sock in open_ones} == {"web-1"}
    assert lab.wait_for(lambda: lab.stopped("web-1"))
    assert conditions(lab) == {"web-2": (True, True, False)}


def conditions(lab: PlaneLab) -> dict[str, tuple[bool | None, bool | None, bool | None]]:
    """Return (ready, serving, terminating) of each pod, as the slices have it."""
    return {
        each.target_ref.name: (
            each.conditions.ready,
            each.conditions.serving,
            each.conditions.terminating,
        )
        for one in lab.objects(EndpointSlice)
        if one.metadata.namespace == "default"
        for each in one.endpoints
        if each.target_ref
    }


def test_a_crash_is_the_end_of_a_pod_that_terminates(bare_lab: PlaneLab) -> None:
    bare_lab.apply([deployment(replicas=1, sleep_s=600, grace_s=1000)])
    bare_lab.delete([WEB_1])
    assert [pod.metadata.name for pod in bare_lab.pods_of("web")] == ["web-1", "web-2"]
    bare_lab.pod("web-1").restart()
    assert [pod.metadata.name for pod in bare_lab.pods_of("web")] == ["web-2"]
    bare_lab.scale("web", 0)
    bare_lab.pod("web-2").restart()
    assert not bare_lab.pods_of("web")


def test_the_grace_period_ends_them(lab: PlaneLab) -> None:
    lab.apply([deployment(replicas=1, grace_s=1), service()])
    with ExitStack() as stack:
        open_ones = [stack.enter_context(connection(lab, to)) for to in ways(lab)]
        lab.scale("web", 0)
        assert "web-1" in lab.pods
        assert lab.wait_for(lambda: lab.stopped("web-1"))
        for sock in open_ones:
            with suppress(ConnectionResetError):
                assert not sock.recv(1)


def test_a_deleted_manifest_leaves_nothing(lab: PlaneLab, tmp_path: Path) -> None:
    """It may be deleted by file, by object or by key."""
    before = everything(lab)
    manifest = tmp_path / "web.yaml"
    manifest.write_text(MANIFEST)
    shop = deployment("shop", 2, probe="{tcpSocket: {port: 8080}}")
    local = service("shop", of="shop", more="type: LoadBalancer, externalTrafficPolicy: Local")
    lab.apply(manifest)
    lab.apply([shop, local])
    check_served(lab, "web-1", "web-2", "web-3")
    now = everything(lab)
    assert all(now[name] != before[name] for name in CHANGING)
    lab.delete([shop])
    lab.delete([("Service", "default", "shop")])
    lab.delete(manifest)
    assert everything(lab) == before


CHANGING = [
    *("rules of node-a", "rules of node-c", "links of node-a", "routes 4 of node-b"),
    *("routes 4 of router", "routes 6 of router", "pods", "objects", "namespaces"),
]
MANIFEST = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: pods}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: answer
        image: answer:1
        ports: [{name: http, containerPort: 8080}]
"""


def test_a_lab_that_ends_during_a_termination(mode: Mode) -> None:
    """A Pod in its long preStop hook serves, as there is no other; then all is removed at once."""
    before, threads = namespaces(), {*threading.enumerate()}
    with PlaneLab(mode) as lab:
        lab.apply([deployment(replicas=1, sleep_s=600, grace_s=1000), service()])
        to = ways(lab)[0]
        with connection(lab, to) as sock:
            lab.scale("web", 0)
            check_served(lab, "web-1")
            assert ask_on(sock) == "web-1"
        assert namespaces() != before
    assert namespaces() == before
    assert {*threading.enumerate()} == threads


def test_waits_that_are_too_long_for_python_delay_nothing(bare_lab: PlaneLab) -> None:
    probe = "{tcpSocket: {port: 8080}, initialDelaySeconds: 2147483647}"
    bare_lab.apply([deployment("slow", 1, probe=probe, sleep_s=10**11, grace_s=10**11)])
    bare_lab.scale("slow", 0)
    bare_lab.apply([deployment(replicas=1, sleep_s=1)])
    bare_lab.scale("web", 0)
    assert bare_lab.wait_for(lambda: bare_lab.stopped("web-1"))
    bare_lab.pod("slow-1").restart()
    assert bare_lab.stopped("slow-1")
