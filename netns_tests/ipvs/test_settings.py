"""Settings of section ipvs of the configuration, as the kernel has them."""

from __future__ import annotations

import pytest
from kproxy_ipvs import IpvsOptions
from kproxy_ipvs.backend import IpvsBackend

from kproxy.address import Family
from kproxy.config.types import IpvsSection, Seconds
from kproxy.kernel import sysctl
from kproxy.kernel.ipvs import Ipvs
from kproxy.testing.random_cluster import RandomCluster
from netns_tests.modes import Mode
from netns_tests.node import Bench, bench

pytestmark = pytest.mark.ipvs

IPVS = Mode("ipvs", "legacy")
SCHEDULERS = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"]
SOURCE_HASH_PORT = 0x10


def filled(ipvs: IpvsSection) -> Bench:
    """Return a synced node with IPv4 only: settings are a virtual server's, or both families'."""
    node = Bench(IPVS, ipvs, (Family.IPV4,))
    cluster = RandomCluster(5)
    for _ in range(20):
        cluster.edit()
    node.sync(cluster.objects.values())
    return node


def test_every_scheduler_of_the_kernel_can_be_chosen() -> None:
    """Another scheduler is adopted in place."""
    with bench(IPVS), Ipvs() as ipvs:
        filled(IpvsSection())
        default = ipvs.virtual_servers(Family.IPV4)
        assert {each.scheduler for each in default.values()} == {"rr"}
        for scheduler in SCHEDULERS:
            node = filled(IpvsSection(scheduler=scheduler))
            assert node.backends[Family.IPV4].support().ok
            found = ipvs.virtual_servers(Family.IPV4)
            flags = SOURCE_HASH_PORT if scheduler == "mh" else 0
            assert found == {
                key: each._replace(scheduler=scheduler, flags=each.flags | flags)
                for key, each in default.items()
            }


def test_an_unknown_scheduler_is_no_surprise_later() -> None:
    with bench(IPVS):
        backend = IpvsBackend(Family.IPV4, IpvsOptions(scheduler="best"))
        support = backend.support()
        assert not support.ok
        assert "no IPVS scheduler 'best'" in support.missing
        assert "--ipvs-scheduler" in support.remedy


def test_timeouts() -> None:
    with bench(IPVS), Ipvs() as ipvs:
        kernel = ipvs.timeouts()
        filled(IpvsSection())
        assert ipvs.timeouts() == kernel
        filled(IpvsSection(tcp_timeout=Seconds(100), udp_timeout=Seconds(20)))
        assert ipvs.timeouts() == (100, kernel[1], 20)
        filled(IpvsSection(tcp_fin_timeout=Seconds(7)))
        assert ipvs.timeouts() == (100, 7, 20)


@pytest.mark.parametrize("strict", [False, True])
def test_strict_arp(strict: bool) -> None:
    with bench(IPVS):
        filled(IpvsSection(strict_arp=strict))
        found = [
            sysctl.read(f"net/ipv4/conf/all/{name}") for name in ("arp_ignore", "arp_announce")
        ]
        assert found == (["1", "2"] if strict else ["0", "0"])


def test_settings_of_the_namespace() -> None:
    with bench(IPVS):
        filled(IpvsSection())
        wanted = ("conntrack", "expire_nodest_conn", "expire_quiescent_template")
        assert {sysctl.read(f"net/ipv4/vs/{name}") for name in wanted} == {"1"}
        assert sysctl.read("net/ipv4/ip_forward") == "1"
