"""Legacy iptables alone marks what is wanted, and what answers it; whoever ends it, it is gone."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kproxy.address import Family, socket_family
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.kernel.trace import LegacyMarks, PacketFilter, Trace
from kproxy.kernel.trace.marks import PER_SECOND
from kproxy.probe.foreign import foreign
from kproxy.probe.packets import Role

SERVICES = {Family.IPV4: "127.0.0.5", Family.IPV6: "fd00::5"}
POD = {Family.IPV4: "127.0.0.6", Family.IPV6: "fd00::6"}
PORT, POD_PORT, CLOSED = 80, 8080, 81


@pytest.fixture(params=Family)
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


@pytest.fixture
def node(family: Family) -> Iterator[Namespace]:
    """A namespace whose legacy rules lead from a service to a server."""
    program = "iptables-legacy" if family is Family.IPV4 else "ip6tables-legacy"
    with Namespace.create() as made, made.entered():
        run(["ip", "link", "set", "lo", "up"])
        if family is Family.IPV6:
            for address in (SERVICES[family], POD[family]):
                run(["ip", "address", "add", f"{address}/128", "dev", "lo", "nodad"])
        for protocol in ("tcp", "udp"):
            where = [*("-d", SERVICES[family]), *("-p", protocol), *("--dport", str(PORT))]
            to = f"[{POD[family]}]" if family is Family.IPV6 else POD[family]
            dnat = [*("-j", "DNAT"), *("--to-destination", f"{to}:{POD_PORT}")]
            run([program, "--wait", "-t", "nat", "-A", "OUTPUT", *where, *dnat])
        yield made


def ask(address: str, port: int, kind: int) -> None:
    with socket.socket(socket_family(address), kind) as client, suppress(ConnectionError):
        client.connect((address, port))
        if kind == socket.SOCK_DGRAM:
            client.send(b"kproxy asks who is there")
            client.recv(100)


def raw_rules(family: Family) -> list[str]:
    program = "iptables-legacy-save" if family is Family.IPV4 else "ip6tables-legacy-save"
    lines = run([program, "-t", "raw"]).splitlines()
    return [line for line in lines if line.startswith("-A")]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_what_is_wanted_and_its_answer(node: Namespace, family: Family, kind: int) -> None:
    wanted = PacketFilter(destination=SERVICES[family], destination_port=PORT)
    with (
        node.entered(),
        socket.socket(family.socket_family, kind) as server,
        Trace.listen("legacy") as trace,
        LegacyMarks(wanted, [family]),
    ):
        if kind == socket.SOCK_STREAM:  # a datagram is refused
            server.bind((POD[family], POD_PORT))
            server.listen()
        ask(SERVICES[family], CLOSED, kind)  # another port
        ask(POD[family], CLOSED, kind)
        assert not [
            step for step in trace.read() if (found := foreign(step.packet)) and not found.how
        ]
        ask(SERVICES[family], PORT, kind)
        steps = trace.read()
        packets = [(step, foreign(step.packet)) for step in steps]
        (rule,) = (trace.describe(step) for step in steps if step.table == "nat" and step.rule)
    assert "-j DNAT" in rule
    if kind == socket.SOCK_STREAM:
        answers = [step for step, packet in packets if packet and packet.role is Role.ANSWER]
    else:
        answers = [step for step, packet in packets if packet and packet.how]
    assert answers


def test_of_very_many_packets_some_are_marked(node: Namespace, family: Family) -> None:
    wanted = PacketFilter(destination=SERVICES[family], destination_port=PORT)
    sent = 2_000  # in far less than the twenty seconds that it would take to mark them all
    with (
        node.entered(),
        socket.socket(family.socket_family, socket.SOCK_DGRAM) as client,
        Trace.listen("legacy") as trace,
        LegacyMarks(wanted, [family]),
    ):
        for _ in range(sent):
            client.sendto(b"kproxy asks who is there", (SERVICES[family], PORT))
        ends = [step for step in trace.read() if (step.table, step.kind) == ("raw", "policy")]
    requests = [step for step in ends if step.chain == "OUTPUT" and not is_error(step.packet)]
    assert PER_SECOND <= len(requests) < sent


def is_error(packet: bytes) -> bool:
    found = foreign(packet)
    return found is not None and found.how is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_all_processes_of_a_service_leaves_nothing(
    node: Namespace, family: Family, number: signal.Signals
) -> None:
    wanted = PacketFilter(destination=SERVICES[family], destination_port=PORT)
    with node.entered():
        before = children()
        with LegacyMarks(wanted, [family]):
            (guardian,) = children() - before
            assert f"kproxy-trace-{os.getpid()} " in str(raw_rules(family))
            os.kill(guardian, number)
        assert raw_rules(family) == []


def children() -> set[int]:
    return {
        int(word)
        for file in Path("/proc/self/task").glob("*/children")
        for word in file.read_text().split()
    }
