"""Findings about networks tell the truth: connections fail where they say so, and only there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kproxy.address import Family
from kproxy.doctor.from_lab import diagnose_lab
from kproxy.forwarding.network import Packet
from kproxy.probe import connect_many
from netns_tests.control_plane.plane_lab import SPEC, PlaneLab, deployment, service
from netns_tests.doctor import faults
from netns_tests.doctor.faults import NODE
from netns_tests.modes import IPTABLES, NFTABLES, Mode

WAIT_S = 0.5


def reaches(lab: PlaneLab, client: str, service_name: str = "web") -> bool:
    """Tell whether a pod reaches the one endpoint of a Service by its cluster IP."""
    (address, *_) = lab.service(service_name).spec.cluster_ips
    packet = Packet(client=client, address=address, port=80)
    (found,) = connect_many(lab, [packet], timeout_s=WAIT_S)
    return found.success


@pytest.mark.parametrize("mode", [IPTABLES[0], NFTABLES[0]], ids=str)
def test_a_port_without_hairpin_mode(mode: Mode) -> None:
    with PlaneLab(mode, replace(SPEC, network="flannel-vxlan")) as lab:
        lab.apply([deployment(replicas=1), service(more="type: ClusterIP")])
        node = lab.pods["web-1"].node
        assert reaches(lab, "web-1")
        with faults.without_hairpin(lab, node):
            assert not reaches(lab, "web-1")
            assert reaches(lab, "shell")


SPARED = "iptables-VARIANT -t nat -I POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -j RETURN"


@pytest.mark.parametrize("mode", [*IPTABLES, NFTABLES[0]], ids=str)
def test_a_pod_that_is_not_masqueraded_to_itself(mode: Mode) -> None:
    """A rule before the proxy's does that in iptables; in nftables it does no harm."""
    with PlaneLab(mode) as lab:
        lab.apply([deployment(replicas=1), service(more="type: ClusterIP")])
        node = lab.pods["web-1"].node
        assert reaches(lab, "web-1")
        with faults.rule(SPARED.replace("VARIANT", mode.variant), host=node)(lab):
            harmful = mode in IPTABLES
            assert reaches(lab, "web-1") is not harmful
            assert reaches(lab, "shell")
            found = [(each.id, each.host) for each in diagnose_lab(lab).findings]
            assert found == ([("hairpin-masquerade", node)] if harmful else [])


@pytest.mark.parametrize("mode", [IPTABLES[0], NFTABLES[0]], ids=str)
def test_a_bridge_without_its_netfilter(mode: Mode) -> None:
    with PlaneLab(mode, replace(SPEC, network="flannel-vxlan")) as lab:
        lab.apply([deployment(replicas=1), service(more="type: ClusterIP")])
        lab.apply([deployment("other", replicas=3)])
        node = lab.pods["web-1"].node
        (near,) = (each for each, pod in lab.pods.items() if pod.node == node and "other" in each)
        assert reaches(lab, near)
        off = "net/bridge/bridge-nf-call-iptables"
        with faults.setting(lab, node, off, 0):
            assert not reaches(lab, near)
            assert reaches(lab, "shell")


MASQUERADE = "iptables-nft -t nat -A POSTROUTING ! -s 10.244.0.0/16 -d 10.244.0.0/16 -j MASQUERADE"


def test_masquerading_hides_clients() -> None:
    """With policy Local a pod sees the client, unless the network plug-in hides it."""
    with PlaneLab(IPTABLES[0]) as lab:
        lab.apply([deployment(), service(more="type: NodePort, externalTrafficPolicy: Local")])
        port = next(each.node_port for each in lab.service().spec.ports)
        asked = Packet(client="outside", address=lab.nodes[NODE].addresses[Family.IPV4], port=port)
        client = lab.clients["outside"].addresses[Family.IPV4]
        (kept,) = connect_many(lab, [asked], timeout_s=WAIT_S)
        assert kept.source == client
        assert not diagnose_lab(lab).findings
        with faults.rule(MASQUERADE)(lab):
            (hidden,) = connect_many(lab, [asked], timeout_s=WAIT_S)
            assert hidden.success
            assert hidden.source != client
            (found,) = diagnose_lab(lab).findings
        assert found.id == "plugin-masquerade"
        assert "clients outside have the address of node-b" in found.evidence[1]
