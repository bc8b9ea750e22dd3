"""Packets that the kernel holds are noticed until they are gone."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kproxy.kernel.in_flight import Stillness, holds_packets, queues
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from netns_tests.run.running import until


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace.create("in-flight") as namespace, namespace.entered():
        run(["ip", "link", "set", "lo", "up"])
        run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"])
        for link in ("near", "far"):
            run(["ip", "link", "set", link, "up"])
        run(["ip", "address", "add", "192.0.2.1/24", "dev", "near"])
        yield namespace


def send(address: str, data: bytes = b"") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(data, (address, 9))


def test_nothing_is_held_at_first(host: Namespace) -> None:
    assert not holds_packets(host)


def test_a_packet_that_waits_for_a_neighbour(host: Namespace) -> None:
    send("192.0.2.2")  # nobody has this address
    assert holds_packets(host)
    assert not Stillness().reigns([host])
    run(["ip", "neighbour", "replace", "192.0.2.2", "lladdr", "02:00:00:00:00:02", "dev", "near"])
    assert not holds_packets(host)


def test_a_packet_that_waits_for_a_slow_link(host: Namespace) -> None:
    slow = "rate 64kbit burst 1600 latency 60s"
    run(["tc", "qdisc", "add", "dev", "lo", "root", "tbf", *slow.split()])
    for _ in range(4):
        send("127.0.0.1", bytes(1000))
    assert holds_packets(host)
    until("the link has sent them", lambda: not holds_packets(host))


def test_stillness_returns(host: Namespace) -> None:
    """Other tests keep the processors' queues busy at times."""
    stillness = Stillness()
    until("no packet is on its way", lambda: stillness.reigns([host]), pause_s=0.001)


def test_the_queues_of_processors_are_known() -> None:
    found = queues()
    assert found is not None
    assert min(found) >= 0
