"""Figures of backends that a whole proxy would hardly show in time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from kproxy_nftables import NftablesOptions, metrics
from kproxy_nftables.backend import NftablesBackend
from kproxy_nftables.localhost_listeners import ADDRESS

from kproxy.address import Family
from kproxy.backend import Delta, Figure, KernelRefused, Metric
from kproxy.backend.contract import Backend
from kproxy.config import ProxyConfig
from kproxy.forwarding.plan import LoopbackNodePorts, Plan
from kproxy.kernel import nfacct
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.metrics import Measurements
from kproxy.metrics.scrape import Scrape
from kproxy.proxy.control_loop import Counters
from kproxy.testing.node import new_node
from netns_tests.nftables.test_localhost_node_ports import FULL, PORT, REJECTED, SERVED, WEB, plan
from tests.forwarding import plans

IPV4, IPV6 = Family


@pytest.fixture(autouse=True)
def _node() -> Iterator[None]:
    with new_node():
        yield


def samples(*backends: Backend) -> dict[tuple[str, ...], float]:
    """Return what a scrape of these backends finds, from a thread that is elsewhere."""
    with closing(Namespace.current()) as here:
        scrape = Scrape(Measurements([]), backends, here, ProxyConfig(), Counters())
        with Namespace.create() as elsewhere:
            found = elsewhere.run(lambda: [*scrape.samples()])
    return {
        (each.metric.name, *each.labels): each.value
        for each in found
        if isinstance(each.value, int | float)
    }


def key(metric: Metric, *labels: str) -> tuple[str, ...]:
    return (metric.name, *labels)


def backend(family: Family = IPV4) -> NftablesBackend:
    return NftablesBackend(family, NftablesOptions())


def test_a_refused_transaction_of_nftables_is_counted_even_if_the_next_one_repairs_it() -> None:
    before = plans.plan([], plans.settings("node-a", family=IPV4))
    after = plans.plan([WEB[IPV4]], plans.settings("node-a", family=IPV4))
    with closing(backend()) as ours:
        ours.sync(before, FULL)
        assert samples(ours)[key(metrics.SYNC_FAILURES, "IPv4")] == 0
        run(["nft", "delete", "table", "ip", "kube-proxy"])
        assert ours.sync(after, Delta(before=dict.fromkeys(after.services))).full
        found = samples(ours)
        assert found[key(metrics.SYNC_FAILURES, "IPv4")] == 1
        assert found[key(metrics.CLEANUP_FAILURES, "IPv4")] == 0
        assert key(metrics.LISTENERS, "IPv4") not in found


@pytest.mark.parametrize("family", Family)
def test_rejected_packets_are_read_in_the_namespace_of_the_node(family: Family) -> None:
    with closing(backend(family)) as ours:
        ours.sync(_node_ports(REJECTED, family), FULL)
        rejected = key(metrics.REJECTED_PACKETS, family, "UDP")
        assert samples(ours)[rejected] == 0
        with socket.socket(family.socket_family, socket.SOCK_DGRAM) as client:
            client.sendto(b"?", (ADDRESS[family], PORT))
        assert samples(ours)[rejected] == 1
        assert samples(ours)[key(metrics.LISTENERS, family)] == 0


def _node_ports(fate: LoopbackNodePorts, family: Family, protocol: str = "UDP") -> Plan:
    return plan(fate, family, protocol=protocol)


def test_listeners_and_those_that_cannot_be_made() -> None:
    with closing(backend()) as ours:
        with socket.create_server((ADDRESS[IPV4], PORT)):
            ours.sync(_node_ports(SERVED, IPV4, "TCP"), FULL)
            found = samples(ours)
            assert found[key(metrics.LISTENERS, "IPv4")] == 0
            assert found[key(metrics.LISTENER_FAILURES, "IPv4")] == 1
        ours.sync(_node_ports(SERVED, IPV4, "TCP"), FULL)
        found = samples(ours)
        assert found[key(metrics.LISTENERS, "IPv4")] == 1
        assert found[key(metrics.LISTENER_FAILURES, "IPv4")] == 1
        assert {each[2] for each in found if each[0] == metrics.REJECTED_PACKETS.name} == {
            "UDP",
            "SCTP",
        }


def test_a_table_that_is_gone_has_no_counters() -> None:
    with closing(backend()) as ours:
        ours.sync(plan(REJECTED, IPV4), FULL)
        run(["nft", "delete", "table", "ip", "kube-proxy"])
        assert metrics.REJECTED_PACKETS.name not in {name for name, *_ in samples(ours)}


class Failing(NftablesBackend):
    def figures(self) -> tuple[Figure, ...]:
        raise KernelRefused("one\ntwo")


def test_a_backend_that_cannot_count_costs_its_figures_and_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, sound = Failing(IPV6, NftablesOptions()), backend()
    with closing(Namespace.current()) as here:
        scrape = Scrape(Measurements([]), [failing, sound], here, ProxyConfig(), Counters())
        for _ in range(2):
            found = {each.labels for each in scrape.samples()}
            assert ("IPv4",) in found
            assert ("IPv6",) not in found
    assert caplog.messages == ["/metrics lacks what a backend counts: one | two"]


def test_counters_of_packets_are_read_by_name() -> None:
    if not nfacct.ensure_counter("kproxy-one"):
        with pytest.raises(KernelRefused):
            nfacct.packets()
        return
    assert nfacct.packets()["kproxy-one"] == 0
    run(["iptables", "-A", "OUTPUT", "-m", "nfacct", "--nfacct-name", "kproxy-one"])
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"?", ("127.0.0.1", 9))
    assert nfacct.packets()["kproxy-one"] >= 1
