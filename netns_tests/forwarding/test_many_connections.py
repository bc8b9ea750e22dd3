"""Properties of many packets: even distribution, session affinity and its end, old connections."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    ClientIPConfig,
    KubernetesObject,
    Protocol,
    ServicePort,
    SessionAffinityConfig,
)
from kproxy.forwarding.network import Packet
from kproxy.kernel import sysctl
from kproxy.lab import service, slices_for
from kproxy.probe import affinity, affinity_expiry, connect_many, distribution
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.findings import require_ok
from netns_tests.forwarding.survey import BOTH, PROTOCOLS
from netns_tests.modes import MODES, PACKET_FILTERS, USERSPACE, Mode
from netns_tests.run.running import until

PODS = tuple(f"pod-{number}" for number in range(1, 13))
CLIENTS = tuple(f"outside-{number}" for number in range(1, 9))
CLUSTER_IP = {Family.IPV4: "10.96.0.", Family.IPV6: "fd00:10:96::"}
NODE_PORT = 30000
# A Service with a lower number has that many endpoints.
WEB, STICKY, FORGETFUL, CHANGING, EVERYWHERE = 20, 21, 22, 23, 24
SAME_POD = (25, 26, 27, 28)
FORGOTTEN_AFTER_S = 1
DEADLINE_S = 5
ESTABLISHED = "01"  # include/net/tcp_states.h


def build_lab(factory: LabFactory, mode: Mode) -> ProbedLab:
    places = {pod: ("node-a", "node-b")[i % 2] for i, pod in enumerate(PODS)}
    return factory(
        nodes=("node-a", "node-b", "node-c"),
        pods=places | {"visitor": "node-c"},
        clients=CLIENTS,
        mode=mode.name,
        options=mode.options,
    )


@pytest.fixture(scope="module", params=[*MODES, USERSPACE], ids=str)
def lab(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    lab = build_lab(kproxy_module_lab, request.param)
    lab.apply(
        [
            *objects(lab, WEB, PODS[:3]),
            *objects(lab, STICKY, PODS[:3], affinity_timeout_s=10800),
            *objects(lab, FORGETFUL, PODS[:3], affinity_timeout_s=FORGOTTEN_AFTER_S),
        ]
    )
    return lab


def objects(
    lab: ProbedLab, number: int, pods: Sequence[str], affinity_timeout_s: int = 0
) -> Iterator[KubernetesObject]:
    config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=affinity_timeout_s))
    made = service(
        f"service-{number}",
        cluster_ips=[f"{prefix}{number}" for prefix in CLUSTER_IP.values()],
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
        session_affinity="ClientIP" if affinity_timeout_s else "None",
        session_affinity_config=config if affinity_timeout_s else None,
    )
    yield made
    yield from slices_for(made, [lab.pods[name] for name in pods])


def cluster_ip(number: int, family: Family, protocol: Protocol = "TCP") -> Packet:
    address = f"{CLUSTER_IP[family]}{number}"
    return Packet(client="visitor", address=address, port=80, protocol=protocol)


def node_port(lab: ProbedLab, number: int, family: Family, client: str = CLIENTS[0]) -> Packet:
    address = lab.nodes["node-a"].addresses[family]
    return Packet(client=client, address=address, port=NODE_PORT + number)


# The socket of a single pod would not hold 300 datagrams at once.
EVEN: list[tuple[int, Family, Protocol]] = [  # endpoints
    (1, Family.IPV4, "TCP"),
    (2, Family.IPV6, "TCP"),
    (3, Family.IPV4, "TCP"),
    (3, Family.IPV6, "UDP"),
    (5, Family.IPV4, "UDP"),
    (12, Family.IPV4, "TCP"),
    (12, Family.IPV6, "TCP"),
]


@pytest.mark.parametrize(("endpoints", "family", "protocol"), EVEN)
def test_connections_are_spread_evenly(
    lab: ProbedLab, endpoints: int, family: Family, protocol: Protocol
) -> None:
    lab.apply(objects(lab, endpoints, PODS[:endpoints]))
    finding = distribution(lab, cluster_ip(endpoints, family, protocol))
    require_ok(finding)
    if lab.mode == "ipvs":  # its scheduler takes turns
        turns = " ".join(f"{pod}:{300 // endpoints}" for pod in PODS[:endpoints])
        assert sorted(finding.answered.split()) == sorted(f"{turns} (p=1)".split())


@pytest.mark.parametrize("family", BOTH)
def test_node_ports_spread_as_well(lab: ProbedLab, family: Family) -> None:
    require_ok(distribution(lab, node_port(lab, WEB, family)))


@pytest.mark.parametrize("family", BOTH)
def test_a_client_stays_on_its_pod(lab: ProbedLab, family: Family) -> None:
    require_ok(affinity(lab, cluster_ip(STICKY, family)))
    require_ok(affinity(lab, node_port(lab, STICKY, family)))


@pytest.mark.parametrize("family", BOTH)
def test_affinity_ends_or_in_ipvs_mode_outlasts_its_time_out(
    lab: ProbedLab, family: Family
) -> None:
    packet = cluster_ip(FORGETFUL, family)
    require_ok(affinity_expiry(lab, packet, FORGOTTEN_AFTER_S))


@pytest.mark.parametrize("family", BOTH)
def test_a_client_moves_only_if_its_pod_is_removed(lab: ProbedLab, family: Family) -> None:
    def settle(pods: Sequence[str]) -> dict[str, str]:
        lab.apply(objects(lab, CHANGING, pods, affinity_timeout_s=10800))
        return homes(lab, CHANGING, family)

    first = settle(PODS[:5])
    assert settle(PODS[:8]) == first
    removed = {first[CLIENTS[0]], "pod-8"}
    left = [pod for pod in PODS[:8] if pod not in removed]
    moved = settle(left)
    stayed = {client: pod for client, pod in first.items() if pod in left}
    assert moved == moved | stayed
    assert set(moved.values()) <= set(left)
    assert settle([*left, "pod-9", "pod-10"]) == moved


def test_affinity_survives_a_full_sync(lab: ProbedLab) -> None:
    before = [homes(lab, STICKY, family) for family in BOTH]
    with lab.nodes["node-a"].namespace.entered():
        assert all(report.full for report in lab.proxy("node-a").sync(full=True))
    assert [homes(lab, STICKY, family) for family in BOTH] == before


@pytest.mark.parametrize("lab", [*PACKET_FILTERS, USERSPACE], ids=str, indirect=True)
def test_affinity_is_the_same_for_all_addresses_of_a_port(lab: ProbedLab) -> None:
    """This does not hold in ipvs mode, where each virtual server remembers its own clients."""
    lab.apply(objects(lab, EVERYWHERE, PODS[:5], affinity_timeout_s=10800))
    for family in BOTH:
        asks = [replace(cluster_ip(EVERYWHERE, family), client=pod) for pod in PODS]
        nodes = [lab.nodes[lab.pods[pod].node].addresses[family] for pod in PODS]
        by_node_port = [
            replace(packet, address=node, port=NODE_PORT + EVERYWHERE)
            for packet, node in zip(asks, nodes, strict=True)
        ]
        assert answering(lab, asks) == answering(lab, by_node_port)


@pytest.mark.parametrize("lab", MODES, ids=str, indirect=True)
def test_affinity_survives_a_restart(lab: ProbedLab) -> None:
    """Not in userspace mode, which remembers clients in its process."""
    before = [homes(lab, STICKY, family) for family in BOTH]
    former = lab.proxy("node-a")
    lab.stop_proxy("node-a")
    lab.start_proxy("node-a")
    assert lab.proxy("node-a") is not former
    assert [homes(lab, STICKY, family) for family in BOTH] == before


def is_connected(lab: ProbedLab, pod: str, family: Family) -> bool:
    sockets = Path("/proc/thread-self/net", "tcp" if family is Family.IPV4 else "tcp6")
    lines = lab.pods[pod].namespace.run(sockets.read_text).splitlines()[1:]
    return any(line.split()[3] == ESTABLISHED for line in lines)


CHANGES = [PODS[:2], PODS[1:3], PODS[2:3], ()]  # after pod-1 alone


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("asks", ["cluster IP", "node port"])
@pytest.mark.parametrize("affinity_timeout_s", [0, 10800])
def test_connections_outlive_changes_of_endpoints(
    lab: ProbedLab, family: Family, asks: str, affinity_timeout_s: int
) -> None:
    lab.apply(objects(lab, CHANGING, PODS[:1], affinity_timeout_s))
    packet = (
        cluster_ip(CHANGING, family) if asks == "cluster IP" else node_port(lab, CHANGING, family)
    )
    with lab.hosts[packet.client].namespace.entered():
        sock = socket.socket(family.socket_family)
    with sock:
        sock.settimeout(DEADLINE_S)
        sock.connect((packet.address, packet.port))
        # A relay chooses the endpoint only when it accepts what the kernel has accepted already.
        until("pod-1 has the connection", lambda: is_connected(lab, PODS[0], family))
        for pods in CHANGES:
            sock.sendall(b"still there? ")
            lab.apply(objects(lab, CHANGING, pods, affinity_timeout_s))
        sock.sendall(b"\n")
        assert json.loads(sock.recv(4096))["pod"] == PODS[0]


@pytest.mark.parametrize("lab", MODES, ids=str, indirect=True)
@pytest.mark.parametrize("family", BOTH)
def test_connections_to_several_services_of_a_pod_do_not_meet(
    lab: ProbedLab, family: Family
) -> None:
    """IPVS keeps the source port: two connections from the same one would be one to their pod."""
    client = PODS[-1]
    with lab.hosts[client].namespace.entered():  # whose kernel would soon take one again
        sysctl.write("net/ipv4/ip_local_port_range", "40000 40127")
    for number in SAME_POD:
        lab.apply(objects(lab, number, PODS[:1]))
    asks = [replace(cluster_ip(number, family), client=client) for number in SAME_POD]
    found = [each for _ in range(3) for each in connect_many(lab, asks * 15)]
    assert {str(each) for each in found} == {
        f"{PODS[0]} answered and saw {lab.pods[client].addresses[family]}"
    }
    assert len({each.source_port for each in found if each.success}) == len(found)


def homes(lab: ProbedLab, number: int, family: Family) -> dict[str, str]:
    """Return the pod that answers each client outside."""
    return answering(lab, [node_port(lab, number, family, client) for client in CLIENTS])


def answering(lab: ProbedLab, packets: Sequence[Packet]) -> dict[str, str]:
    """Return the pod that answers each client. All must be answered."""
    answers = connect_many(lab, packets)
    pods = [answer.pod for answer in answers if answer.success]
    return dict(zip((packet.client for packet in packets), pods, strict=True))


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
