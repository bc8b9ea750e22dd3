"""All benchmarks run in each mode. The figures depend on the machine, and are not checked."""

from __future__ import annotations

import sys

import msgspec
import pytest

from kproxy.bench import mininet
from kproxy.bench.results import (
    ApiResult,
    ApiSize,
    ControlPlaneResult,
    ControlPlaneSize,
    LabResult,
    LabSize,
    LatencyResult,
    LatencySize,
    MininetResult,
    SourceResult,
    SyncResult,
    SyncSize,
)
from kproxy.errors import KernelRefused
from kproxy.kernel.process import run
from kproxy.kernel.running import on_uml

SUBJECTS = [  # mode, variant
    ("iptables", "nft"),
    ("iptables", "legacy"),
    ("nftables", "kube-proxy"),
    ("nftables", "flat"),
    pytest.param("ipvs", "auto", marks=pytest.mark.ipvs),
]


def bench(*arguments: str, mode: str, variant: str) -> list[bytes]:
    """Return the lines that the command prints."""
    chosen = [] if variant == "auto" else ["--variant", variant]
    argv = [sys.executable, "-m", "kproxy", "bench", *arguments, "--mode", mode, *chosen, "--json"]
    return run(argv).encode().splitlines()


@pytest.mark.parametrize(("mode", "variant"), SUBJECTS)
def test_sync(mode: str, variant: str) -> None:
    printed = bench(
        *("sync", "--services", "3", "--services", "20", "--endpoints", "2", "--changes", "4"),
        mode=mode,
        variant=variant,
    )
    results = [msgspec.json.decode(line, type=SyncResult) for line in printed]
    assert [result.size for result in results] == [
        SyncSize(mode=mode, variant=variant, services=services, endpoints=2, changes=4)
        for services in (3, 20)
    ]
    for result in results:
        assert result.user_mode_linux == on_uml()
        assert result.full_s > 0
        assert 0 < result.change_median_s <= result.change_p99_s <= result.change_max_s
        assert 0 < result.scale_median_s <= result.scale_p99_s <= result.scale_max_s
        assert result.resident_mib > 0
        assert result.peak_mib > 0


@pytest.mark.parametrize(("mode", "variant"), SUBJECTS)
def test_latency(mode: str, variant: str) -> None:
    printed = bench(
        *("latency", "--services", "20", "--runs", "2", "--connections", "150"),
        mode=mode,
        variant=variant,
    )
    results = [msgspec.json.decode(line, type=LatencyResult) for line in printed]
    size = LatencySize(
        mode=mode, variant=variant, services=20, endpoints=5, connections=150, asked=10
    )
    assert [result.size for result in results] == [size, size]
    for result in results:
        assert result.user_mode_linux == on_uml()
        assert result.plain_rule == ("iptables-legacy" if on_uml() else "nftables")
        assert 0 < result.direct_median_us <= result.direct_p99_us
        assert 0 < result.plain_median_us <= result.plain_p99_us
        assert 0 < result.service_median_us <= result.service_p99_us
        assert result.ratio == result.service_median_us / result.plain_median_us


@pytest.mark.parametrize(("mode", "variant"), SUBJECTS)
def test_control_plane(mode: str, variant: str) -> None:
    printed = bench(
        *("control-plane", "--services", "3", "--endpoints", "2"),
        *("--nodes", "2", "--dual-stack", "--flips", "2"),
        mode=mode,
        variant=variant,
    )
    (result,) = [msgspec.json.decode(line, type=ControlPlaneResult) for line in printed]
    assert result.size == ControlPlaneSize(
        mode=mode, variant=variant, services=3, pods=6, nodes=2, dual_stack=True, flips=2
    )
    assert result.user_mode_linux == on_uml()
    assert result.apply_s > 0
    assert result.start_s > 0
    assert 0 < result.flip_median_s <= result.flip_p99_s <= result.flip_max_s


@pytest.mark.parametrize("network", ["routed", "tunnel"])
def test_lab(network: str) -> None:
    argv = [sys.executable, "-m", "kproxy", "bench", "lab", "--nodes", "2", "--network", network]
    printed = run([*argv, "--pods", "1", "--pods", "5", "--json"]).encode().splitlines()
    results = [msgspec.json.decode(line, type=LabResult | MininetResult) for line in printed]
    labs = [each for each in results if isinstance(each, LabResult)]
    assert [each.size for each in labs] == [
        LabSize(pods=pods, nodes=2, network=network) for pods in (1, 5)
    ]
    for each in labs:
        assert each.user_mode_linux == on_uml()
        assert min(each.build_s, each.serve_s, each.down_s, each.floor_s) > 0
    beside = [each for each in results if isinstance(each, MininetResult)]
    assert [each.size.pods for each in beside] == ([1, 5] if mininet.version() else [])
    for other in beside:
        assert min(other.build_s, other.down_s) > 0


def test_a_lab_of_a_network_that_there_is_not() -> None:
    argv = [sys.executable, "-m", "kproxy", "bench", "lab", "--network", "token-ring"]
    with pytest.raises(KernelRefused, match="there is no network 'token-ring'; there are routed,"):
        run(argv)


@pytest.mark.parametrize(
    ("mode", "variant"), [("iptables", "nft"), ("nftables", "kube-proxy"), ("nftables", "flat")]
)
def test_source(mode: str, variant: str) -> None:
    printed = bench(
        *("source", "--services", "20", "--endpoints", "2", "--changes", "2"),
        *("--events", "30", "--soak", "1", "--idle", "0.1"),
        mode=mode,
        variant=variant,
    )
    (result,) = [msgspec.json.decode(line, type=SourceResult) for line in printed]
    assert result.equal
    assert result.ready_cpu_s > 0
    assert 0 < result.change_median_s <= result.change_p99_s
    assert 0 < result.ready_mib <= result.peak_mib
    assert 0 < result.unsoaked_mib <= result.peak_mib


def test_a_source_whose_commits_cannot_be_seen_is_refused() -> None:
    with pytest.raises(KernelRefused, match="it does not write to nf_tables"):
        bench("source", "--services", "1", "--changes", "1", mode="iptables", variant="legacy")


def test_api() -> None:
    argv = [sys.executable, "-m", "kproxy", "bench", "api", "--mode", "nftables", "--nodes", "1"]
    sizes = ["--objects", "5", "--watchers", "3", "--changes", "4", "--services", "9"]
    result = msgspec.json.decode(run([*argv, *sizes, "--json"]), type=ApiResult)
    assert result.size == ApiSize(
        mode="nftables", nodes=1, objects=5, watchers=3, changes=4, services=9
    )
    assert result.listed == 9 + 2  # that of the API, and the applied one
    assert result.kubectl_s is not None  # a dependency of these tests
    assert result.apply_s is not None
    assert 0 < result.kubectl_s < result.apply_s
    assert 0 < result.watch_median_s <= result.watch_p99_s
    assert min(result.services_per_s, result.config_maps_per_s, result.list_s) > 0
    assert result.up_cpu_s > 0
    assert result.up_s > 0
    assert 0 < result.up_mib <= result.resident_mib
