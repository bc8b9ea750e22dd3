"""Each figure of `kproxy run` is moved by its cause, on a real kernel."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.kernel import conntrack
from netns_tests.conntrack_entries import Entry, write
from netns_tests.run.running import Place, until
from netns_tests.run.test_run_udp_flows import DNS, FIRST, SECOND, SERVICE
from netns_tests.serve.asking import scrape, with_loopback

SYNC = "kubeproxy_sync_proxy_rules_"
TABLES = ("filter", "nat")


@pytest.fixture
def here(place: Place) -> Place:
    return with_loopback(place)


def figure(place: Place, name: str, family: str = "IPv4") -> float:
    return scrape(place)[f'{name}{{ip_family="{family}"}}']


def rules_in(place: Place, table: str) -> int:
    """Count the rules of a table that are in a proxy's chains, without those that lead there."""
    saved = place.tool("iptables-save", "-t", table).splitlines()
    return sum(1 for line in saved if line.startswith("-A KUBE-"))


def _has_partial_syncs(place: Place, count: int) -> bool:
    return figure(place, "kubeproxy_sync_partial_proxy_rules_duration_seconds_count") == count


def test_rules_of_iptables_are_counted_as_they_are_written(
    here: Place, service: Callable[..., str]
) -> None:
    path = here.write("a.yaml", service("a", "10.96.0.1") + "---" + service("b", "10.96.0.2"))
    here.start("--manifests", str(path))

    def counted(what: str) -> dict[str, float]:
        found = scrape(here)
        name = f"{SYNC}iptables_{what}"
        return {each: found[f'{name}{{ip_family="IPv4",table="{each}"}}'] for each in TABLES}

    def present() -> dict[str, float]:
        return {table: rules_in(here, table) for table in TABLES}

    assert counted("total") == counted("last") == present()
    everything = counted("total")["nat"]
    texts = [
        service("a", "10.96.0.1", 81) + "---" + service("b", "10.96.0.2"),
        service("a", "10.96.0.1", 81),
        service("a", "10.96.0.1", 81).partition("---")[0],  # no endpoint: a rule that refuses
        "---".join(service(f"s{number}", f"10.96.1.{number}") for number in range(1, 6)),
    ]
    for number, text in enumerate(texts, 1):
        here.write("a.yaml", text)
        until("a partial sync", partial(_has_partial_syncs, here, number))
        assert counted("total") == present()
        if text == texts[0]:
            assert 0 < counted("last")["nat"] < everything
    assert figure(here, "kubeproxy_sync_full_proxy_rules_duration_seconds_count") == 1


def test_failures_of_iptables(
    here: Place, service: Callable[..., str], broken_restore: Path
) -> None:
    broken_restore.unlink()
    path = here.write("a.yaml", service("a", "10.96.0.1"))
    here.start("--manifests", str(path))
    failures = f"{SYNC}iptables_restore_failures_total"
    partial_failures = f"{SYNC}iptables_partial_restore_failures_total"
    assert figure(here, failures) == figure(here, partial_failures) == 0
    synced_at = figure(here, f"{SYNC}last_timestamp_seconds")
    broken_restore.touch()
    here.write("a.yaml", service("a", "10.96.0.1", 81))
    until("a failed retry, of everything", lambda: figure(here, failures) >= 3)
    # It was tried once more without deleting chains; what follows a failure is a full sync.
    assert 1 <= figure(here, partial_failures) <= 2
    assert scrape(here)["kproxy_failed_syncs_total"] >= 2
    assert figure(here, f"{SYNC}last_timestamp_seconds") == synced_at
    assert figure(here, f"{SYNC}last_queued_timestamp_seconds") > synced_at
    broken_restore.unlink()
    until("a success", lambda: figure(here, f"{SYNC}last_timestamp_seconds") > synced_at)


@pytest.mark.ipvs
def test_failures_of_iptables_in_ipvs_mode(
    here: Place, service: Callable[..., str], broken_restore: Path
) -> None:
    path = here.write("a.yaml", service("a", "10.96.0.1"))
    running = here.start_without_waiting("--proxy-mode=ipvs", "--manifests", str(path))
    running.says("sync failed")
    assert figure(here, f"{SYNC}iptables_restore_failures_total") >= 1
    broken_restore.unlink()
    running.says("ready:")


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_udp_flows_that_are_cut(here: Place, mode: str) -> None:
    entries = [Entry(("10.244.3.3", port), SERVICE, (FIRST, SECOND)[port % 2]) for port in (10, 11)]
    here.namespace.run(lambda: write(entries))
    path = here.write("dns.yaml", DNS.format(endpoint=SECOND[0]))
    here.start("--proxy-mode", mode, "--manifests", str(path))
    assert here.namespace.run(lambda: len(conntrack.flows(Family.IPV4))) == 1
    name = "kubeproxy_conntrack_reconciler"
    assert figure(here, f"{name}_deleted_entries_total") == 1
    assert figure(here, f"{name}_sync_duration_seconds_count") == 1
    assert figure(here, f"{name}_sync_duration_seconds_sum") > 0


def test_the_time_until_a_change_is_in_force(here: Place, service: Callable[..., str]) -> None:
    name = "kubeproxy_network_programming_duration_seconds"
    path = here.write("a.yaml", service("a", "10.96.0.1"))
    here.start("--manifests", str(path), "--proxy-mode=nftables")
    assert figure(here, f"{name}_count") == 0
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    labels = "  labels: {kubernetes.io/service-name: a}"
    annotation = f'  annotations: {{endpoints.kubernetes.io/last-change-trigger-time: "{at}"}}'
    text = service("a", "10.96.0.1").replace(labels, f"{labels}\n{annotation}")
    here.write("a.yaml", text.replace("10.244.1.5", "10.244.1.6"))
    until("it is in force", lambda: figure(here, f"{name}_count") == 1)
    assert 0 < figure(here, f"{name}_sum") < time.time() - datetime.fromisoformat(at).timestamp()
    found = scrape(here)
    assert found[f"{SYNC}endpoint_changes_total"] == 2
    assert found[f"{SYNC}service_changes_total"] == 2  # one, in two families
    assert found[f"{SYNC}endpoint_changes_pending"] == 0


def test_repairs_and_rejections(here: Place, service: Callable[..., str]) -> None:
    path = here.write("a.yaml", service("a", "10.96.0.1"))
    running = here.start("--manifests", str(path), "--proxy-mode=nftables")
    here.tool("nft", "delete", "table", "ip", "kube-proxy")
    running.says("repair 1")
    here.write("a.yaml", "kind: Service")
    running.says("rejection 1")
    found = scrape(here)
    assert found["kproxy_repairs_total"] == found["kproxy_rejected_objects_total"] == 1


def test_service_ports_without_local_endpoints(here: Place, service: Callable[..., str]) -> None:
    name = f"{SYNC}no_local_endpoints_total"
    text = service("a", "10.96.0.1").replace("spec:", "spec:\n  internalTrafficPolicy: Local")
    here.write("a.yaml", text)
    here.start("--manifests", str(here.folder))

    def counted() -> float:
        return scrape(here)[f'{name}{{ip_family="IPv4",traffic_policy="internal"}}']

    assert counted() == 1
    here.write("a.yaml", text.replace("  conditions:", "  nodeName: node-a\n  conditions:"))
    until("a local endpoint", lambda: counted() == 0)
