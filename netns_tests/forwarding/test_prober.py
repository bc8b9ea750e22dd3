"""The prober's reports on a network without any Service, and on filters made by hand."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from kproxy.address import Family
from kproxy.forwarding.network import Packet
from kproxy.kernel.process import run
from kproxy.outcome import Connection, How, Observation, Outcome
from kproxy.probe import Prober, Question, connect_many, examine, probe_many
from kproxy.probe.packets import Role
from kproxy.probe.taps import Tap
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.forwarding.survey import BOTH, PROTOCOLS
from netns_tests.run.running import until

PODS = {"pod-a": "node-a", "pod-b": "node-b"}
SYN, RST, ACK = 0x02, 0x04, 0x10
NOWHERE = {Family.IPV4: "10.9.9.9", Family.IPV6: "fd00:9::9"}


@pytest.fixture(scope="module")
def lab(kproxy_module_lab: LabFactory) -> ProbedLab:
    return kproxy_module_lab(nodes=("node-a", "node-b"), pods=PODS, mode=None)


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_routing(lab: ProbedLab, family: Family, protocol: str) -> None:
    pod_a, outside = (lab.hosts[name].addresses[family] for name in ("pod-a", "outside"))
    visitor = lab.pods["pod-b"].addresses[family]
    rows: list[tuple[str, str, int, Observation, tuple[str, ...]]] = [
        # client, address, port -> outcome, hops
        (
            *("outside", pod_a, 8080),
            Observation.delivered("pod-a", outside),
            ("outside", "router", "node-a", "pod-a"),
        ),
        (
            *("pod-b", pod_a, 8080),
            Observation.delivered("pod-a", visitor),
            ("pod-b", "node-b", "router", "node-a", "pod-a"),
        ),
        (
            *("outside", pod_a, 81),
            Observation.refused("pod-a", How.RST if protocol == "TCP" else How.PORT_UNREACHABLE),
            ("outside", "router", "node-a", "pod-a"),
        ),
        (
            *("pod-b", NOWHERE[family], 80),
            Observation.refused("router", How.NET_UNREACHABLE),
            ("pod-b", "node-b", "router"),
        ),
    ]
    packets = [
        Packet(client=client, address=address, port=port, protocol=protocol)
        for client, address, port, _, _ in rows
    ]
    observed = probe_many(lab, packets)
    assert observed == [row[3] for row in rows]
    assert [seen.hops for seen in observed] == [row[4] for row in rows]


@pytest.mark.parametrize("family", BOTH)
def test_a_forged_source_gets_no_answer(lab: ProbedLab, family: Family) -> None:
    """The answer goes to the owner of the address, so the client never gets it."""
    packet = Packet(
        client="outside",
        address=lab.pods["pod-a"].addresses[family],
        port=8080,
        source=lab.pods["pod-b"].addresses[family],
    )
    assert lab.prober.ask(packet) == Observation.delivered(
        "pod-a", lab.pods["pod-b"].addresses[family], answered=False
    )


def test_parallel_probes_do_not_mix(lab: ProbedLab) -> None:
    targets = {name: pod.addresses[Family.IPV4] for name, pod in lab.pods.items()}
    packets = [
        Packet(client=client, address=address, port=8080, protocol=protocol)
        for _ in range(10)
        for client in ("outside", "node-a", "node-b", "pod-a", "pod-b")
        for address in targets.values()
        for protocol in PROTOCOLS
    ]
    observed = lab.prober.ask_many(packets)
    connections = connect_many(lab, packets)
    for packet, seen, connection in zip(packets, observed, connections, strict=True):
        assert seen.outcome is Outcome.DELIVERED
        assert connection.outcome is Outcome.SUCCESS
        assert targets[seen.pod] == targets[connection.pod] == packet.address
        assert seen.source == connection.source
        assert seen.answered


def test_a_refusal_that_linux_left_unsaid_is_asked_for_again(lab: ProbedLab) -> None:
    """A host without a route says so five times: enough for two packets with connections."""
    packet = Packet(client="pod-b", address=NOWHERE[Family.IPV4], port=80)
    questions = [Question(check="no route", packet=packet)] * 4
    findings = examine(lab, lab.prober, questions)
    assert [(each.answered, each.problems) for each in findings] == [("refused by router", ())] * 4


ON_NODE_A = Observation.dropped("node-a")
BY_NODE_A = Observation.refused("node-a", How.PORT_UNREACHABLE)
FILTERS: list[tuple[str, str, str, Observation, Outcome]] = [
    # client, chain on node-a, verdict -> the packet, the connection
    ("outside", "FORWARD", "DROP", ON_NODE_A, Outcome.TIMEOUT),
    ("node-a", "OUTPUT", "DROP", ON_NODE_A, Outcome.TIMEOUT),
    ("outside", "FORWARD", "REJECT", BY_NODE_A, Outcome.REFUSED),
    ("node-a", "OUTPUT", "REJECT", BY_NODE_A, Outcome.REFUSED),
]


def test_no_two_probers_take_the_same_port(lab: ProbedLab) -> None:
    """The second one's probe would be a part of the first one's flow, to conntrack and IPVS."""
    packet = Packet(client="outside", address=lab.pods["pod-a"].addresses[Family.IPV4], port=8080)
    ports = []
    for _ in range(2):
        with Prober(lab) as prober:
            ports += [each.source_port for each in prober.follow_many([packet] * 3)]
    first = ports[0] - 20_000
    assert ports == [20_000 + (first + number) % 10_000 for number in range(6)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_drop_and_reject(kproxy_lab: LabFactory, protocol: str) -> None:
    lab = kproxy_lab(pods={f"pod-{number}": "node-a" for number in range(len(FILTERS))}, mode=None)
    packets = []
    for pod, (client, chain, verdict, _, _) in zip(lab.pods.values(), FILTERS, strict=True):
        address = pod.addresses[Family.IPV4]
        packets.append(Packet(client=client, address=address, port=8080, protocol=protocol))
        with lab.nodes["node-a"].namespace.entered():
            run(["iptables", "-A", chain, "-d", address, "-j", verdict])
    assert lab.prober.ask_many(packets) == [seen for *_, seen, _ in FILTERS]
    failures = [Connection(outcome=outcome) for *_, outcome in FILTERS]
    assert connect_many(lab, packets) == failures


def test_a_prober_follows_a_lab_that_is_built_again(kproxy_lab: LabFactory) -> None:
    """Names stay, namespaces are new: taps on the old ones would see nothing."""
    lab = kproxy_lab(pods={"pod-a": "node-a"}, mode=None)
    packet = Packet(client="outside", address=lab.pods["pod-a"].addresses[Family.IPV4], port=8080)
    expected = Observation.delivered("pod-a", lab.clients["outside"].addresses[Family.IPV4])
    with Prober(lab) as prober:
        assert prober.ask(packet) == expected
        lab.__exit__(None, None, None)
        lab.__enter__()
        assert prober.ask(packet) == expected


@pytest.mark.parametrize("family", BOTH)
def test_taps_capture_the_ends_of_a_tcp_connection_only(lab: ProbedLab, family: Family) -> None:
    """A connection of which the data is left out, and one that is refused."""
    pod = lab.pods["pod-a"]
    with closing(Tap("pod-a", pod.namespace)) as tap:
        for port, outcome in ((8080, Outcome.SUCCESS), (81, Outcome.REFUSED)):
            assert connect_many(
                lab, [Packet(client="outside", address=pod.addresses[family], port=port)]
            ) == [answered(lab, family, outcome)]
        tcp = {Family.IPV4: (9, 20), Family.IPV6: (6, 40)}[family]
        flags = [
            each.data[tcp[1] + 13] for each in tap.read() if each.data[tcp[0]] == socket.IPPROTO_TCP
        ]
    assert flags == [SYN, SYN | ACK, SYN, RST | ACK]


def answered(lab: ProbedLab, family: Family, outcome: Outcome) -> Connection:
    if outcome is not Outcome.SUCCESS:
        return Connection(outcome=outcome)
    source = lab.clients["outside"].addresses[family]
    return Connection(outcome=outcome, pod="pod-a", source=source)


def test_a_reply_that_came_after_the_last_look_counts(lab: ProbedLab) -> None:
    """The kernel may be still because the reply waits at its socket."""
    packet = Packet(client="node-b", address=lab.pods["pod-a"].addresses[Family.IPV4], port=8080)
    with Prober(lab, silence_s=0) as prober, prober.watching() as batch:
        pending = batch.send(packet, lab.nodes["node-b"].namespace, serial=1)
        assert pending
        until("nothing is on its way", batch.calm)
        batch.watch()
        assert pending.reply is Role.ANSWER


def test_a_connection_ends_on_both_sides(lab: ProbedLab) -> None:
    """One that is given up amid its end would send its FIN again for minutes, to who knows where.

    The program still speaks after its client has: given up, a connection would be reset.
    """
    pod = lab.pods["pod-a"]
    packet = Packet(client="outside", address=pod.addresses[Family.IPV4], port=9000)
    with (
        pod.namespace.run(lambda: socket.create_server(("", packet.port))) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        heard = pool.submit(hold_a_conversation, server)
        (connection,) = connect_many(lab, [packet])
        assert heard.result() == [b"kproxy\n", b"", b""]
    assert connection == Connection(outcome=Outcome.ANSWERED, said=b"hello\n")


def hold_a_conversation(server: socket.socket) -> list[bytes]:
    """Answer one client, wait for its end, say goodbye; return what it said, to the last."""
    server.settimeout(30)
    sock, _ = server.accept()
    with sock:
        sock.settimeout(30)
        heard = [sock.recv(100)]
        sock.sendall(b"hello\n")
        heard.append(sock.recv(100))
        sock.sendall(b"goodbye\n")
        sock.shutdown(socket.SHUT_WR)
        return [*heard, sock.recv(100)]
