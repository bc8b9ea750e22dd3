"""Control planes on other networks, of one family, without proxies, side by side, or failing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kproxy.address import Family
from kproxy.api.types import EndpointSlice, Node
from kproxy.errors import KernelRefused
from kproxy.forwarding.network import Packet
from kproxy.kernel.process import run
from kproxy.lab import Lab
from kproxy.lab.names import ROUTER
from kproxy.probe import connect_many
from netns_tests.control_plane.plane_lab import (
    SPEC,
    V4,
    V6,
    PlaneLab,
    check_served,
    deployment,
    known,
    namespaces,
    objects,
    service,
    traffic,
    ways,
)
from netns_tests.modes import FLAT, IPTABLES, NFTABLES, Mode

WATCHED = "{tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1}"


@pytest.mark.parametrize("family", [V4, V6])
def test_one_family(mode: Mode, family: Family) -> None:
    with PlaneLab(mode, replace(SPEC, families=(family,))) as lab:
        lab.apply([deployment(), service()])
        assert len(lab.service().spec.cluster_ips) == len(lab.vips()) == 1
        check_served(lab, "web-1", "web-2", "web-3")
        addresses = lab.addresses("web-2")
        assert len(addresses) == 1
        lab.pod("web-2").fail_readiness()
        check_served(lab, "web-1", "web-3")
        assert not known(lab, addresses)
        assert lab.pod("shell").resolve("web") == list(lab.service().spec.cluster_ips)


@pytest.mark.parametrize(("network", "mode"), [("vpc", IPTABLES[0]), ("tunnel", FLAT)], ids=str)
def test_a_rollout_on_another_network(mode: Mode, network: str) -> None:
    with PlaneLab(mode, replace(SPEC, network=network)) as lab:
        lab.apply([deployment(replicas=2, sleep_s=1), service()])
        # On a bridge that netfilter does not see, a pod's neighbour answers past its node.
        asked = [to for to in ways(lab) if network != "vpc" or to.client != "shell"]
        with traffic(lab, asked) as seen:
            lab.apply([deployment(replicas=2, image="answer:2")])
            assert lab.wait_for(lambda: lab.stopped("web-1", "web-2"))
        assert not seen.failed
        assert {"web-1", "web-2"} <= {*seen.answered}
        after = {how.pod for how in connect_many(lab, asked) if how.success}
        assert after <= {pod.metadata.name for pod in lab.pods_of("web")}


def test_without_proxies() -> None:
    """Pods run and names are known; Services lead nowhere."""
    with Lab(SPEC, mode=None) as lab:
        lab.apply([deployment(replicas=2), service("pods", more="clusterIP: None")])
        lab.pod("web-1").fail_readiness()
        found = {
            each.target_ref.name: each.conditions.ready
            for one in lab.objects(EndpointSlice)
            for each in one.endpoints
            if each.target_ref and one.metadata.namespace == "default"
        }
        assert found == {"web-1": False, "web-2": True}
        lab.scale("web", 0)
        assert "web-1" not in lab.pods


SIDECAR = """
apiVersion: v1
kind: Pod
metadata: {name: names}
spec:
  containers:
  - {name: dns, image: coredns, ports: [{containerPort: 53, protocol: UDP}]}
  - {name: metrics, image: answer, ports: [{containerPort: 9153}]}
"""


def test_beside_the_dns_server_others_listen() -> None:
    with Lab(SPEC, mode=None) as lab:
        lab.apply(objects(SIDECAR))
        address = lab.pod("names").addresses[V4]
        (how,) = connect_many(lab, [Packet(client="shell", address=address, port=9153)])
        assert how.success


def test_what_the_lab_has_stays(bare_lab: PlaneLab) -> None:
    """This holds also when a test has written it again."""
    before = [each.metadata.name for each in bare_lab.objects(Node)]
    bare_lab.apply([bare_lab.get("Node", "node-a", namespace="")])
    bare_lab.replace([])
    assert [each.metadata.name for each in bare_lab.objects(Node)] == before


def test_side_by_side() -> None:
    """Two labs may have the same names and addresses; one does not notice changes of the other."""
    with PlaneLab(NFTABLES[0]) as one, PlaneLab(IPTABLES[0]) as two:
        for lab in (one, two):
            lab.apply([deployment(replicas=2), service()])
        assert one.service().spec == two.service().spec
        assert one.addresses("web-1", "web-2") == two.addresses("web-1", "web-2")
        one.pod("web-1").fail_readiness()
        two.scale("web", 1)
        check_served(one, "web-2")
        check_served(two, "web-1")


def test_the_next_verb_raises_an_error_of_the_background(mode: Mode) -> None:
    """A route was deleted that the control plane wants to delete, because the only pod of a Service
    fails: the next verb raises that error. Afterwards the lab works, and ends as usual.
    """
    before = namespaces()
    with PlaneLab(mode) as lab:
        local = service(more="type: LoadBalancer, externalTrafficPolicy: Local")
        lab.apply([deployment(replicas=1, probe=WATCHED, sleep_s=1), local])
        command = ["ip", "route", "del", lab.vips()[0]]
        lab.hosts[ROUTER].namespace.run(lambda: run(command))
        lab.break_pod("web-1")
        with pytest.raises(KernelRefused, match="No such process"):
            lab.wait_for(lambda: False)
        lab.scale("web", 0)
        assert lab.wait_for(lambda: lab.stopped("web-1"))
    assert namespaces() == before
