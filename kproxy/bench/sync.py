"""Sync times of one size: `python -m kproxy.bench.sync SIZE` prints a result as JSON.

They are measured in one new namespace, from the event, an object that is put into the store, to
committed rules:

- full: the first sync, planning included, of a proxy that starts in an empty namespace
- change: one endpoint of one Service replaced by another
- scale: one endpoint added to one Service, and then one removed from another, in turn

Both kinds of changes are spread over all Services from the first to the last, as the place in a
table may matter.
"""

from __future__ import annotations

import gc
import os
import resource
import statistics
import time
from collections.abc import Iterator

from kproxy.api.types import EndpointSlice
from kproxy.bench.cluster import (
    endpoint_slice,
    objects,
    with_another_endpoint,
    with_one_endpoint_less,
    with_one_endpoint_more,
)
from kproxy.bench.results import SyncResult, SyncSize, p99
from kproxy.bench.subject import new_proxy
from kproxy.garbage import keep_for_good
from kproxy.kernel.measurement import answer
from kproxy.kernel.netns import Namespace
from kproxy.kernel.running import on_uml, resident_mib


def measure(size: SyncSize) -> SyncResult:
    """Measure in this process, which should be a new one. Raises KproxyError."""
    with Namespace.create("bench") as namespace, namespace.entered():
        store, proxy = new_proxy(size, objects(size.services, size.endpoints))

        def committed_s(event: EndpointSlice | None = None) -> float:
            start = time.perf_counter()
            if event:
                store.upsert(event)
            proxy.sync()
            return time.perf_counter() - start

        gc.collect()
        full_s = committed_s()
        keep_for_good()  # as `kproxy run` does
        current: dict[int, EndpointSlice] = {}
        changes_s = [committed_s(event) for event in replacements(size, current)]
        scale_s = [committed_s(event) for event in additions_and_removals(size, current)]
    return SyncResult(
        size=size,
        user_mode_linux=on_uml(),
        full_s=full_s,
        change_median_s=statistics.median(changes_s),
        change_p99_s=p99(changes_s),
        change_max_s=max(changes_s),
        scale_median_s=statistics.median(scale_s),
        scale_p99_s=p99(scale_s),
        scale_max_s=max(scale_s),
        resident_mib=(resident := resident_mib(os.getpid())),
        # The kernel's record of the peak lags by some pages.
        peak_mib=max(resident, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    )


def replacements(size: SyncSize, current: dict[int, EndpointSlice]) -> Iterator[EndpointSlice]:
    """Yield `size.changes` slices; `current` has those changed before, by number of the Service."""
    for number, service in enumerate(_spread(size)):
        former = current.get(service) or endpoint_slice(service, size.endpoints)
        current[service] = with_another_endpoint(former, number)
        yield current[service]


def additions_and_removals(
    size: SyncSize, current: dict[int, EndpointSlice]
) -> Iterator[EndpointSlice]:
    """Yield `size.changes` slices, after the replacements."""
    for number, service in enumerate(_spread(size)):
        former = current.get(service) or endpoint_slice(service, size.endpoints)
        current[service] = (
            with_one_endpoint_less(former)
            if number % 2
            else with_one_endpoint_more(former, size.changes + number)
        )
        yield current[service]


def _spread(size: SyncSize) -> list[int]:
    return [number * size.services // size.changes for number in range(size.changes)]


if __name__ == "__main__":
    answer(measure, SyncSize)
