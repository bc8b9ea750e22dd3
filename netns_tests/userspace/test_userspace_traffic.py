"""Connections and flows through the proxy, byte by byte."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.backend import Seconds
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.userspace.proxied import (
    CLUSTER_IP,
    OWN_PORT,
    V4,
    VIP,
    ask,
    connect,
    hear_each_other_out,
    listen,
    objects,
    proxied_lab,
    who_answers,
)

BOTH = list(Family)
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
TEN_MB = 10 << 20


@pytest.fixture(scope="module")
def lab(kproxy_module_lab: LabFactory) -> ProbedLab:
    return proxied_lab(kproxy_module_lab, udp_idle_timeout=Seconds(1))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def both_ends(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> tuple[socket.socket, socket.socket]:
    """Return a client of the cluster IP, and the server's end of its connection."""
    lab.apply(objects(lab, ["pod-b"], target_port=OWN_PORT))
    listener = stack.enter_context(listen(lab, "pod-b", lab.pods["pod-b"].addresses[family]))
    client = stack.enter_context(connect(lab, "visitor", CLUSTER_IP[family]))
    server, _ = listener.accept()
    server.settimeout(10)
    return client, stack.enter_context(server)


@pytest.mark.parametrize("family", BOTH)
def test_either_side_may_end_first_and_still_hear(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> None:
    for swap in (False, True):
        hear_each_other_out(*both_ends(stack, lab, family)[:: -1 if swap else 1])
        stack.close()


@pytest.mark.parametrize("family", BOTH)
def test_ten_megabytes_each_way_at_the_same_time(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> None:
    sent = os.urandom(TEN_MB), os.urandom(TEN_MB)
    ends = both_ends(stack, lab, family)
    received: dict[int, bytes] = {}

    def send(number: int) -> None:
        ends[number].sendall(sent[number])
        ends[number].shutdown(socket.SHUT_WR)

    def receive(number: int) -> None:
        received[number] = ends[number].makefile("rb").read()

    threads = [
        threading.Thread(target=work, args=(number,))
        for work in (send, receive)
        for number in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert received[0] == sent[1]
    assert received[1] == sent[0]


def test_a_slow_reader_slows_the_writer(stack: ExitStack, lab: ProbedLab) -> None:
    """Unread bytes stay with the writer: the proxy does not buffer them without limit."""
    client, server = both_ends(stack, lab, V4)
    client.settimeout(1)
    sent = 0
    with suppress(TimeoutError):
        while sent < 1 << 28:
            sent += client.send(bytes(1 << 16))
    assert sent < 1 << 28
    client.shutdown(socket.SHUT_WR)
    server.settimeout(10)
    assert len(server.makefile("rb").read()) == sent


@pytest.mark.parametrize("victim", [0, 1])
def test_a_broken_side_breaks_the_other(stack: ExitStack, lab: ProbedLab, victim: int) -> None:
    ends = both_ends(stack, lab, V4)
    ends[victim].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ends[victim].close()  # with RST
    with pytest.raises(ConnectionResetError):
        ends[1 - victim].recv(1)


@pytest.mark.parametrize("family", BOTH)
def test_a_dead_endpoint_resets_the_client(lab: ProbedLab, family: Family) -> None:
    """The client was accepted before this was known; an end of input would mean success."""
    lab.apply(objects(lab, ["pod-b"], target_port=OWN_PORT + 1))
    with pytest.raises(ConnectionResetError):
        who_answers(lab, "visitor", CLUSTER_IP[family])


@pytest.mark.parametrize("family", BOTH)
def test_an_open_connection_outlives_its_endpoint(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> None:
    client, server = both_ends(stack, lab, family)
    lab.apply(objects(lab, ["pod-a"]))
    assert who_answers(lab, "visitor", CLUSTER_IP[family]) == "pod-a"
    client.sendall(b"still there?")
    assert server.recv(100) == b"still there?"
    lab.apply(objects(lab, []))
    with pytest.raises(ConnectionRefusedError):
        connect(lab, "visitor", CLUSTER_IP[family])
    server.sendall(b"yes")
    assert client.recv(100) == b"yes"


def test_a_removed_service_breaks_its_connections(stack: ExitStack, lab: ProbedLab) -> None:
    """Its addresses are removed from the node, so they cannot go on, and both sides are told."""
    client, server = both_ends(stack, lab, V4)
    lab.replace([])
    for end in (client, server):
        with pytest.raises(ConnectionResetError):
            end.recv(1)


@pytest.mark.parametrize("family", BOTH)
def test_a_udp_client_keeps_its_endpoint_until_it_is_removed(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> None:
    lab.apply(objects(lab, ["pod-a", "pod-b"]))
    clients = [
        stack.enter_context(connect(lab, "outside", VIP[family], kind=UDP)) for _ in range(20)
    ]
    before = [ask(each) for each in clients]
    assert {*before} == {"pod-a", "pod-b"}
    assert [ask(each) for each in clients] == before
    lab.apply(objects(lab, ["pod-b"]))
    assert [ask(each) for each in clients] == ["pod-b"] * 20
    lab.apply(objects(lab, ["pod-a", "pod-b"]))
    assert [ask(each) for each in clients] == ["pod-b"] * 20


def test_an_idle_udp_client_is_forgotten(stack: ExitStack, lab: ProbedLab) -> None:
    """Its next datagram comes from another socket of the node."""
    lab.apply(objects(lab, ["pod-b"], target_port=OWN_PORT))
    with lab.hosts["pod-b"].namespace.entered():
        server = stack.enter_context(socket.socket(socket.AF_INET, UDP))
    server.bind((lab.pods["pod-b"].addresses[V4], OWN_PORT))
    server.settimeout(10)
    client = stack.enter_context(connect(lab, "outside", VIP[V4], kind=UDP))

    def source() -> tuple[str, int]:
        client.send(b"?")
        found: tuple[str, int] = server.recvfrom(10)[1]
        return found

    first = source()
    assert source() == first
    assert proxy_sockets(lab, "node-a") == 1
    while proxy_sockets(lab, "node-a"):
        pass
    assert source() != first


def proxy_sockets(lab: ProbedLab, node: str) -> int:
    """Return the number of connected UDP sockets on a node."""
    with lab.nodes[node].namespace.entered():
        lines = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
    return sum(1 for line in lines if line.split()[2] != "00000000:0000")


@pytest.mark.parametrize("kind", [TCP, UDP])
def test_session_affinity_holds_for_all_frontends(lab: ProbedLab, kind: socket.SocketKind) -> None:
    lab.apply(objects(lab, ["pod-a", "pod-b"], session_affinity="ClientIP"))
    for family in BOTH:
        chosen = {
            who_answers(lab, "visitor", address, kind)
            for address in (CLUSTER_IP[family], VIP[family])
            for _ in range(10)
        }
        assert len(chosen) == 1
        (left,) = {"pod-a", "pod-b"} - chosen
        lab.apply(objects(lab, [left], session_affinity="ClientIP"))
        assert who_answers(lab, "visitor", VIP[family], kind) == left
        lab.apply(objects(lab, ["pod-a", "pod-b"], session_affinity="ClientIP"))
        assert who_answers(lab, "visitor", CLUSTER_IP[family], kind) == left


def test_two_thousand_open_connections(stack: ExitStack, lab: ProbedLab) -> None:
    lab.apply(objects(lab, ["pod-a", "pod-b"]))
    clients = [stack.enter_context(connect(lab, "outside", VIP[V4])) for _ in range(2000)]
    for each in clients:
        each.sendall(b"\n")
    answers = {each.makefile("rb").readline() for each in clients}
    assert len(answers) == 2000  # each with a source port of its own


def test_clients_beyond_the_limit_wait(stack: ExitStack, kproxy_lab: LabFactory) -> None:
    lab = proxied_lab(kproxy_lab, max_connections=2)
    lab.apply(objects(lab, ["pod-a"]))
    clients = [stack.enter_context(connect(lab, "outside", VIP[V4])) for _ in range(4)]
    assert ask(clients[0]) == "pod-a"  # then the pod closes the connection
    clients[3].sendall(b"\n")
    clients[3].settimeout(0.3)
    with pytest.raises(TimeoutError):
        clients[3].recv(1)
    clients[3].settimeout(10)
    for each in clients[:3]:
        each.close()
    assert clients[3].recv(4096)
