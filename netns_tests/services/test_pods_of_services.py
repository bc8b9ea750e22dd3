"""Pods are added, removed and fail: Services lead to others, by affinity, zone, name and flow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from kproxy.address import Family
from kproxy.forwarding.network import Packet
from kproxy.probe import affinity, affinity_expiry
from kproxy.testing import ProbedLab, delivered
from netns_tests.findings import require_ok
from netns_tests.services.service_lab import (
    BOTH,
    V4,
    UdpClient,
    applied,
    host,
    not_ready,
    packet,
    resolve_all,
    told,
)

STICKY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  replicas: 2
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers: [{name: cart, image: cart, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {app: cart}
  sessionAffinity: ClientIP
  ports: [{port: 80, targetPort: 8080}]
"""
FORGOTTEN_AFTER_S = 1
FORGETFUL = f"""
apiVersion: v1
kind: Service
metadata: {{name: forgetful}}
spec:
  selector: {{app: web}}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {FORGOTTEN_AFTER_S}}}}}
  ports: [{{port: 80, targetPort: http}}]
"""


def test_session_affinity(lab: ProbedLab) -> None:
    """It survives added pods, and ends with the pod."""
    with applied(lab, STICKY):
        asked = [packet(lab, "shell", "cart", "cluster IP", family) for family in BOTH]

        def met(to: Packet) -> str:
            """Return the one pod of 20 connections."""
            finding = affinity(lab, to, connections=20)
            require_ok(finding)
            return finding.answered.partition(":")[0]

        before = [met(to) for to in asked]
        lab.scale("cart", 5)
        assert [met(to) for to in asked] == before
        lab.pod(before[0]).fail_readiness()
        after = met(asked[0])
        assert after != before[0]
        lab.pod(before[0]).pass_readiness()
        assert met(asked[0]) == after


def test_session_affinity_ends(lab: ProbedLab) -> None:
    with applied(lab, FORGETFUL):
        to = packet(lab, "shell", "forgetful", "cluster IP", V4)
        require_ok(affinity_expiry(lab, to, FORGOTTEN_AFTER_S))


def test_the_own_zone_as_long_as_it_has_a_pod(lab: ProbedLab) -> None:
    """And a headless Service has no name for a pod that is not ready."""
    asked = [packet(lab, "shell", "near", "cluster IP", family) for family in BOTH]

    here, *others = (host(lab, f"web@{node}") for node in ("node-a", "node-b", "node-c"))
    with not_ready(lab, here):
        for seen in told(lab, *asked):
            assert seen == delivered(*others, source="shell")
        named = resolve_all(lab, ["headless"])["headless"]
        assert {*named} == {ip for name in others for ip in lab.pods[name].addresses.values()}
    for seen in told(lab, *asked):
        assert seen == delivered(here, source="shell")


TALK = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: talk}
spec:
  replicas: 2
  selector: {matchLabels: {app: talk}}
  template:
    metadata: {labels: {app: talk}}
    spec:
      containers:
        - name: talk
          image: talk
          ports: [{containerPort: 8080, protocol: UDP}, {containerPort: 8080}]
          readinessProbe: {tcpSocket: {port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: talk}
spec:
  type: NodePort
  ipFamilyPolicy: PreferDualStack
  selector: {app: talk}
  ports: [{port: 53, protocol: UDP, targetPort: 8080}]
"""
Loss = Callable[[ProbedLab, str], object]
LOSSES: list[tuple[str, Loss]] = [
    ("not ready", lambda lab, pod: lab.pod(pod).fail_readiness()),
    ("deleted", lambda lab, pod: lab.delete([("Pod", "default", pod)])),
]


@pytest.mark.parametrize("loss", [loss for _, loss in LOSSES], ids=[name for name, _ in LOSSES])
def test_a_udp_client_that_keeps_its_port_is_moved_at_once(lab: ProbedLab, loss: Loss) -> None:
    """Every client sends its next datagram to a pod that is there."""
    places = [("shell", "cluster IP"), ("node-c", "cluster IP"), ("outside", "node-b")]
    with applied(lab, TALK), ExitStack() as stack:

        def client(of: str, asks: str, family: Family) -> UdpClient:
            to = packet(lab, of, "talk", asks, family, "53/UDP")
            return stack.enter_context(UdpClient(lab, to))

        talkers = [client(*place, family) for place in places for family in BOTH for _ in "1234"]
        before = [talker.ask() for talker in talkers]
        assert {*before} == {"talk-1", "talk-2"}
        assert [talker.ask() for talker in talkers] == before
        loss(lab, "talk-1")
        after = [talker.ask() for talker in talkers]
        assert "talk-1" not in after
        kept = [now for was, now in zip(before, after, strict=True) if was == "talk-2"]
        assert {*kept} == {"talk-2"}
