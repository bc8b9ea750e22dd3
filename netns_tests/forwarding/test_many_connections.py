"""What one packet cannot show: even distribution, session affinity and its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy.api.types import (
    ClientIPConfig,
    KubernetesObject,
    Protocol,
    ServicePort,
    SessionAffinityConfig,
)
from kproxy.forwarding.network import Packet
from kproxy.forwarding.plan import Family
from kproxy.lab import service, slices_for
from kproxy.probe import affinity, affinity_expiry, distribution
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.forwarding.survey import BOTH, PROTOCOLS, build_lab
from netns_tests.modes import MODES

NODE_PORT = 30000
WEB, STICKY, FORGETFUL = 11, 12, 13
AFFINITY_TIMEOUT_S = {WEB: 0, STICKY: 10800, FORGETFUL: 1}


@pytest.fixture(scope="module", params=MODES, ids=str)
def lab(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    lab = build_lab(kproxy_module_lab, request.param)
    lab.apply(obj for number in AFFINITY_TIMEOUT_S for obj in objects(lab, number))
    return lab


def objects(lab: ProbedLab, number: int) -> Iterator[KubernetesObject]:
    timeout_s = AFFINITY_TIMEOUT_S[number]
    config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=timeout_s))
    made = service(
        f"service-{number}",
        cluster_ips=[f"10.96.0.{number}", f"fd00:10:96::{number}"],
        ports=[
            ServicePort(
                name=protocol.lower(),
                protocol=protocol,
                port=80,
                target_port=8080,
                node_port=NODE_PORT + number,
            )
            for protocol in PROTOCOLS
        ],
        type="NodePort",
        session_affinity="ClientIP" if timeout_s else "None",
        session_affinity_config=config if timeout_s else None,
    )
    yield made
    yield from slices_for(made, [lab.pods[name] for name in ("pod-a", "visitor-a", "pod-b")])


def cluster_ip(number: int, family: Family, protocol: Protocol = "TCP") -> Packet:
    prefix = "10.96.0." if family is Family.IPV4 else "fd00:10:96::"
    return Packet(client="visitor-c", address=f"{prefix}{number}", port=80, protocol=protocol)


def node_port(lab: ProbedLab, number: int, family: Family) -> Packet:
    address = lab.nodes["node-a"].addresses[family]
    return Packet(client="outside", address=address, port=NODE_PORT + number)


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_connections_are_spread_evenly(lab: ProbedLab, family: Family, protocol: Protocol) -> None:
    finding = distribution(lab, cluster_ip(WEB, family, protocol))
    assert finding.problems == ()
    if lab.mode == "ipvs":  # its scheduler takes turns
        assert finding.answered == "pod-a:100 visitor-a:100 pod-b:100 (p=1)"


@pytest.mark.parametrize("family", BOTH)
def test_node_ports_spread_as_well(lab: ProbedLab, family: Family) -> None:
    assert distribution(lab, node_port(lab, WEB, family)).problems == ()


@pytest.mark.parametrize("family", BOTH)
def test_a_client_stays_on_its_pod(lab: ProbedLab, family: Family) -> None:
    assert affinity(lab, cluster_ip(STICKY, family)).problems == ()
    assert affinity(lab, node_port(lab, STICKY, family)).problems == ()


@pytest.mark.parametrize("family", BOTH)
def test_affinity_ends_or_in_ipvs_mode_outlasts_its_time_out(
    lab: ProbedLab, family: Family
) -> None:
    packet = cluster_ip(FORGETFUL, family)
    assert affinity_expiry(lab, packet, AFFINITY_TIMEOUT_S[FORGETFUL]).problems == ()


def test_the_checks_can_fail(lab: ProbedLab) -> None:
    uneven = distribution(lab, cluster_ip(STICKY, Family.IPV4))
    assert "uneven" in " ".join(uneven.problems)
    restless = affinity(lab, cluster_ip(WEB, Family.IPV4), connections=50)
    assert "not kept on one pod" in " ".join(restless.problems)
    if lab.mode == "ipvs":
        fickle = affinity_expiry(lab, cluster_ip(WEB, Family.IPV4), timeout_s=0)
        assert "another pod, though" in " ".join(fickle.problems)
    else:
        faithful = affinity_expiry(lab, cluster_ip(STICKY, Family.IPV4), timeout_s=0)
        assert "the same pod after" in " ".join(faithful.problems)
