"""Services of type LoadBalancer: pending, assigned, and where the router takes their addresses."""

from __future__ import annotations

import dataclasses

import pytest

from kproxy.testing import ProbedLab, delivered, refused
from netns_tests.edge.edge_lab import listener, pods, running, spec, until
from netns_tests.modes import IPTABLES, NFTABLES, Mode
from netns_tests.services.service_lab import (
    BOTH,
    V4,
    WEB,
    applied,
    balancer_ips,
    not_ready,
    objects,
    packet,
    probed,
    told,
)


def balanced(name: str, more: str = "") -> str:
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: LoadBalancer
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: http}}]
  {more}
"""


def test_pending_until_there_is_an_address(lab: ProbedLab) -> None:
    with applied(lab, balanced("second") + balanced("third")):
        assert balancer_ips(lab, "second") == ["192.168.30.2"]
        assert balancer_ips(lab, "third") == []
        assert lab.warnings["Service", "default", "third"] == (
            "status.loadBalancer is pending: the pool 192.168.30.0/30 has no free address",
        )
        for seen in told(lab, packet(lab, "outside", "third", "node-b", V4)):
            assert seen == delivered(*WEB, source="node-b")  # its node port needs no address
        lab.delete([("Service", "default", "second")])
        assert balancer_ips(lab, "third") == ["192.168.30.2"]
        assert not lab.warnings
        to = packet(lab, "outside", "third", "VIP", V4)
        for seen in told(lab, to):
            assert seen == delivered(*WEB, source="node-a")
    assert lab.predict("outside", to.address, to.port) == refused("router")
    assert lab.ask("outside", to.address, to.port).sources == {}


def test_a_foreign_class_is_somebody_elses(lab: ProbedLab) -> None:
    with applied(lab, balanced("foreign", "loadBalancerClass: example.org/bgp")):
        assert balancer_ips(lab, "foreign") == []
        (warning,) = lab.warnings["Service", "default", "foreign"]
        assert "pending: no controller for spec.loadBalancerClass 'example.org/bgp'" in warning
        for seen in told(lab, packet(lab, "outside", "foreign", "node-c", V4)):
            assert seen == delivered(*WEB, source="node-c")
    assert not lab.warnings


LOCAL = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: mover}
spec:
  replicas: 2
  selector: {matchLabels: {app: mover}}
  template:
    metadata: {labels: {app: mover}}
    spec:
      nodeSelector: {topology.kubernetes.io/zone: west}
      containers:
        - name: mover
          image: mover
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /ready, port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: mover}
spec:
  type: LoadBalancer
  ipFamilyPolicy: PreferDualStack
  externalTrafficPolicy: Local
  selector: {app: mover}
  ports: [{port: 80, targetPort: 8080}]
"""


def test_policy_local_leads_to_nodes_with_ready_pods(lab: ProbedLab) -> None:
    """The route follows the pods; the address of the client is kept."""
    with applied(lab, LOCAL):
        first, second = sorted(("mover-1", "mover-2"), key=lambda name: lab.pod(name).node)
        assert [lab.pod(name).node for name in (first, second)] == ["node-b", "node-c"]
        vips = [packet(lab, "outside", "mover", "VIP", family) for family in BOTH]
        for seen in told(lab, *vips):
            assert seen == delivered(first, source="outside")
        with not_ready(lab, first):
            for seen in told(lab, *vips):
                assert seen == delivered(second, source="outside")
            with not_ready(lab, second):  # nobody announces it any more
                for seen in probed(lab, vips[1]):  # of IPv4 Linux says so once a second
                    assert seen == refused("router")
        for seen in told(lab, *vips):
            assert seen == delivered(first, source="outside")


IN_THE_CLOUD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]
""" + balanced("web", "externalTrafficPolicy: Local\n  ipFamilyPolicy: PreferDualStack")


@pytest.mark.parametrize("mode", [IPTABLES[0], NFTABLES[0]], ids=str)
def test_a_cloud_assigns_its_own(mode: Mode) -> None:
    wanted = spec("vpc", {"node-a": (), "node-b": (), "node-c": ()})
    with running(dataclasses.replace(wanted, control_plane=True), mode) as lab:
        lab.apply(objects(IN_THE_CLOUD))
        balancer = lab.balancers["lb"]
        addresses = {*balancer.addresses.values(), *balancer.public.values()}
        assert {*balancer_ips(lab, "web")} == addresses
        public = balancer.public[V4]
        serving = sorted(lab.pod(name).node for name in ("web-1", "web-2"))
        until(lambda: sorted(listener(lab).healthy) == serving)
        assert {*pods(lab, "outside", public, 4)} == {"web-1", "web-2"}
        lab.pod("web-1").fail_readiness()
        until(lambda: listener(lab).healthy == (lab.pod("web-2").node,))
        assert {*pods(lab, "outside", public, 4)} == {"web-2"}
        lab.delete([("Service", "default", "web")])
        assert lab.balancer_state() == ()
