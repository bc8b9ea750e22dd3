"""The metrics of a proxy over memory backends: names and forms, and what moves each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kproxy_iptables.metrics
import kproxy_ipvs
import kproxy_nftables.metrics
import pytest
from kproxy_ipvs.backend import IpvsBackend
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import TRIGGER_TIME, EndpointSlice, Metadata, Service
from kproxy.backend import Metric, SyncReport
from kproxy.config import ProxyConfig
from kproxy.forwarding.plan import Delta, Plan
from kproxy.metrics import Measurements, Sample
from kproxy.metrics import definitions as define
from kproxy.metrics.exposition import text_of
from kproxy.metrics.measurements import Histogram
from kproxy.proxy import NodeProxy, SyncFailed
from kproxy.proxy.udp_flows import UdpChange
from kproxy.store import Store, object_key
from kproxy.testing import MemoryBackend
from tests.proxy.objects import WEB, WEB_SLICE, service
from tests.proxy.watched import REFUSAL
from tests.serve.kube_proxy_metrics import (
    Shape,
    expected,
    expected_anywhere,
    of_kube_proxy,
    scraped,
    values,
)

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z
SYNC = "kubeproxy_sync_proxy_rules_"


class Slow(MemoryBackend):
    """A memory backend that takes half a second for each sync."""

    def __init__(self, family: Family, rig: Rig) -> None:
        super().__init__(family)
        self._rig = rig

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        self._rig.now += 0.5
        return super().sync(plan, delta)


class Rig:
    """A store, and a proxy of two families that is measured. Its clock goes on only in syncs."""

    def __init__(self, **options: bool) -> None:
        self.now = START
        self.store = Store()
        self.backends = {family: Slow(family, self) for family in Family}
        config = ProxyConfig(hostname_override="node-a")
        self.proxy = NodeProxy(self.store, config, self.backends, clock=lambda: self.now)
        self.measured = Measurements([*Family], clock=lambda: self.now, **options)
        self.proxy.observer = self.measured
        self.store.watch(lambda obj, deleted: self.measured.changed(obj, deleted=deleted))

    def text(self) -> str:
        return text_of(self.measured.samples()).decode()

    def value(self, name: str, **labels: str) -> float | None:
        inside = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
        return values(self.text()).get(f"{name}{{{inside}}}" if inside else name)

    def sync(self) -> None:
        self.proxy.request()
        self.proxy.sync()


def shape(metric: Metric) -> Shape:
    bounds = tuple(f"{bound:g}" for bound in metric.buckets)
    return Shape(metric.kind.value, frozenset(metric.labels), bounds)


def defined_in(*modules: object) -> dict[str, Shape]:
    found = (each for module in modules for each in vars(module).values())
    return {each.name: shape(each) for each in found if isinstance(each, Metric)}


def test_all_metrics_of_kube_proxy_are_defined_and_no_others() -> None:
    defined = defined_in(define, kproxy_iptables.metrics, kproxy_nftables.metrics)
    assert of_kube_proxy(defined) == expected_anywhere()


def test_other_metrics_are_kproxys_or_of_kubernetes_libraries() -> None:
    others = {name for name in defined_in(define) if not name.startswith(("kubeproxy_", "kproxy_"))}
    assert others == {
        "kubernetes_build_info",
        "kubernetes_feature_enabled",
        "kubernetes_healthcheck",
        "kubernetes_healthchecks_total",
        "registered_metrics_total",
        "rest_client_request_duration_seconds",
        "rest_client_requests_total",
    }


def test_ipvs_mode_has_its_own() -> None:
    mode = kproxy_ipvs.MODE
    rig = Rig(partial_syncs=mode.partial_syncs, by_service=mode.policies_by_service)
    rig.sync()
    figures = IpvsBackend(Family.IPV4, kproxy_ipvs.IpvsOptions()).figures()
    text = text_of([*rig.measured.samples(), *(Sample(*figure) for figure in figures)])
    assert scraped(text.decode()) == expected("all", "ipvs")


def test_before_a_sync_only_timestamps_are_missing() -> None:
    rig = Rig()
    before = scraped(rig.text())
    rig.sync()
    after = scraped(rig.text())
    assert after.keys() - before.keys() == {
        f"{SYNC}last_timestamp_seconds",
        f"{SYNC}last_queued_timestamp_seconds",
    }


def test_syncs_are_timed_by_kind_and_family() -> None:
    rig = Rig()
    rig.store.upsert(WEB)
    rig.sync()  # full, both families: the second one has to wait for the first
    rig.store.upsert(WEB_SLICE)
    rig.sync()  # partial, and nothing to do for IPv6
    for kind, ipv4, ipv6 in (("", 2, 1), ("full_", 1, 1), ("partial_", 1, 0)):
        name = f"kubeproxy_sync_{kind}proxy_rules_duration_seconds"
        for family, times in (("IPv4", ipv4), ("IPv6", ipv6)):
            assert rig.value(f"{name}_count", ip_family=family) == times
            assert rig.value(f"{name}_sum", ip_family=family) == times / 2
            assert rig.value(f"{name}_bucket", ip_family=family, le="0.256") == 0
            assert rig.value(f"{name}_bucket", ip_family=family, le="0.512") == times
    assert rig.value(f"{SYNC}last_queued_timestamp_seconds", ip_family="IPv4") == START + 1
    for family in Family:  # also of the one that had nothing to do: it is up to date
        assert rig.value(f"{SYNC}last_timestamp_seconds", ip_family=family) == START + 1.5


def test_a_failed_sync_is_timed_but_is_no_success() -> None:
    rig = Rig()
    rig.sync()
    rig.store.upsert(WEB)
    rig.backends[Family.IPV4].kernel.refuse(Family.IPV4, REFUSAL)
    with pytest.raises(SyncFailed):
        rig.sync()
    partial = "kubeproxy_sync_partial_proxy_rules_duration_seconds_count"
    assert rig.value(f"{SYNC}duration_seconds_count", ip_family="IPv4") == 2
    assert rig.value(partial, ip_family="IPv4") == 1
    assert rig.value(f"{SYNC}last_timestamp_seconds", ip_family="IPv4") == START + 0.5


def test_changes_are_pending_until_a_sync_begins() -> None:
    rig = Rig()
    rig.sync()
    rig.store.upsert(WEB)
    rig.store.upsert(replace(WEB, metadata=replace(WEB.metadata, labels={"a": "b"})))
    rig.store.upsert(WEB_SLICE)
    rig.store.upsert(WEB_SLICE)  # as before: no change
    rig.store.delete(object_key(WEB_SLICE))
    for pending in (1, 0):
        assert rig.value(f"{SYNC}service_changes_pending") == pending
        assert rig.value(f"{SYNC}endpoint_changes_pending") == 2 * pending
        assert rig.value(f"{SYNC}service_changes_total") == 2 * 2  # once for each family
        assert rig.value(f"{SYNC}endpoint_changes_total") == 2
        rig.sync()


IGNORED: list[Service | EndpointSlice] = [  # kube-proxy asks the API server not to send them
    replace(WEB, spec=replace(WEB.spec, cluster_ip="None")),
    replace(
        WEB,
        metadata=Metadata(name="web", labels={"service.kubernetes.io/service-proxy-name": "other"}),
    ),
    replace(WEB_SLICE, metadata=Metadata(labels={"service.kubernetes.io/headless": ""})),
    replace(WEB_SLICE, address_type="FQDN"),
]


@pytest.mark.parametrize("obj", IGNORED)
def test_what_kube_proxy_does_not_see_is_not_counted(obj: Service | EndpointSlice) -> None:
    rig = Rig()
    rig.store.upsert(obj)
    assert rig.value(f"{SYNC}service_changes_total") == 0
    assert rig.value(f"{SYNC}endpoint_changes_total") == 0


PROGRAMMED = [  # trigger time -> seconds until it is in force, None if it does not count
    ("2027-01-15T08:00:00.25Z", 0.25),
    ("2027-01-15T09:00:00.25+01:00", 0.25),
    ("2027-01-15T08:00:00.250000000Z", 0.25),
    ("2027-01-15T07:59:59Z", None),  # before the process was started
    ("yesterday", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "seconds"), PROGRAMMED)
def test_the_time_until_a_change_is_in_force(text: str, seconds: float | None) -> None:
    rig = Rig()
    name = "kubeproxy_network_programming_duration_seconds"
    rig.store.upsert(WEB)
    rig.store.upsert(
        replace(WEB_SLICE, metadata=replace(WEB_SLICE.metadata, annotations={TRIGGER_TIME: text}))
    )
    for _ in range(2):  # the second sync has nothing new
        rig.sync()
        count = 0 if seconds is None else 1
        assert rig.value(f"{name}_count", ip_family="IPv4") == count
        assert rig.value(f"{name}_sum", ip_family="IPv4") == (seconds or 0)
        assert rig.value(f"{name}_count", ip_family="IPv6") == 0


def test_a_change_that_is_taken_back_or_not_in_force_has_no_such_time() -> None:
    rig = Rig()
    fresh = replace(
        WEB_SLICE,
        metadata=replace(WEB_SLICE.metadata, annotations={TRIGGER_TIME: "2027-01-15T08:00:00.25Z"}),
    )
    rig.store.upsert(WEB)
    rig.store.upsert(fresh)
    rig.store.delete(object_key(fresh))
    rig.sync()
    rig.store.upsert(fresh)
    rig.backends[Family.IPV4].kernel.refuse(Family.IPV4, REFUSAL)
    with pytest.raises(SyncFailed):
        rig.sync()
    rig.sync()
    assert rig.value("kubeproxy_network_programming_duration_seconds_count", ip_family="IPv4") == 0


def local(name: str, address: str, **policies: Any) -> Service:
    made = service(name, address)
    two = (made.spec.ports[0], replace(made.spec.ports[0], name="alt", port=81, node_port=30081))
    return replace(made, spec=replace(made.spec, ports=two, **policies))


@pytest.mark.parametrize(("by_service", "ports"), [(False, 2), (True, 1)])
@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        ("internal", {"internal_traffic_policy": "Local"}),
        (
            "external",
            {
                "type": "LoadBalancer",
                "external_traffic_policy": "Local",
                "external_ips": ("1.2.3.4",),
            },
        ),
    ],
)
def test_service_ports_without_local_endpoints_follow_each_change(
    policy: str, fields: dict[str, Any], by_service: bool, ports: int
) -> None:
    rig = Rig(by_service=by_service)
    web = local("web", "10.96.0.1", **fields)
    alt = replace(WEB_SLICE.ports[0], name="alt")
    remote = replace(WEB_SLICE, ports=(*WEB_SLICE.ports, alt))
    here = replace(
        remote, endpoints=tuple(replace(each, node_name="node-a") for each in remote.endpoints)
    )

    def counted() -> list[float | None]:
        rig.sync()
        incremental = [
            rig.value(f"{SYNC}no_local_endpoints_total", ip_family="IPv4", traffic_policy=each)
            for each in (policy, {"internal": "external", "external": "internal"}[policy])
        ]
        rig.proxy.sync(full=True)
        again = [
            rig.value(f"{SYNC}no_local_endpoints_total", ip_family="IPv4", traffic_policy=each)
            for each in (policy, {"internal": "external", "external": "internal"}[policy])
        ]
        assert incremental == again
        return incremental

    rig.store.upsert(web)
    assert counted() == [0, 0]  # no endpoint anywhere
    rig.store.upsert(remote)
    assert counted() == [ports, 0]
    rig.store.upsert(here)
    assert counted() == [0, 0]
    rig.store.upsert(remote)
    assert counted() == [ports, 0]
    rig.store.upsert(WEB)  # policy Cluster
    assert counted() == [0, 0]
    rig.store.upsert(web)
    assert counted() == [ports, 0]
    rig.store.delete(object_key(web))
    assert counted() == [0, 0]


@pytest.mark.parametrize(
    ("by_service", "internal", "counts"),
    [
        (False, "Cluster", (0, 1)),
        (True, "Cluster", (0, 0)),  # no virtual server has the policy
        (False, "Local", (1, 1)),
        (True, "Local", (1, 1)),
    ],
)
def test_a_load_balancer_without_an_address_may_lack_local_endpoints(
    internal: str, by_service: bool, counts: tuple[int, int]
) -> None:
    rig = Rig(by_service=by_service)
    pending = replace(
        WEB.spec,
        type="LoadBalancer",
        external_traffic_policy="Local",
        internal_traffic_policy=internal,
        ports=(replace(WEB.spec.ports[0], node_port=0),),
    )
    rig.store.upsert(replace(WEB, spec=pending))
    rig.store.upsert(WEB_SLICE)
    rig.sync()
    assert counts == tuple(
        rig.value(f"{SYNC}no_local_endpoints_total", ip_family="IPv4", traffic_policy=each)
        for each in ("internal", "external")
    )


def test_flows_that_were_cut() -> None:
    rig = Rig()
    dns = replace(WEB_SLICE, ports=(replace(WEB_SLICE.ports[0], protocol="UDP"),))

    def cut(changes: Sequence[UdpChange]) -> dict[Family, int]:
        rig.now += 2.5
        return {plan.family: 3 for plan, _, _ in changes}

    rig.proxy.on_udp_changed = cut
    rig.store.upsert(dns)
    rig.sync()
    name = "kubeproxy_conntrack_reconciler"
    assert rig.value(f"{name}_deleted_entries_total", ip_family="IPv4") == 3
    assert rig.value(f"{name}_sync_duration_seconds_sum", ip_family="IPv4") == 2.5
    assert rig.value(f"{name}_sync_duration_seconds_count", ip_family="IPv6") == 0


def test_requests_to_the_api_server() -> None:
    rig = Rig()
    rig.measured.api_request("200", "GET", "10.0.0.1:6443", 0.02)
    rig.measured.api_request("200", "GET", "10.0.0.1:6443", 0.03)
    rig.measured.api_request("<error>", "GET", "10.0.0.1:6443")
    name = "rest_client_requests_total"
    assert rig.value(name, code="200", host="10.0.0.1:6443", method="GET") == 2
    assert rig.value(name, code="<error>", host="10.0.0.1:6443", method="GET") == 1
    name = "rest_client_request_duration_seconds"
    assert rig.value(f"{name}_bucket", le="0.025", host="10.0.0.1:6443", verb="GET") == 1
    assert rig.value(f"{name}_count", host="10.0.0.1:6443", verb="GET") == 2


def test_a_value_belongs_to_the_bucket_that_it_bounds() -> None:
    histogram = Histogram((1, 2))
    for value in (1, 1.5, 2, 2.5):
        histogram.observe(value)
    assert histogram.cumulative == [1, 3, 4]
    assert histogram.sum == 7
