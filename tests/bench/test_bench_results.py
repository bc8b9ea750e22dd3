"""Percentiles, and results as lines of a table."""

from __future__ import annotations

import pytest
from msgspec import structs

from kproxy.bench.results import (
    ApiResult,
    ApiSize,
    LabResult,
    LabSize,
    LatencyResult,
    LatencySize,
    MininetResult,
    MininetSize,
    SyncResult,
    SyncSize,
    p99,
)
from kproxy.bench.tables import (
    API_HEADING,
    LAB_HEADING,
    LATENCY_HEADING,
    SYNC_HEADING,
    api_row,
    lab_row,
    latency_row,
    lines,
    sync_row,
)

SYNC = SyncResult(
    size=SyncSize(mode="nftables", variant="kube-proxy", services=60_000, endpoints=5, changes=9),
    user_mode_linux=False,
    full_s=123.456,
    change_median_s=1.2345,
    change_p99_s=2.3456,
    change_max_s=3,
    scale_median_s=4.5678,
    scale_p99_s=5.6789,
    scale_max_s=6,
    resident_mib=1234.5,
    peak_mib=2345.6,
)
LATENCY = LatencyResult(
    size=LatencySize(
        mode="nftables",
        variant="kube-proxy",
        services=60_000,
        endpoints=5,
        connections=2000,
        asked=10,
    ),
    user_mode_linux=False,
    plain_rule="nftables",
    direct_median_us=1234.56,
    direct_p99_us=99_999,
    plain_median_us=2345.67,
    plain_p99_us=99_999,
    service_median_us=3456.78,
    service_p99_us=99_999,
    ratio=99.99,
)

API = ApiResult(
    size=ApiSize(
        mode="nftables", nodes=20, objects=1000, watchers=100, changes=50, services=10_000
    ),
    user_mode_linux=False,
    up_s=12.345,
    up_cpu_s=1.5,
    up_mib=123.4,
    kubectl_s=0.045,
    apply_s=12.345,
    services_per_s=12_345.6,
    config_maps_per_s=12_345.6,
    watch_median_s=1.2345,
    watch_p99_s=1.2345,
    list_s=12.345,
    list_bytes=7_000_000,
    listed=10_002,
    resident_mib=300.5,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([2.0, 1.0], 1.99),
        ([5.0] * 9, 5.0),
        ([float(value) for value in range(101)], 99.0),  # not the greatest
        ([float(value) for value in range(200, -1, -1)], 198.0),  # in any order
    ],
)
def test_99th_percentile(values: list[float], expected: float) -> None:
    assert p99(values) == pytest.approx(expected)


@pytest.mark.parametrize("width", [60, 79, 80, 120])
def test_narrow_terminals_get_folded_rows(width: int) -> None:
    for heading, row in (
        (SYNC_HEADING, sync_row(SYNC)),
        (LATENCY_HEADING, latency_row(LATENCY)),
        (API_HEADING, api_row(API)),
    ):
        for text in (heading, row):
            found = list(lines(text, heading, width))
            assert max(map(len, found)) <= width
            assert " ".join(found).split() == text.split()
            assert len(found) == (1 if width >= 80 else 2)


def test_large_figures_fit_the_table() -> None:
    table = [SYNC_HEADING, sync_row(SYNC), LATENCY_HEADING, latency_row(LATENCY)]
    assert table == [
        "mode      variant     services  full s  change ms p99  scale ms p99  MiB (peak)",
        "nftables  kube-proxy     60000  123.46   1234.5  2346  4567.8  5679  1234 (2346)",
        "mode      variant     services  direct   p99   plain   p99  service   p99  ratio",
        "nftables  kube-proxy     60000  1234.6 99999  2345.7 99999   3456.8 99999  99.99",
    ]
    assert max(map(len, table)) == 80


def test_mininet_stands_below_the_lab_without_what_it_does_not_have() -> None:
    lab = LabResult(
        size=LabSize(pods=1000, nodes=10, network="routed"),
        user_mode_linux=False,
        build_s=4.567,
        serve_s=0.512,
        down_s=12.3,
        floor_s=3.21,
    )
    mininet = MininetResult(
        size=MininetSize(version="2.3.0", pods=1000, nodes=10),
        user_mode_linux=False,
        build_s=123.456,
        down_s=34.5,
    )
    assert [LAB_HEADING, lab_row(lab), lab_row(mininet)] == [
        "network          pods  nodes  build s  serve s  down s  floor s",
        "routed           1000     10     4.57     0.51   12.30     3.21",
        "mininet 2.3.0    1000     10   123.46        -   34.50        -",
    ]


def test_times_beside_kubectl_s_own_start() -> None:
    without = structs.replace(API, kubectl_s=None, apply_s=None)
    assert [API_HEADING, api_row(API), api_row(without)] == [
        "mode      nodes    up s  MiB  apply s  created/s  each  watch ms  p99  list s",
        "nftables     20   12.35  123    12.30      12346 12346    1234.5 1234   12.35",
        "nftables     20   12.35  123        -      12346 12346    1234.5 1234   12.35",
    ]
