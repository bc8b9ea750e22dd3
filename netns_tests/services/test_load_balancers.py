"""Services of type LoadBalancer: pending, assigned, and routed to nodes by the router."""

from __future__ import annotations

import dataclasses

import pytest

from kproxy.testing import ProbedLab, delivered, refused
from netns_tests.edge.edge_lab import listener, pods, running, spec
from netns_tests.modes import IPTABLES, NFTABLES, Mode
from netns_tests.run.running import until
from netns_tests.services.service_lab import (
    BOTH,
    V4,
    V6,
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
    six = "ipFamilies: [IPv6]"
    with applied(lab, balanced("second", six) + balanced("third", six)):
        assert balancer_ips(lab, "second") == ["fd00:192:30::3"]
        assert balancer_ips(lab, "third") == []
        assert lab.warnings["Service", "default", "third"] == (
            "status.loadBalancer is pending: the pool fd00:192:30::/126 has no free address",
        )
        for seen in told(lab, packet(lab, "outside", "third", "node-b", V6)):
            assert seen == delivered(*WEB, source="node-b")  # its node port needs no address
        lab.delete([("Service", "default", "second")])
        assert balancer_ips(lab, "third") == ["fd00:192:30::3"]
        assert ("Service", "default", "third") not in lab.warnings
        to = packet(lab, "outside", "third", "VIP", V6)
        for seen in told(lab, to):
            assert seen == delivered(*WEB, source="node-a")
    for seen in probed(lab, to):
        assert seen == refused("router")


def test_a_foreign_class_is_left_to_its_controller(lab: ProbedLab) -> None:
    with applied(lab, balanced("foreign", "loadBalancerClass: example.org/bgp")):
        assert balancer_ips(lab, "foreign") == []
        (warning,) = lab.warnings["Service", "default", "foreign"]
        assert "pending: no controller serves spec.loadBalancerClass 'example.org/bgp'" in warning
        for seen in told(lab, packet(lab, "outside", "foreign", "node-c", V4)):
            assert seen == delivered(*WEB, source="node-c")
    assert ("Service", "default", "foreign") not in lab.warnings


def test_policy_local_leads_to_nodes_with_ready_pods(lab: ProbedLab) -> None:
    """The route follows the pods; the address of the client is kept."""
    first, second = sorted(("mover-1", "mover-2"), key=lambda name: lab.pod(name).node)
    vips = [packet(lab, "outside", "api-local", "VIP", family) for family in BOTH]
    for seen in told(lab, *vips):
        assert seen == delivered(first, source="outside")
    with not_ready(lab, first):
        for seen in told(lab, *vips):
            assert seen == delivered(second, source="outside")
        with not_ready(lab, second):  # no node announces it any more
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
        until("the serving nodes are healthy", lambda: sorted(listener(lab).healthy) == serving)
        assert {*pods(lab, "outside", public, 4)} == {"web-1", "web-2"}
        lab.pod("web-1").fail_readiness()
        until(
            "the node of the last pod is healthy",
            lambda: listener(lab).healthy == (lab.pod("web-2").node,),
        )
        assert {*pods(lab, "outside", public, 4)} == {"web-2"}
        lab.delete([("Service", "default", "web")])
        assert lab.balancer_state() == ()
