"""A first sync is killed half-way: nothing half-written is left after the next start."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import to_builtins

from kproxy.address import Family
from kproxy.api.types import Service
from kproxy.bench.cluster import objects
from kproxy.kernel import ipset
from kproxy.kernel.ipvs import Ipvs
from kproxy.kernel.nftables.session import Session, TableReader
from netns_tests.conformance import dump
from netns_tests.conformance.comparison import parse
from netns_tests.run.running import Place, until

SERVICES = 1500
MANY, ATTEMPTS = 2000, 9
MANY_IN_IPVS = 800  # each is a request of its own; the kernel that has it may be a slow one


def write_cluster(place: Place, services: int = SERVICES) -> Path:
    """Write a manifest whose sync takes a while."""
    items = []
    for obj in objects(services, 2):
        version = "v1" if isinstance(obj, Service) else "discovery.k8s.io/v1"
        items.append({"apiVersion": version, "kind": type(obj).__name__, **to_builtins(obj)})
    return place.write(
        "cluster.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


@pytest.mark.parametrize("written", [1, SERVICES // 2])
def test_killed_in_mid_sync(place: Place, written: int) -> None:
    path = write_cluster(place)
    flags = ("--manifests", str(path), "--iptables-variant", "nft")
    for _ in range(ATTEMPTS):
        running = place.start_without_waiting(*flags)
        until(
            f"{written} services in the kernel",
            lambda: place.tool("nft", "list", "chains").count("chain KUBE-SVC-") >= written,
        )
        running.stop(signal.SIGKILL)
        if place.rules().count(":KUBE-SVC-") < SERVICES:  # it was indeed in the middle
            break
        place.once("--cleanup")
    else:
        pytest.fail("it was always faster than us")
    done = place.once(*flags, "--once")
    assert done.returncode == 0, done.stderr
    assert place.rules().count(":KUBE-SVC-") == SERVICES
    taken_over = sorted(place.rules().splitlines())
    place.once("--cleanup")
    place.once(*flags, "--once")
    assert sorted(place.rules().splitlines()) == taken_over


def service_chains() -> int:
    with Session() as session:
        reader = TableReader(session, Family.IPV4, "kube-proxy")
        return sum(1 for name in reader.rules() if "/" in name)


def test_killed_before_the_chains_are_led_to(place: Place) -> None:
    """nftables mode writes new chains by the hundred, and then the rules that lead to them."""
    flags = ("--manifests", str(write_cluster(place, MANY)), "--proxy-mode", "nftables")
    for _ in range(ATTEMPTS):
        running = place.start_without_waiting(*flags)
        with place.namespace.entered():
            until("a chain in the kernel", lambda: service_chains() > 0, pause_s=0.001)
            running.stop(signal.SIGKILL)
            if service_chains() < MANY:
                break
        place.once("--cleanup")
    else:
        pytest.fail("it was always faster than us")
    with place.namespace.entered():
        assert "goto" not in dump.nftables().partition("chain ")[0]  # in no map
    done = place.once(*flags, "--once")
    assert done.returncode == 0, done.stderr
    with place.namespace.entered():
        taken_over = parse(dump.nftables())
        assert service_chains() == MANY
    assert place.once("--cleanup").returncode == 0
    place.once(*flags, "--once")
    with place.namespace.entered():
        assert parse(dump.nftables()) == taken_over


def entries() -> int:
    return ipset.sizes().get("KUBE-CLUSTER-IP", 0)


def virtual_servers() -> int:
    with Ipvs() as ipvs:
        return len(ipvs.virtual_servers(Family.IPV4))


@pytest.mark.ipvs
@pytest.mark.parametrize("reached", [entries, virtual_servers])
def test_killed_in_mid_sync_of_ipvs(place: Place, reached: Callable[[], int]) -> None:
    """It is killed between sets, rules, addresses and virtual servers: they are no transaction."""
    flags = ("--manifests", str(write_cluster(place, MANY_IN_IPVS)), "--proxy-mode", "ipvs")
    for _ in range(ATTEMPTS):
        running = place.start_without_waiting(*flags)
        with place.namespace.entered():
            until("something in the kernel", lambda: reached() > 0, pause_s=0.001)
            running.stop(signal.SIGKILL)
            if virtual_servers() < MANY_IN_IPVS:
                break
        place.once("--cleanup")
    else:
        pytest.fail("it was always faster than us")
    done = place.once(*flags, "--once")
    assert done.returncode == 0, done.stderr
    with place.namespace.entered():
        taken_over = parse(dump.ipvs("legacy"))
        assert virtual_servers() == entries() == MANY_IN_IPVS
    assert place.once("--cleanup").returncode == 0
    place.once(*flags, "--once")
    with place.namespace.entered():
        assert parse(dump.ipvs("legacy")) == taken_over
