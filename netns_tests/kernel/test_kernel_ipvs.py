"""Virtual servers and real servers, as the kernel keeps them and ipvsadm prints them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from kproxy.address import Family, family_of
from kproxy.errors import KernelRefused
from kproxy.kernel.ipvs import Batch, Ipvs, Load, RealServer, Settings, VirtualServer
from kproxy.kernel.links import Links
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run

pytestmark = pytest.mark.ipvs

IDLE = Load(1, 0, 0)


@pytest.fixture
def ipvs() -> Iterator[Ipvs]:
    with Namespace.create() as namespace, namespace.entered(), Ipvs() as ipvs:
        with Links() as links:
            links.up("lo")  # without any route, every address of a real server is invalid
        yield ipvs


def ipvsadm() -> list[str]:
    return run(["ipvsadm", "--save", "--numeric"]).splitlines()


SERVERS = [  # key, settings, a real server, the output of ipvsadm for both
    (
        VirtualServer("TCP", "10.96.0.1", 443),
        Settings("rr", 0x0, 0),
        RealServer("192.168.0.1", 6443),
        "-t 10.96.0.1:443 -s rr",
        "-t 10.96.0.1:443 -r 192.168.0.1:6443 -m -w 1",
    ),
    (
        VirtualServer("UDP", "10.96.0.10", 53),
        Settings("wrr", 0x1, 10800),
        RealServer("10.244.0.9", 53),
        "-u 10.96.0.10:53 -s wrr -p 10800",
        "-u 10.96.0.10:53 -r 10.244.0.9:53 -m -w 1",
    ),
    (
        VirtualServer("SCTP", "10.96.0.11", 9),
        Settings("mh", 0x10, 0),
        RealServer("10.244.0.9", 65535),
        "--sctp-service 10.96.0.11:9 -s mh -b mh-port",
        "--sctp-service 10.96.0.11:9 -r 10.244.0.9:65535 -m -w 1",
    ),
    (
        VirtualServer("TCP", "fd00::10", 80),
        Settings("sh", 0x1, 300),
        RealServer("fd00:1::1", 8080),
        "-t [fd00::10]:80 -s sh -p 300",
        "-t [fd00::10]:80 -r [fd00:1::1]:8080 -m -w 1",
    ),
]


@pytest.mark.parametrize(
    ("key", "settings", "real", "line", "real_line"), SERVERS, ids=[row[3] for row in SERVERS]
)
def test_what_is_written_is_there(
    ipvs: Ipvs, key: VirtualServer, settings: Settings, real: RealServer, line: str, real_line: str
) -> None:
    batch = Batch()
    batch.add(key, settings)
    batch.add_real(key, real, 1)
    ipvs.apply(batch)
    assert ipvsadm() == [f"-A {line}", f"-a {real_line}"]
    family = family_of(key.address)
    assert ipvs.virtual_servers(family) == {key: settings}
    assert ipvs.virtual_servers(family.other) == {}
    assert (ipvs.count(family), ipvs.count(family.other)) == (1, 0)
    assert ipvs.real_servers(key) == {real: IDLE}

    batch = Batch()
    batch.delete_real(key, real)
    batch.delete(key)
    ipvs.apply(batch)
    assert ipvsadm() == []


def test_changes(ipvs: Ipvs) -> None:
    key, _, real, _, _ = SERVERS[0]
    batch = Batch()
    batch.add(key, Settings("rr", 0x1, 300))
    batch.add_real(key, real, 1)
    batch.edit(key, Settings("wlc", 0x0, 0))
    batch.edit_real(key, real, 0)
    assert len(batch) == 4
    ipvs.apply(batch)
    assert ipvs.virtual_servers(Family.IPV4) == {key: Settings("wlc", 0x0, 0)}
    assert ipvs.real_servers(key) == {real: Load(0, 0, 0)}


def test_real_servers_of_a_virtual_server_that_is_not_there(ipvs: Ipvs) -> None:
    assert ipvs.real_servers(SERVERS[0][0]) == {}


def test_failures_do_not_keep_others_from_being_done(ipvs: Ipvs) -> None:
    key, settings, real, _, _ = SERVERS[0]
    missing = [RealServer("10.0.0.1", port) for port in range(1, 6)]
    batch = Batch()
    batch.add(key, settings)
    batch.add(key, settings)
    batch.delete(SERVERS[1][0])
    for each in missing:
        batch.delete_real(key, each)
    batch.add_real(key, real, 1)
    with pytest.raises(KernelRefused) as refused:
        ipvs.apply(batch)
    assert str(refused.value).splitlines() == [
        "add virtual server 10.96.0.1:443/TCP: File exists",
        "delete virtual server 10.96.0.10:53/UDP: No such process",
        "delete real server 10.0.0.1:1 of 10.96.0.1:443/TCP: No such file or directory",
        "... and 4 more",
    ]
    assert ipvs.real_servers(key) == {real: IDLE}
    ipvs.apply(Batch())  # nothing is left over from the failures


def test_an_unknown_scheduler(ipvs: Ipvs) -> None:
    batch = Batch()
    batch.add(SERVERS[3][0], Settings("nonsense", 0x0, 0))
    with pytest.raises(
        KernelRefused, match=r"add virtual server \[fd00::10\]:80/TCP: No such file"
    ):
        ipvs.apply(batch)


def test_a_thousand_servers(ipvs: Ipvs) -> None:
    """They are more than fit into one send, and one answer."""
    wanted = {
        VirtualServer("TCP", f"10.96.{number >> 8}.{number & 255}", 80): {
            RealServer(f"10.244.{slot}.{number & 255}", 8080) for slot in range(5)
        }
        for number in range(1000)
    }
    batch = Batch()
    for key, reals in wanted.items():
        batch.add(key, Settings("rr", 0x0, 0))
        for real in reals:
            batch.add_real(key, real, 1)
    ipvs.apply(batch)
    assert ipvs.virtual_servers(Family.IPV4).keys() == wanted.keys()
    assert ipvs.count(Family.IPV4) == 1000
    assert {key: ipvs.real_servers(key).keys() for key in wanted} == wanted


def test_timeouts(ipvs: Ipvs) -> None:
    before = ipvs.timeouts()
    ipvs.set_timeouts(100, 20, 30)
    assert ipvs.timeouts() == (100, 20, 30)
    ipvs.set_timeouts(0, 21, 0)
    assert ipvs.timeouts() == (100, 21, 30)
    ipvs.set_timeouts(*before)
    assert ipvs.timeouts() == before


def test_virtual_servers_of_firewall_marks_are_left_out(ipvs: Ipvs) -> None:
    run(["ipvsadm", "-A", "-f", "7", "-s", "rr"])
    assert ipvs.virtual_servers(Family.IPV4) == {}


UNPRIVILEGED = """
import os
from kproxy.errors import Unsupported
from kproxy.address import Family
from kproxy.kernel.ipvs import Batch, Ipvs, Settings, VirtualServer
os.setgid(65534); os.setuid(65534)
batch = Batch()
batch.add(VirtualServer("TCP", "10.0.0.1", 80), Settings("rr", 0, 0))
with Ipvs() as ipvs:
    for attempt in (lambda: ipvs.apply(batch), lambda: ipvs.virtual_servers(Family.IPV4)):
        try:
            attempt()
        except Unsupported as error:
            print(error, "|", error.remedy)
"""


def test_without_privilege() -> None:
    with Namespace.create() as namespace, namespace.entered():
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=True
        )
    first, second = done.stdout.splitlines()
    assert first.startswith(
        "add virtual server 10.0.0.1:80/TCP: Operation not permitted | run as root"
    )
    assert second.startswith("list virtual servers: Operation not permitted | run as root")
