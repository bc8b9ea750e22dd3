"""Sync times of one size: `python -m kproxy.bench.sync OPTIONS` prints a result as JSON.

Measured in one new namespace, from objects in the store to committed rules:

- full: the first sync, planning included, of a proxy that starts in an empty namespace
- change: one endpoint of one Service replaced by another, several times at different places
"""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from kproxy.backend import BackendOptions, load
from kproxy.bench.cluster import endpoint_slice, objects, with_another_endpoint
from kproxy.config import ProxyConfig
from kproxy.forwarding.plan import Family
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.proxy import NodeProxy
from kproxy.store import Store


class Size(Struct, frozen=True, kw_only=True):
    """What to measure. `changes`: how many endpoint changes."""

    mode: str
    variant: str
    services: int
    endpoints: int
    changes: int


class Result(Struct, frozen=True, kw_only=True):
    """Seconds and MiB. Memory is that of the proxy process with all objects, but without children
    such as iptables-restore: at the end, and at its peak."""

    size: Size
    full_s: float
    change_median_s: float
    change_max_s: float
    resident_mib: float
    peak_mib: float


def measure_apart(size: Size) -> Result:
    """`measure` in a process of its own. Raises KernelRefused if that fails."""
    argv = [sys.executable, "-m", "kproxy.bench.sync", msgspec.json.encode(size).decode()]
    return msgspec.json.decode(run(argv, timeout_s=3600), type=Result)


def measure(size: Size) -> Result:
    """Measure in this process, which should be a new one."""
    config = ProxyConfig(
        mode=size.mode,
        hostname_override="node-0",
        cluster_cidr="10.128.0.0/9",
    )
    options = BackendOptions(iptables_variant=size.variant)
    store = Store()
    store.replace(objects(size.services, size.endpoints))
    with Namespace.create("bench") as namespace, namespace.entered():
        backends = {Family.IPV4: load(size.mode)(Family.IPV4, options)}
        proxy = NodeProxy(store, config, backends)
        gc.collect()
        start = time.perf_counter()
        proxy.sync()
        full_s = time.perf_counter() - start
        changes_s = []
        for number in range(size.changes):
            # Spread over all Services: the place in a table may matter.
            service = number * size.services // size.changes
            store.upsert(with_another_endpoint(endpoint_slice(service, size.endpoints), number))
            start = time.perf_counter()
            proxy.sync()
            changes_s.append(time.perf_counter() - start)
    return Result(
        size=size,
        full_s=full_s,
        change_median_s=statistics.median(changes_s),
        change_max_s=max(changes_s),
        resident_mib=_resident_mib(),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    result = measure(msgspec.json.decode(sys.argv[1], type=Size))
    sys.stdout.write(msgspec.json.encode(result).decode())
