"""Formats results as lines of a table that fits 80 columns."""

from __future__ import annotations

from kproxy.bench.results import (
    ControlPlaneResult,
    ControlPlaneSize,
    LatencyResult,
    LatencySize,
    SyncResult,
    SyncSize,
)

_SUBJECT = f"{'mode':8}  {'variant':10}  services"
SYNC_HEADING = f"{_SUBJECT}  full s  change ms p99  scale ms p99  MiB (peak)"
LATENCY_HEADING = f"{_SUBJECT}  direct   p99   plain   p99  service   p99  ratio"
CONTROL_PLANE_HEADING = f"{_SUBJECT}   pods  nodes  apply s  start s  flip ms   p99"


def sync_row(result: SyncResult) -> str:
    return (
        f"{_subject(result.size)}  {result.full_s:6.2f}"
        f"  {result.change_median_s * 1e3:7.1f} {result.change_p99_s * 1e3:5.0f}"
        f"  {result.scale_median_s * 1e3:6.1f} {result.scale_p99_s * 1e3:5.0f}"
        f"  {result.resident_mib:.0f} ({result.peak_mib:.0f})"
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


def _subject(size: SyncSize | LatencySize | ControlPlaneSize) -> str:
    return f"{size.mode:8}  {size.variant:10}  {size.services:8}"
