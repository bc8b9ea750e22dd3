"""Two families: the plan and delta that each gets, and the effect of one's failure on the other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import EndpointPort, Metadata, Service, ServiceCIDR, ServiceCIDRSpec
from kproxy.backend import ModeConfigs
from kproxy.config import ProxyConfig
from kproxy.forwarding.plan import Delta, Plan
from kproxy.proxy import NodeProxy, SyncFailed
from kproxy.proxy.udp_flows import UdpChange
from kproxy.store import Store
from tests.proxy.objects import DNS, WEB, WEB_SLICE, endpoints, node, service
from tests.proxy.watched import REFUSAL, Watched

WEB6 = service("web6", "fd00:96::1")
IPV4, IPV6 = Family.IPV4, Family.IPV6


def service_cidr(name: str, *cidrs: str) -> ServiceCIDR:
    return ServiceCIDR(metadata=Metadata(name=name), spec=ServiceCIDRSpec(cidrs=cidrs))


class Rig:
    def __init__(self, mode: str = "iptables", *, in_parts: bool = False) -> None:
        self.told: list[tuple[str, str]] = []
        self.store = Store()
        self.ipv4 = Watched(IPV4, self._note)
        self.ipv6 = Watched(IPV6, self._note)
        self.proxy = NodeProxy(
            self.store,
            ProxyConfig(mode=mode, hostname_override="Node-A "),
            {IPV4: self.ipv4, IPV6: self.ipv6},
            mode=ModeConfigs()[mode],
            in_parts=in_parts,
        )

    def _note(self, family: Family, delta: Delta) -> None:
        changed = "full" if delta.full else " ".join(sorted(map(str, delta.before)))
        self.told.append((family.value, changed))

    def sync(self) -> list[tuple[str, str]]:
        self.told.clear()
        self.proxy.sync()
        return self.told


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_each_family_hears_of_its_own_services(rig: Rig) -> None:
    rig.store.upsert(WEB)
    assert rig.sync() == [("IPv4", "full"), ("IPv6", "full")]
    rig.store.upsert(DNS)
    assert rig.sync() == [("IPv4", "default/dns:http")]
    rig.store.upsert(WEB6)
    assert rig.sync() == [("IPv6", "default/web6:http")]
    rig.store.upsert(WEB_SLICE)
    rig.store.delete(("Service", "default", "web6"))
    assert rig.sync() == [("IPv4", "default/web:http"), ("IPv6", "default/web6:http")]


def test_without_changes_no_backend_is_called(rig: Rig) -> None:
    rig.sync()
    assert rig.sync() == []
    assert rig.proxy.sync() == []


def test_a_failing_family_does_not_stop_the_other_and_is_full_next_time(rig: Rig) -> None:
    rig.store.upsert(WEB)
    rig.sync()
    rig.ipv4.kernel.refuse(IPV4, REFUSAL)
    rig.store.upsert(DNS)
    rig.store.upsert(WEB6)
    with pytest.raises(SyncFailed, match=r"IPv4: restore: exit status 1") as failure:
        rig.proxy.sync()
    assert set(failure.value.errors) == {IPV4}
    assert failure.value.remedy == "try x"
    assert len(rig.ipv6.read()["services"]) == 1
    assert rig.sync() == [("IPv4", "full")]
    assert len(rig.ipv4.read()["services"]) == 2
    rig.store.upsert(WEB_SLICE)
    assert rig.sync() == [("IPv4", "default/web:http")]


def test_both_failures_are_reported(rig: Rig) -> None:
    rig.ipv4.kernel.refuse(IPV4, REFUSAL)
    rig.ipv6.kernel.refuse(IPV6, REFUSAL)
    with pytest.raises(SyncFailed) as failure:
        rig.proxy.sync()
    assert set(failure.value.errors) == {IPV4, IPV6}
    assert str(failure.value).count("\n") == 1


def test_a_machine_out_of_resources_is_a_failure_like_any_other(rig: Rig) -> None:
    rig.sync()
    exhausted = OSError(24, "Too many open files")

    def look() -> None:
        raise exhausted

    rig.ipv6.on_look = look
    rig.ipv6.kernel.refuse(IPV6, exhausted)
    assert rig.proxy.damaged() == (IPV6,)
    with pytest.raises(SyncFailed, match=r"IPv6: .*Too many open files"):
        rig.proxy.sync()
    assert rig.sync() == [("IPv6", "full")]


def test_only_the_damaged_family_is_written_again(rig: Rig) -> None:
    rig.store.upsert(WEB)
    rig.sync()
    assert rig.proxy.damaged() == ()
    rig.ipv6.kernel.flush(IPV6)
    assert rig.proxy.damaged() == (IPV6,)
    assert rig.sync() == [("IPv6", "full")]


def test_a_full_sync_can_be_asked_for(rig: Rig) -> None:
    rig.sync()
    assert [report.full for report in rig.proxy.sync(full=True)] == [True, True]


def _many(first: str) -> list[Service]:
    return [service(f"s{i}", f"{first}.{i // 250}.{i % 250 + 1}") for i in range(2500)]


def test_thousands_of_changes_are_written_in_parts_where_that_costs_no_more() -> None:
    rig = Rig(in_parts=True)
    rig.store.replace(_many("10.96"))
    assert rig.sync() == [("IPv4", "full"), ("IPv6", "full")]
    rig.store.replace(_many("10.97"))
    parts = [changed.split() for _, changed in rig.sync()]
    assert [len(part) for part in parts] == [1000, 1000, 500]
    assert len({name for part in parts for name in part}) == 2500
    at_once = Rig()
    at_once.store.replace(_many("10.97"))
    at_once.sync()
    assert rig.ipv4.read() == at_once.ipv4.read()
    at_once.store.replace(_many("10.96"))
    assert len(at_once.sync()) == 1


def test_what_follows_a_part_that_failed_waits_for_the_next_sync() -> None:
    rig = Rig(in_parts=True)
    rig.store.replace(_many("10.96"))
    rig.sync()
    rig.store.replace(_many("10.97"))
    rig.ipv4.kernel.refuse(IPV4, REFUSAL)
    with pytest.raises(SyncFailed):
        rig.proxy.sync()
    assert rig.store.has_changes
    assert rig.sync() == [("IPv4", "full")]
    assert not rig.store.has_changes
    assert not any("10.96." in each for each in rig.ipv4.read()["services"])


def test_the_zone_of_this_node_counts_and_other_nodes_do_not(rig: Rig) -> None:
    rig.sync()
    rig.store.upsert(node("node-a", "zone-a"))
    assert rig.sync() == [("IPv4", "full"), ("IPv6", "full")]
    assert {plan.settings.zone for plan in rig.proxy.plans.values()} == {"zone-a"}
    rig.store.upsert(node("node-b", "zone-b"))
    rig.store.upsert(replace(node("node-a", "zone-a"), spec=node(pod_cidr="10.9.0.0/24").spec))
    assert rig.sync() == []
    rig.store.delete(("Node", "", "node-a"))
    assert rig.sync() == [("IPv4", "full"), ("IPv6", "full")]
    assert {plan.settings.zone for plan in rig.proxy.plans.values()} == {""}


SERVICE_CIDRS = [  # mode, upserted, deleted -> families written in full
    ("nftables", [service_cidr("new", "10.9.0.0/16")], "", "IPv4"),
    ("nftables", [service_cidr("new", "fd00:9::/112")], "", "IPv6"),
    ("nftables", [service_cidr("new", "10.9.0.0/16", "fd00:9::/112")], "", "IPv4 IPv6"),
    ("nftables", [service_cidr("kubernetes", "10.9.0.0/16", "fd00::/112")], "", "IPv4"),
    # All CIDRs of the family together matter.
    ("nftables", [service_cidr("new", "10.96.0.0/12")], "", ""),
    ("nftables", [service_cidr("new", "fd00::/112", "10.96.0.0/12")], "kubernetes", ""),
    ("nftables", [], "kubernetes", "IPv4 IPv6"),
    ("nftables", [service_cidr("new", "10.96.0.0/12")], "kubernetes", "IPv6"),
    ("iptables", [service_cidr("new", "10.9.0.0/16")], "kubernetes", ""),
]


@pytest.mark.parametrize(("mode", "upserted", "deleted", "families"), SERVICE_CIDRS)
def test_service_cidrs_of_the_family_count(
    mode: str, upserted: list[ServiceCIDR], deleted: str, families: str
) -> None:
    rig = Rig(mode)
    rig.store.upsert(service_cidr("kubernetes", "10.96.0.0/12", "fd00::/112"))
    rig.sync()
    for obj in upserted:
        rig.store.upsert(obj)
    rig.store.delete(("ServiceCIDR", "", deleted))
    assert rig.sync() == [(family, "full") for family in families.split()]


def test_plans_and_durations_are_there_to_be_read(rig: Rig) -> None:
    assert rig.proxy.plans == {}
    rig.store.upsert(WEB)
    rig.sync()
    assert [str(name) for name in rig.proxy.plans[IPV4].services] == ["default/web:http"]
    assert set(rig.proxy.durations_s) == {IPV4, IPV6}


def test_listeners_are_called_for_each_family_in_step(rig: Rig) -> None:
    heard: list[str] = []

    def hear(plan: Plan, delta: Delta) -> None:
        changed = "full" if delta.full else " ".join(sorted(map(str, delta.before)))
        heard.append(f"{plan.family.value} {changed}".strip())

    rig.proxy.on_synced = hear
    rig.store.upsert(WEB)
    rig.sync()
    rig.ipv4.kernel.refuse(IPV4, REFUSAL)
    rig.store.upsert(DNS)
    with pytest.raises(SyncFailed):
        rig.proxy.sync()
    rig.sync()
    rig.sync()
    assert heard == ["IPv4 full", "IPv6 full", "IPv6", "IPv4 full", "IPv6", "IPv4", "IPv6"]


def test_udp_endpoints_that_changed_are_passed_on_once_and_not_after_a_failure(rig: Rig) -> None:
    heard: list[str] = []

    def changed(*addresses: str) -> None:
        found = endpoints("dns", *addresses)
        port = EndpointPort(name="dns", protocol="UDP", port=53)
        rig.store.upsert(replace(found, ports=(port,)))

    def hear(changes: Sequence[UdpChange]) -> dict[Family, int]:
        for plan, serving, _ in changes:
            places = {address for places in serving.values() for address, _ in places}
            heard.append(" ".join((plan.family.value, *sorted(places))))
        return {}

    rig.proxy.on_synced = lambda plan, _delta: heard.append(f"{plan.family.value} synced")
    rig.proxy.on_udp_changed = hear
    rig.store.upsert(WEB_SLICE)
    changed("10.244.1.1")
    rig.sync()
    assert heard == ["IPv4 synced", "IPv6 synced", "IPv4 10.244.1.1"]
    rig.proxy.on_synced = lambda _plan, _delta: None
    heard.clear()
    rig.sync()
    rig.store.upsert(WEB)
    rig.proxy.sync(full=True)
    assert not heard
    changed("10.244.1.2")
    rig.ipv4.kernel.refuse(IPV4, REFUSAL)
    rig.store.upsert(DNS)
    with pytest.raises(SyncFailed):
        rig.proxy.sync()
    rig.sync()
    assert not heard
    changed("10.244.1.2", "10.244.1.3")
    rig.sync()
    assert heard == ["IPv4 10.244.1.2 10.244.1.3"]
