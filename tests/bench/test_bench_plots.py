"""Results become lines of a plot. Nothing is drawn here, as that needs matplotlib."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from kproxy.bench.plots import line_name, lines, read
from kproxy.bench.results import ReferenceResult, SyncResult
from tests.bench.test_bench_results import LATENCY, SYNC

ROOT = Path(__file__).parents[2]


def sync(
    mode: str, variant: str, services: int = 10, full_s: float = 1, *, uml: bool = False
) -> SyncResult:
    size = replace(SYNC.size, mode=mode, variant=variant, services=services)
    return replace(SYNC, size=size, full_s=full_s, user_mode_linux=uml)


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (sync("iptables", "nft"), "iptables nft"),
        (sync("nftables", "kube-proxy"), "nftables kube-proxy"),
        (sync("ipvs", "auto"), "ipvs"),
        (sync("ipvs", "auto", uml=True), "ipvs (user-mode Linux)"),
        (sync("iptables", "legacy", uml=True), "iptables legacy (user-mode Linux)"),
        (LATENCY, "nftables kube-proxy"),
    ],
)
def test_each_subject_has_a_line(result: SyncResult, name: str) -> None:
    assert line_name(result) == name


def test_runs_of_a_size_are_one_point() -> None:
    results = [
        sync("nftables", "flat", 1000, 7),
        sync("iptables", "nft", 100, 5),
        sync("iptables", "nft", 10, 3),
        sync("iptables", "nft", 10, 1),
        sync("iptables", "nft", 10, 1.5),
        sync("third-party", "auto", 10, 2),
        sync("ipvs", "auto", 10, 4, uml=True),
    ]
    found = lines(results, lambda result: result.full_s)
    assert [(name, list(points.items())) for name, points in found.items()] == [
        ("iptables nft", [(10, 1.5), (100, 5)]),  # lines in a fixed order, points by size
        ("ipvs (user-mode Linux)", [(10, 4)]),
        ("nftables flat", [(1000, 7)]),
        ("third-party", [(10, 2)]),
    ]


def test_results_are_read_as_they_were_printed(tmp_path: Path) -> None:
    (first := tmp_path / "1.jsonl").write_bytes(msgspec.json.encode(SYNC) + b"\n")
    (second := tmp_path / "2.jsonl").write_bytes(
        msgspec.json.encode(LATENCY) + b"\n" + msgspec.json.encode(SYNC) + b"\n"
    )
    assert read([first, second]) == [SYNC, LATENCY, SYNC]


def test_figures_of_another_program_stand_beside_the_results() -> None:
    """They say which version and machine they are of; there is no line through a single point."""
    found = read(sorted((ROOT / "docs" / "plots").glob("*.jsonl")))
    references = [each for each in found if isinstance(each, ReferenceResult)]
    assert references
    for each in references:
        assert re.match(r"[a-z-]+ \d+\.\d+\.\d+, .*machine", each.name)
        assert each.name not in lines(
            [each for each in found if isinstance(each, SyncResult)], lambda _: 1
        )
