"""Userspace mode takes over, repairs and removes what is its own, and touches nothing else."""

from __future__ import annotations

import json
import logging
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from kproxy_userspace import UserspaceOptions
from kproxy_userspace.backend import UserspaceBackend
from msgspec import structs

from kproxy.address import Family
from kproxy.backend import Delta, NodeSettings, Plan
from kproxy.errors import KernelRefused
from kproxy.kernel.process import run
from kproxy.testing.node import new_node
from netns_tests.descriptors import open_descriptors
from netns_tests.run.running import Place, until
from tests.forwarding.plans import Web, service_plan
from tests.forwarding.plans import settings as settings_of

BOTH = list(Family)
OTHERS = ("10.9.9.9/32", "fd00:9::9/128")  # of another process, also on lo
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIPs: [10.96.0.10, "fd00:96::10"]
  clusterIP: 10.96.0.10
  ipFamilies: [IPv4, IPv6]
  ports: [{port: 80, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.1.5]}]
ports: [{port: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-6, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
endpoints: [{addresses: ["fd00:244:1::5"]}]
ports: [{port: 8080}]
"""


def addresses() -> set[str]:
    """Return the addresses of lo, without 127.0.0.1 and ::1."""
    (link,) = json.loads(run(["ip", "-j", "address", "show", "dev", "lo"]))
    found = {f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"]}
    return found - {"127.0.0.1/8", "::1/128"}


@pytest.fixture
def backend() -> Iterator[UserspaceBackend]:
    """Yield a backend on a node whose lo has addresses of another process."""
    with new_node():
        for address in OTHERS:
            run(["ip", "address", "add", address, "dev", "lo"])
        made = UserspaceBackend(Family.IPV4, UserspaceOptions())
        yield made
        made.close()


def settings() -> NodeSettings:
    return settings_of("node-a", node_port_addresses=("192.168.10.0/24",))


def plan(*webs: Web) -> Plan:
    node = settings()
    services = [service_plan(web, node) for web in webs]
    return Plan(settings=node, services={each.name: each for each in services})


WEB = Web()
WEB_ADDRESSES = {"10.96.0.10/32", "198.51.100.7/32", "198.51.100.9/32"}
WEB_PLACES = {
    "10.96.0.10:80/TCP",
    "192.168.10.10:30080/TCP",
    "198.51.100.7:80/TCP",
    "198.51.100.9:80/TCP",
}
FULL = Delta(full=True)


def test_a_sync_and_what_can_be_read_of_it(backend: UserspaceBackend) -> None:
    assert backend.support().ok
    assert not any(backend.read().values())
    report = backend.sync(plan(WEB), FULL)
    assert (report.full, report.rules_written) == (True, {"addresses": 3, "listeners": 4})
    assert addresses() == {*OTHERS} | WEB_ADDRESSES
    found = backend.read()
    assert {*found["addresses"]["lo"]} == {each.removesuffix("/32") for each in WEB_ADDRESSES}
    assert found["listeners"] == dict.fromkeys(sorted(WEB_PLACES), ("10.244.2.5:8080",))
    assert backend.intact()
    report = backend.sync(plan(WEB), Delta())
    assert (report.full, report.transactions) == (False, 0)


def test_only_what_has_changed_is_touched(backend: UserspaceBackend) -> None:
    before = plan(WEB)
    backend.sync(before, FULL)
    other = Web(name="other", cluster_ip="10.96.0.11", external_ips=(), vips=(), node_port=30081)
    after = plan(WEB, other)
    (name,) = after.services.keys() - before.services.keys()
    report = backend.sync(after, Delta(before={name: None}))
    assert report.rules_written == {"addresses": 1, "listeners": 2}
    report = backend.sync(before, Delta(before={name: after.services[name]}))
    assert report.rules_written == {"addresses": 1, "listeners": 2}
    assert addresses() == {*OTHERS} | WEB_ADDRESSES
    assert backend.read()["listeners"].keys() == WEB_PLACES


def test_an_address_that_the_node_has_anyway_is_not_touched(backend: UserspaceBackend) -> None:
    web = Web(external_ips=("192.168.10.10", "10.9.9.9"), vips=())
    backend.sync(plan(web), FULL)
    assert addresses() == {*OTHERS, "10.96.0.10/32"}
    assert "10.9.9.9:80/TCP" in backend.read()["listeners"]
    assert backend.intact()
    run(["ip", "address", "del", OTHERS[0], "dev", "lo"])
    assert not backend.intact()
    backend.sync(plan(web), FULL)
    assert addresses() == {*OTHERS, "10.96.0.10/32"}
    assert backend.intact()
    backend.cleanup()
    assert addresses() == {OTHERS[1]}


DAMAGE = [
    "ip address del 198.51.100.9/32 dev lo",
    "ip address add 192.168.10.77/24 dev eth0",  # node ports must answer there as well
    "ip address del 192.168.10.10/24 dev eth0",
]


@pytest.mark.parametrize("command", DAMAGE)
def test_damage_is_found_and_repaired(backend: UserspaceBackend, command: str) -> None:
    backend.sync(plan(WEB), FULL)
    run(command.split())
    assert not backend.intact()
    backend.sync(plan(WEB), FULL)
    assert backend.intact()
    assert addresses() >= WEB_ADDRESSES
    assert ("192.168.10.77:30080/TCP" in backend.read()["listeners"]) == (
        "192.168.10.77" in command
    )


def test_addresses_of_another_process_are_no_damage(backend: UserspaceBackend) -> None:
    backend.sync(plan(WEB), FULL)
    run(["ip", "address", "del", OTHERS[0], "dev", "lo"])
    run(["ip", "address", "add", "198.51.100.9/32", "dev", "eth0"])  # also on lo
    assert backend.intact()
    assert addresses() == {OTHERS[1]} | WEB_ADDRESSES


@pytest.mark.parametrize("place", sorted(WEB_PLACES))
def test_a_listener_that_died_is_found_and_repaired(backend: UserspaceBackend, place: str) -> None:
    """Only this process can close a listener; `ss -K` comes near. The test shuts its socket."""
    backend.sync(plan(WEB), FULL)
    assert backend._forwarder
    (listener,) = (each for at, each in backend._forwarder._listeners.items() if str(at) == place)
    listener._sock.shutdown(socket.SHUT_RDWR)
    until("the listener has noticed", lambda: not backend.intact())
    backend.sync(plan(WEB), FULL)
    assert backend.intact()


def test_a_place_of_another_process_is_told_and_tried_again(
    backend: UserspaceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.create_server(("192.168.10.10", 30080))):
        report = backend.sync(plan(WEB), FULL)
        assert report.again_in_s > 0
        assert backend.read()["listeners"].keys() == WEB_PLACES - {"192.168.10.10:30080/TCP"}
        assert backend.intact()
        assert "another process has 192.168.10.10:30080/TCP" in caplog.text
        caplog.clear()
        again = backend.sync(plan(WEB), Delta())
        assert (again.transactions, again.again_in_s) == (0, report.again_in_s)
        assert caplog.text == ""
    with caplog.at_level(logging.INFO, "kproxy"):
        last = backend.sync(plan(WEB), Delta())
    assert (last.rules_written["listeners"], last.again_in_s) == (1, 0)
    assert "192.168.10.10:30080/TCP is free" in caplog.text
    assert backend.read()["listeners"].keys() == WEB_PLACES


def test_all_or_nothing(backend: UserspaceBackend) -> None:
    """More source ranges than a filter can hold are refused by the kernel."""
    backend.sync(plan(WEB), FULL)
    before = backend.read()
    ranges = tuple(f"10.{number >> 8}.{number & 255}.0/24" for number in range(2000))
    other = Web(name="a", cluster_ip="10.96.0.11", external_ips=(), vips=("198.51.100.8",))
    changed = Web(on=("pod-a",), source_ranges=("10.0.0.0/8",))
    bad = Web(name="zz", cluster_ip="10.96.0.12", vips=("198.51.100.6",), source_ranges=ranges)
    with pytest.raises(KernelRefused, match="filter 2000 source ranges"):
        backend.sync(plan(other, changed, bad), FULL)
    assert backend.read() == before
    assert addresses() == {*OTHERS} | WEB_ADDRESSES
    assert not backend.intact()
    # Clients outside 10.0.0.0/8 are accepted as before.
    socket.create_connection(("198.51.100.9", 80), timeout=10).close()
    backend.sync(plan(WEB), FULL)
    assert backend.intact()


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_who_has_waited_when_the_last_endpoint_was_removed(
    backend: UserspaceBackend, protocol: str
) -> None:
    """The kernel had let the client in before the filter was set."""
    web = Web(on=("pod-a",), internal="Local", protocol=protocol)
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    backend.sync(plan(web), FULL)
    assert backend._forwarder
    busy = threading.Event()
    backend._forwarder._thread._loop.call_soon_threadsafe(busy.wait)
    with closing(socket.socket(type=kind)) as client:
        client.connect(("10.96.0.10", 80))
        client.sendall(b"?")
        threading.Timer(0.2, busy.set).start()
        backend.sync(plan(structs.replace(web, on=("pod-b",))), FULL)
        if protocol == "TCP":
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert backend.intact()


def test_without_descriptors_clients_wait(
    backend: UserspaceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        closing(socket.create_server(("192.168.10.10", 7000))) as server,
        closing(socket.socket()) as client,
        ExitStack() as limited,
    ):
        backend.sync(plan(Web(on=("192.168.10.10:7000",))), FULL)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        limited.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        with socket.socket() as spare:
            lowest_free = spare.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        client.connect(("10.96.0.10", 80))
        until("the proxy says so", lambda: "clients must wait" in caplog.text)
        limited.close()
        client.sendall(b"here I am")
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(100) == b"here I am"


@pytest.mark.parametrize("synced", [False, True])
def test_close_leaves_no_thread_and_no_descriptor(backend: UserspaceBackend, synced: bool) -> None:
    threads, files = threading.enumerate(), open_descriptors()
    if synced:
        backend.sync(plan(WEB), FULL)
        with closing(socket.create_connection(("10.96.0.10", 80))):
            until("the client is accepted", lambda: len(open_descriptors() - files) > 7)
        assert len(threading.enumerate()) == len(threads) + 1
    backend.close()
    backend.close()
    assert threading.enumerate() == threads
    # Another thread of these tests, such as a lab's, may have opened one for a moment.
    until("only those from before are open", lambda: open_descriptors() <= files)
    assert addresses() == {*OTHERS} | (WEB_ADDRESSES if synced else set())
    fresh = UserspaceBackend(Family.IPV4, UserspaceOptions())
    fresh.cleanup()
    fresh.close()
    assert addresses() == {*OTHERS}


def test_what_a_killed_process_leaves_is_taken_over_or_removed(place: Place) -> None:
    path = place.write("web.yaml", MANIFEST)
    place.tool("ip", "link", "set", "lo", "up")
    for address in OTHERS:
        place.tool("ip", "address", "add", address, "dev", "lo")
    flags = ("--proxy-mode=userspace", "--manifests", str(path))
    held_then = {*OTHERS, "10.96.0.10/32", "fd00:96::10/128"}
    running = place.start(*flags)
    assert place.namespace.run(addresses) == held_then
    running.stop(signal.SIGKILL)
    assert place.namespace.run(addresses) == held_then
    place.write("web.yaml", MANIFEST.replace("96.0.10", "96.0.20"))
    running = place.start(*flags)
    assert place.namespace.run(addresses) == held_then - {"10.96.0.10/32"} | {"10.96.0.20/32"}
    running.stop(signal.SIGKILL)
    assert place.once("--cleanup").returncode == 0
    assert place.namespace.run(addresses) == {*OTHERS}


def test_nothing_of_netfilter_is_touched(place: Place) -> None:
    place.tool("ip", "link", "set", "lo", "up")
    path = place.write("web.yaml", MANIFEST)
    settings = Path("/proc/sys/net/netfilter")

    def state() -> object:
        rules = run(["nft", "list", "ruleset"])
        values = {
            each.name: each.read_text()
            for each in settings.glob("*")
            if each.is_file() and "count" not in each.name
        }
        return rules, values

    before = place.namespace.run(state)
    place.start("--proxy-mode=userspace", "--manifests", str(path)).stop()
    assert place.namespace.run(state) == before


def test_another_mode_removes_what_is_left(place: Place) -> None:
    place.tool("ip", "link", "set", "lo", "up")
    path = place.write("web.yaml", MANIFEST)
    place.start("--proxy-mode=userspace", "--manifests", str(path)).stop(signal.SIGKILL)
    flags = ("--iptables-variant", "legacy", "--manifests", str(path))
    running = place.start("--proxy-mode=iptables", *flags)
    running.says("removed what userspace mode had left")
    assert place.namespace.run(addresses) == set()
    running.stop()
    running = place.start("--proxy-mode=userspace", "--manifests", str(path))
    running.says("removed what iptables mode had left")


def test_once_is_refused(place: Place) -> None:
    path = place.write("web.yaml", MANIFEST)
    done = place.once("--proxy-mode=userspace", "--manifests", str(path), "--once")
    assert done.returncode != 0
    assert "userspace mode forwards in this process" in done.stderr
