"""Formats results as lines of a table that fits 80 columns, or folded as fewer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kproxy.bench.results import (
    ApiResult,
    ControlPlaneResult,
    ControlPlaneSize,
    LabResult,
    LatencyResult,
    LatencySize,
    MininetResult,
    SourceResult,
    SourceSize,
    SyncResult,
    SyncSize,
)
from kproxy.report.width import folded

_FULL_WIDTH = 80
_SUBJECT = f"{'mode':8}  {'variant':10}  services"
SYNC_HEADING = f"{_SUBJECT}  full s  change ms p99  scale ms p99  MiB (peak)"
LATENCY_HEADING = f"{_SUBJECT}  direct   p99   plain   p99  service   p99  ratio"
SOURCE_HEADING = f"{_SUBJECT}  ready s  CPU s  change ms p99  idle %  MiB later peak"
CONTROL_PLANE_HEADING = f"{_SUBJECT}   pods  nodes  apply s  start s  flip ms   p99"

LAB_HEADING = f"{'network':14}   pods  nodes  build s  serve s  down s  floor s"
API_HEADING = (
    f"{'mode':8}  nodes  {'up s':>6}  {'MiB':>3}  apply s  created/s  each  watch ms  p99  list s"
)


def lines(line: str, heading: str, width: int) -> Iterator[str]:
    """Yield a heading or row in lines of at most `width`, folded between the heading's columns."""
    if width >= _FULL_WIDTH:
        yield line
        return
    ends = [each.end() for each in re.finditer(r"\S+( \S+)*", heading)]
    ends = [len(_SUBJECT), *(end for end in ends if end > len(_SUBJECT))]
    starts = [0, *ends[:-1]]
    stops = [*ends[:-1], len(line)]
    # A row may be a little longer than its heading, and is folded at the same places.
    width = min(width, len(heading) - 1)
    yield from folded((line[a:b] for a, b in zip(starts, stops, strict=True)), width)


def sync_row(result: SyncResult) -> str:
    return (
        f"{_subject(result.size)}  {result.full_s:6.2f}"
        f"  {result.change_median_s * 1e3:7.1f} {result.change_p99_s * 1e3:5.0f}"
        f"  {result.scale_median_s * 1e3:6.1f} {result.scale_p99_s * 1e3:5.0f}"
        f"  {result.resident_mib:.0f} ({result.peak_mib:.0f})"
    )


def source_row(result: SourceResult) -> str:
    return (
        f"{_subject(result.size)}  {result.ready_s:7.2f}  {result.ready_cpu_s:5.2f}"
        f"  {result.change_median_s * 1e3:7.1f} {result.change_p99_s * 1e3:5.0f}"
        f"  {result.idle_share * 100:6.2f}"
        f"  {result.ready_mib:3.0f} {result.resident_mib:5.0f} {result.peak_mib:4.0f}"
        + ("" if result.equal else "  NOT THE RULES OF A FRESH START")
    )


def latency_row(result: LatencyResult) -> str:
    return (
        f"{_subject(result.size)}  {result.direct_median_us:6.1f} {result.direct_p99_us:5.0f}"
        f"  {result.plain_median_us:6.1f} {result.plain_p99_us:5.0f}"
        f"  {result.service_median_us:7.1f} {result.service_p99_us:5.0f}  {result.ratio:5.2f}"
    )


def control_plane_row(result: ControlPlaneResult) -> str:
    return (
        f"{_subject(result.size)}  {result.size.pods:5}  {result.size.nodes:5}"
        f"  {result.apply_s:7.2f}  {result.start_s:7.2f}"
        f"  {result.flip_median_s * 1e3:7.1f} {result.flip_p99_s * 1e3:5.0f}"
    )


def lab_row(result: LabResult | MininetResult) -> str:
    if isinstance(result, MininetResult):
        what, serve, floor = f"mininet {result.size.version}", "-", "-"
    else:
        what = result.size.network
        serve, floor = f"{result.serve_s:.2f}", f"{result.floor_s:.2f}"
    return (
        f"{what:14}  {result.size.pods:5}  {result.size.nodes:5}  {result.build_s:7.2f}"
        f"  {serve:>7}  {result.down_s:6.2f}  {floor:>7}"
    )


def api_row(result: ApiResult) -> str:
    beside = "-"
    if result.apply_s is not None and result.kubectl_s is not None:
        beside = f"{result.apply_s - result.kubectl_s:.2f}"
    return (
        f"{result.size.mode:8}  {result.size.nodes:5}  {result.up_s:6.2f}  {result.up_mib:3.0f}"
        f"  {beside:>7}  {result.services_per_s:9.0f} {result.config_maps_per_s:5.0f}"
        f"  {result.watch_median_s * 1e3:8.1f} {result.watch_p99_s * 1e3:4.0f}"
        f"  {result.list_s:6.2f}"
    )


def _subject(size: SyncSize | LatencySize | ControlPlaneSize | SourceSize) -> str:
    return f"{size.mode:8}  {size.variant:10}  {size.services:8}"
