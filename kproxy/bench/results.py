"""Arguments and results of the measurements. In JSON, `measured` is the kind of result."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from msgspec import Struct

from kproxy.versions import NEWEST_RELEASED, Version


class ProxySize(Struct, frozen=True, kw_only=True):
    """Arguments of all measurements of a proxy: its mode, a variant of that, its Services, and the
    kube-proxy that it behaves like.
    """

    mode: str
    variant: str
    services: int
    emulate: Version = NEWEST_RELEASED

    @property
    def label(self) -> str:
        return f"{self.mode} {self.variant}, {self.services} Services"


class SyncSize(ProxySize, frozen=True, kw_only=True):
    """Arguments of a sync measurement: `endpoints` per Service, `changes` of each of two kinds."""

    endpoints: int
    changes: int


class SyncResult(Struct, frozen=True, kw_only=True, tag_field="measured", tag="sync"):
    """Seconds and MiB. A change replaces one endpoint by another; scale adds or removes one.

    The memory is that of the proxy process with all objects, but without children such as
    iptables-restore: at the end, and at its peak.
    """

    size: SyncSize
    user_mode_linux: bool
    full_s: float
    change_median_s: float
    change_p99_s: float
    change_max_s: float
    scale_median_s: float
    scale_p99_s: float
    scale_max_s: float
    resident_mib: float
    peak_mib: float


class LatencySize(ProxySize, frozen=True, kw_only=True):
    """Arguments of a latency measurement.

    `connections` go through each of three nodes, to `asked` different Services. `endpoints` is the
    number per Service.
    """

    endpoints: int
    connections: int
    asked: int


class LatencyResult(Struct, frozen=True, kw_only=True, tag_field="measured", tag="latency"):
    """Microseconds of connect() through a node without rules, with one rule, with all Services.

    `plain_rule` is the tool of the one DNAT rule, nftables or iptables-legacy. `ratio` is service
    to plain, of the medians.
    """

    size: LatencySize
    user_mode_linux: bool
    plain_rule: str
    direct_median_us: float
    direct_p99_us: float
    plain_median_us: float
    plain_p99_us: float
    service_median_us: float
    service_p99_us: float
    ratio: float


class ControlPlaneSize(ProxySize, frozen=True, kw_only=True):
    """Arguments of a control plane measurement: with `dual_stack` Services are of both families.

    `flips` is how often one Pod becomes not ready, and ready again.
    """

    pods: int
    nodes: int
    dual_stack: bool
    flips: int


class ControlPlaneResult(Struct, frozen=True, kw_only=True, tag_field="measured", tag="control"):
    """Seconds until every node's kernel has its rules, see `kproxy.bench.control_plane`."""

    size: ControlPlaneSize
    user_mode_linux: bool
    apply_s: float
    start_s: float
    flip_median_s: float
    flip_p99_s: float
    flip_max_s: float


class SourceSize(ProxySize, frozen=True, kw_only=True):
    """Arguments of the measurement of an API server as the source.

    `changes` one by one; nothing for `idle_s`; `events` at once, and changes for `soak_s` seconds.
    `endpoints` is the number per Service. Without `watch_lists` the API server has none.
    """

    endpoints: int
    changes: int
    events: int = 0
    soak_s: float = 0
    idle_s: float = 20
    watch_lists: bool = True


class SourceResult(Struct, frozen=True, kw_only=True, tag_field="measured", tag="source"):
    """Seconds and MiB of the process, and whether its rules are `equal` to those of a fresh start.

    `idle_share`: of one CPU. `ready_mib`: with all rules; `unsoaked_mib`: after the `events`;
    `resident_mib`: in the end.
    """

    size: SourceSize
    ready_s: float
    ready_cpu_s: float
    change_median_s: float
    change_p99_s: float
    idle_share: float
    ready_mib: float
    unsoaked_mib: float
    resident_mib: float
    peak_mib: float
    equal: bool


class LabSize(Struct, frozen=True, kw_only=True):
    """Arguments of a lab measurement. `pods` are spread over the nodes; `network` is the lab's."""

    pods: int
    nodes: int
    network: str

    @property
    def label(self) -> str:
        return f"{self.network}, {self.pods} pods"


class LabResult(Struct, frozen=True, kw_only=True, tag_field="measured", tag="lab"):
    """Seconds to build a lab, to be answered by all pods, and to take it down in the kernel.

    `floor_s`: what its namespaces and cables alone take. See `kproxy.bench.lab`.
    """

    size: LabSize
    user_mode_linux: bool
    build_s: float
    serve_s: float
    down_s: float
    floor_s: float


class MininetSize(Struct, frozen=True, kw_only=True):
    """Arguments of the measurement of Mininet beside a lab: `version` is that of Mininet."""

    version: str
    pods: int
    nodes: int

    @property
    def label(self) -> str:
        return f"mininet {self.version}, {self.pods} hosts"


class MininetResult(Struct, frozen=True, kw_only=True, tag_field="measured", tag="mininet"):
    """Seconds to build Mininet's hosts, and to take them down in the kernel.

    See `kproxy.bench.mininet`.
    """

    size: MininetSize
    user_mode_linux: bool
    build_s: float
    down_s: float


class ApiSize(Struct, frozen=True, kw_only=True):
    """Arguments of the measurement of a lab that stays and of its API.

    `objects` Services and as many ConfigMaps are created one by one; `changes` of one of them are
    seen by `watchers`; then there are `services` in all.
    """

    mode: str
    nodes: int
    objects: int
    watchers: int
    changes: int
    services: int

    @property
    def label(self) -> str:
        return f"{self.mode}, {self.nodes} nodes, {self.services} Services"


class ApiResult(Struct, frozen=True, kw_only=True, tag_field="measured", tag="api"):
    """Seconds, objects per second and MiB, see `kproxy.bench.api`.

    `up_cpu_s` is the CPU time of the command and of the lab until it is ready. `apply_s` begins
    with the start of kubectl, which alone takes `kubectl_s`; both are None if it is not installed.
    `watch_*_s`: until all watchers have seen a change. `listed` Services had `list_bytes`.
    """

    size: ApiSize
    user_mode_linux: bool
    up_s: float
    up_cpu_s: float
    up_mib: float
    kubectl_s: float | None
    apply_s: float | None
    services_per_s: float
    config_maps_per_s: float
    watch_median_s: float
    watch_p99_s: float
    list_s: float
    list_bytes: int
    listed: int
    resident_mib: float


class ReferenceResult(Struct, frozen=True, kw_only=True, tag_field="measured", tag="reference"):
    """Figures of another program at one size, noted by hand for the plots of syncs.

    `name` says which program it is and where it was measured.
    """

    name: str
    services: int
    full_s: float
    change_s: float


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile, interpolated between the two values next to it."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[98]
