"""Tables of conntrack before and after the stale UDP flows are cut."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from kproxy.address import Family
from kproxy.api.types import Endpoint, EndpointPort, EndpointSlice, Metadata, ServicePort
from kproxy.forwarding.plan import NodeSettings
from kproxy.forwarding.planner import Planner
from kproxy.forwarding.stale_flows import UdpEndpoints
from kproxy.kernel import conntrack, conntrack_file
from kproxy.kernel.netlink import Netlink, Request
from kproxy.kernel.netns import Namespace
from kproxy.lab import service
from kproxy.proxy.udp_flows import UdpChange, cut_stale_flows
from kproxy.store import SERVICE_NAME_LABEL, Store
from netns_tests.conntrack_entries import Entry, ends, write
from netns_tests.forwarding.survey import BOTH

NODE_PORT = 30053
CLIENTS, ENDPOINTS = 500, 10


@pytest.fixture(autouse=True)
def _own_namespace() -> Iterator[None]:
    with Namespace.create() as namespace, namespace.entered():
        yield


@pytest.fixture(params=["text", "netlink"])
def _told_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's text, where it has any that is whole, and as where it has none."""
    if request.param == "netlink":
        monkeypatch.setattr(conntrack_file, "read", lambda: None)


def address(family: Family, kind: int, number: int = 0) -> str:
    if family is Family.IPV4:
        return f"10.{kind}.{number >> 8}.{number & 255}"
    return f"fd00::{kind}:{number + 1:x}"


def cut(family: Family) -> None:
    """Cut flows on a node with one Service, on address 96 and a node port, and endpoints 244."""
    made = service(
        "dns",
        cluster_ips=[address(family, 96)],
        ports=[ServicePort(name="dns", protocol="UDP", port=53, node_port=NODE_PORT)],
        type="NodePort",
    )
    slices = EndpointSlice(
        metadata=Metadata(name="dns-1", labels={SERVICE_NAME_LABEL: "dns"}),
        address_type=family.value,
        ports=(EndpointPort(name="dns", protocol="UDP", port=53),),
        endpoints=tuple(
            Endpoint(addresses=(address(family, 244, number),)) for number in range(ENDPOINTS)
        ),
    )
    store, settings = Store(), NodeSettings(family=family, node_name="node-a")
    store.replace([made, slices])
    planner, known = Planner(settings), UdpEndpoints()
    planner.replan(store)
    known.update(store, store.services(), settings)
    cut_stale_flows([UdpChange(planner.plan, known.serving, ())])


@pytest.mark.usefixtures("_told_by")
@pytest.mark.parametrize("family", BOTH)
def test_of_thousands_only_the_stale_ones_go(family: Family) -> None:
    asked = [(address(family, 96), 53), (address(family, 192), NODE_PORT)]
    kept, stale = [], []
    for number in range(CLIENTS):
        client = address(family, 1, number)
        present = (address(family, 244, number % ENDPOINTS), 53)
        former = (address(family, 244, ENDPOINTS + number % ENDPOINTS), 53)
        for port, destination in enumerate(asked, 1000):
            kept.append(Entry((client, port), destination, present))
            stale.append(Entry((client, port + 1000), destination, former))
            kept.append(Entry((client, port + 1000), destination, former, "TCP"))
        other = (address(family, 8), 53)
        kept.append(Entry((client, 1000), other, other))
    write([*kept, *stale])
    of_the_other = (address(family.other, 96), 53)
    write([Entry((address(family.other, 1), 1), of_the_other, of_the_other)])
    assert len(conntrack.flows(family, "UDP")) == 2 * CLIENTS + CLIENTS + len(stale)
    cut(family)
    assert ends(conntrack.flows(family)) == sorted((each[1], each[2]) for each in kept)
    assert len(conntrack.flows(family.other)) == 1


CASES = [  # of one client; whether it stays
    (Entry(("10.1.0.0", 1), ("10.96.0.0", 53), ("10.244.9.9", 53)), False),
    (Entry(("10.1.0.0", 1), ("10.96.0.0", 53), ("10.244.9.9", 53), zone=7), False),
    (Entry(("10.1.0.0", 1), ("10.96.0.0", 53), ("10.96.0.0", 53)), False),
    (Entry(("10.1.0.0", 1), ("8.8.8.8", NODE_PORT), ("8.8.8.8", NODE_PORT)), False),
    (Entry(("10.1.0.0", 1), ("10.96.0.0", 54), ("10.244.9.9", 53)), True),
    (Entry(("10.1.0.0", 1), ("10.96.0.0", 53), ("10.244.9.9", 53), "TCP"), True),
]


@pytest.mark.usefixtures("_told_by")
@pytest.mark.parametrize(("entry", "stays"), CASES)
def test_single_entries(entry: Entry, stays: bool) -> None:
    write([entry])
    cut(Family.IPV4)
    assert len(conntrack.flows(Family.IPV4)) == stays


@pytest.mark.usefixtures("_told_by")
def test_an_entry_that_was_removed_already_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    write([CASES[0][0]])
    found = conntrack.flows(Family.IPV4, "UDP")
    conntrack.forget(found)
    conntrack.forget(found)
    write([CASES[0][0]])
    caplog.set_level(logging.INFO, "kproxy")
    cut(Family.IPV4)
    assert caplog.messages == ["IPv4: cut 1 UDP flows to removed endpoints"]


class Release(NamedTuple):
    release: str


class ListedError(Exception):
    pass


def test_a_namespace_without_entries_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(*_: object) -> None:
        raise ListedError

    with Namespace.create() as other:
        other.run(lambda: write([CASES[0][0]]))
        monkeypatch.setattr(conntrack, "Netlink", listing)
        assert conntrack.flows(Family.IPV4) == []
        with pytest.raises(ListedError):
            other.run(lambda: conntrack.flows(Family.IPV4))


@pytest.mark.parametrize(("buckets", "asked"), [(3000, 1), (2999, 2), (0, 2)])
def test_both_families_at_once(buckets: int, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are listed in one walk through the kernel's table, many by family without the others."""
    udp = 10
    for family in BOTH:
        to = (address(family, 96), 53)
        write(Entry((address(family, 1, number), 1), to, to) for number in range(udp))
        write(Entry((address(family, 1, number), 1), to, to, "TCP") for number in range(5))
    monkeypatch.setattr(conntrack_file, "read", lambda: None)
    walks: list[object] = []
    dump = Netlink.dump

    def listing(netlink: Netlink, request: Request) -> list[memoryview]:
        walks.append(request)
        return dump(netlink, request)

    monkeypatch.setattr(Netlink, "dump", listing)
    numbers = {"count": 30, "buckets": buckets}
    monkeypatch.setattr(conntrack, "_read_number", lambda name, _: numbers[name])
    found = conntrack.flows_of(BOTH, "UDP")
    assert len(walks) == asked
    for family in BOTH:
        assert len(found[family]) == udp
        assert ends(found[family]) == ends(conntrack.flows(family, "UDP"))


@pytest.mark.parametrize(("buckets", "read"), [(750, 1), (749, 0)])
def test_a_long_text_is_not_read(buckets: int, read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk through the table may be shorter."""
    times: list[None] = []
    numbers = {"count": 30, "buckets": buckets}
    monkeypatch.setattr(conntrack, "_read_number", lambda name, _: numbers[name])
    monkeypatch.setattr(conntrack_file, "read", lambda: times.append(None))
    assert conntrack.flows_of(BOTH, "UDP") == {family: [] for family in BOTH}
    assert len(times) == read


@pytest.mark.parametrize("family", BOTH)
def test_the_text_tells_the_same_as_netlink(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, backend = (address(family, 96), 53), (address(family, 244), 5353)
    write(Entry((address(family, 1, number), 1), to, backend) for number in range(5))
    write(Entry((address(family, 1, number), 1), to, backend, "TCP") for number in range(3))
    elsewhere = (address(family.other, 8), 9)
    write([Entry((address(family.other, 1), 1), elsewhere, elsewhere)])
    text = conntrack_file.read()
    assert text is not None
    told = conntrack.flows_of(BOTH, "UDP")
    monkeypatch.setattr(conntrack_file, "read", lambda: None)
    listed = conntrack.flows_of(BOTH, "UDP")
    assert [len(listed[each]) for each in (family, family.other)] == [5, 1]
    for each in BOTH:
        assert ends(told[each]) == ends(listed[each])


def test_a_long_text_is_used_only_of_kernels_that_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones count the entries before a page again, and one of these may have ended."""
    to = (address(Family.IPV4, 96), 53)
    write(Entry((address(Family.IPV4, 1, number), 1), to, to) for number in range(200))
    for release, whole in (("6.18.0-rc1", True), ("7.0", True), ("6.17.9-1-amd64", False)):
        monkeypatch.setattr("os.uname", lambda release=release: Release(release))
        text = conntrack_file.read()
        assert (text is not None) == whole
        assert not text or len(text.splitlines()) == 200


UNPRIVILEGED = """
import logging, os
from kproxy.address import Family
from kproxy.forwarding.plan import NodeSettings, Plan
from kproxy.proxy.udp_flows import UdpChange, cut_stale_flows
os.setgid(65534); os.setuid(65534)
logging.basicConfig(format="%(levelname)s %(message)s")
plan = Plan(settings=NodeSettings(family=Family.IPV4, node_name=""), services={})
cut_stale_flows([UdpChange(plan, {}, ())])
"""


def test_a_failure_is_logged_and_no_more() -> None:
    write([CASES[0][0]])  # else nothing is asked
    argv = [sys.executable, "-c", UNPRIVILEGED]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == (
        "ERROR IPv4: cannot cut UDP flows to removed endpoints: list connections: "
        "Operation not permitted\n"
    )
