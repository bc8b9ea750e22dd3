"""Counts what a proxy does, in plain numbers.

The thread of the proxy writes, that of a server reads them: a histogram read in between may lack
the sum of its last value, until the next scrape. Nothing walks through all Services except a full
sync, which writes all their rules anyway.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from threading import Lock
from typing import NamedTuple

from kproxy.address import Family
from kproxy.api.types import (
    HEADLESS_LABEL,
    PROXY_NAME_LABEL,
    TRIGGER_TIME,
    EndpointSlice,
    KubernetesObject,
    Service,
)
from kproxy.backend import Metric
from kproxy.forwarding.plan import Delta, Plan, Pool, ServicePlan, ServicePortName
from kproxy.metrics import definitions as define
from kproxy.proxy.observer import Observer
from kproxy.store import ServiceKey, service_of

CODES = (200, 503)


class Histogram:
    """A distribution of values over buckets, each up to and with its bound."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.sum = 0.0
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def cumulative(self) -> list[int]:
        """Return how many values each bucket has, with all of the buckets below; at last, all."""
        return [*accumulate(self._counts)]


class Sample(NamedTuple):
    """The value of a metric for one combination of labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Histogram


class _NoLocal:
    """The service ports of one family with a traffic policy Local, endpoints, and none here.

    One that nobody can reach from outside, as a load balancer without an address and a node port,
    counts as well; but not `by_service`: there an address must lead to endpoints of this node only.
    Source: kube-proxy iptables/proxier.go, nftables/proxier.go (syncProxyRules), ipvs/proxier.go
    (syncEndpoint).
    """

    def __init__(self, *, by_service: bool) -> None:
        self._by_service = by_service
        self.ports: dict[str, set[ServicePortName]] = {"internal": set(), "external": set()}

    def follow(self, plan: Plan, delta: Delta) -> None:
        if delta.full:
            self.ports = {
                policy: {
                    name for name, service in plan.services.items() if self._lacks(policy, service)
                }
                for policy in self.ports
            }
            return
        for name in delta.before:
            service = plan.services.get(name)
            for policy, names in self.ports.items():
                if service is not None and self._lacks(policy, service):
                    names.add(name)
                else:
                    names.discard(name)

    def _lacks(self, policy: str, service: ServicePlan) -> bool:
        """Tell whether the policy is Local and finds no endpoint here, though there are some."""
        local = service.internal_local if policy == "internal" else service.external_local
        if not local or service.local or not service.has_endpoints:
            return False
        return not self._by_service or any(each.pool is Pool.LOCAL for each in service.frontends)


class _OfFamily:
    """The measurements of one family."""

    def __init__(self, *, by_service: bool) -> None:
        self.syncs = Histogram(define.LATENCY_BUCKETS_S)
        self.full_syncs = Histogram(define.LATENCY_BUCKETS_S)
        self.partial_syncs = Histogram(define.LATENCY_BUCKETS_S)
        self.programming = Histogram(define.PROGRAMMING_BUCKETS_S)
        self.conntrack = Histogram(define.LATENCY_BUCKETS_S)
        self.flows_cut = 0
        self.synced_at: float | None = None
        self.no_local = _NoLocal(by_service=by_service)
        self.triggered: dict[ServiceKey, list[float]] = {}  # by changes not yet in force


class Measurements(Observer):
    """The measurements of one proxy. `healthz` and `livez` count answers by status.

    `partial_syncs`, `by_service`: as in `Mode` (`policies_by_service`).
    """

    def __init__(
        self,
        families: Collection[Family],
        *,
        partial_syncs: bool = True,
        by_service: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.healthz: Counter[int] = Counter()
        self.livez: Counter[int] = Counter()
        self._partial_syncs = partial_syncs
        self._by_service = by_service
        self._clock = clock
        self._started_at = clock()
        self._families = {family: _OfFamily(by_service=by_service) for family in families}
        self._queued_at: float | None = None
        self._slices_pending = self._slices_changed = 0
        self._services_pending: set[ServiceKey] = set()
        self._services_changed = 0
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._request_times: dict[tuple[str, str], Histogram] = {}
        self._mutex = Lock()  # protects these two: any thread may send requests

    def requested(self) -> None:
        self._queued_at = self._clock()

    def changed(self, obj: KubernetesObject, *, deleted: bool) -> None:
        """Count a change of what kube-proxy watches; other objects are ignored."""
        if isinstance(obj, EndpointSlice):
            known = self._families.get(Family(obj.address_type)) if _is_ip(obj) else None
            if known is None or HEADLESS_LABEL in obj.metadata.labels:
                return
            self._slices_changed += 1
            self._slices_pending += 1
            if (service := service_of(obj)) is None:
                return
            if deleted:
                known.triggered.pop(service, None)
            elif (text := obj.metadata.annotations.get(TRIGGER_TIME)) and (
                (at := _seconds(text)) > self._started_at
            ):
                known.triggered.setdefault(service, []).append(at)
        elif isinstance(obj, Service):
            if obj.spec.cluster_ip == "None" or PROXY_NAME_LABEL in obj.metadata.labels:
                return
            self._services_changed += len(self._families)
            self._services_pending.add((obj.metadata.namespace, obj.metadata.name))

    def taken(self) -> None:
        self._slices_pending = 0
        if self._services_pending:
            self._services_pending = set()

    def tried(self, family: Family, duration_s: float, *, full: bool, ok: bool) -> None:
        known = self._families[family]
        known.syncs.observe(duration_s)
        (known.full_syncs if full else known.partial_syncs).observe(duration_s)
        if not ok:  # kube-proxy forgets them, too; else they would pile up
            known.triggered.clear()

    def in_step(self, plan: Plan, delta: Delta) -> None:
        known = self._families[plan.family]
        now = known.synced_at = self._clock()
        if delta:
            known.no_local.follow(plan, delta)
        if known.triggered:
            triggered, known.triggered = known.triggered, {}
            for times in triggered.values():
                for at in times:
                    known.programming.observe(now - at)

    def flows_checked(self, family: Family, duration_s: float, cut: int) -> None:
        known = self._families[family]
        known.conntrack.observe(duration_s)
        known.flows_cut += cut

    def api_request(
        self, code: str, method: str, host: str, duration_s: float | None = None
    ) -> None:
        """Count a request to the API server. `code`: its status, or `<error>` if there was none.

        `host`: address and port, without a user. Any thread may call it.
        """
        with self._mutex:
            self._requests[code, host, method] += 1
            if duration_s is not None:
                times = self._request_times.setdefault(
                    (host, method), Histogram(define.CLIENT_BUCKETS_S)
                )
                times.observe(duration_s)

    def samples(self) -> Iterator[Sample]:
        """Yield all samples. May be called by any thread."""
        for family, known in self._families.items():
            yield from self._of_family(family.value, known)
        yield Sample(define.ENDPOINT_CHANGES_PENDING, (), self._slices_pending)
        yield Sample(define.ENDPOINT_CHANGES, (), self._slices_changed)
        yield Sample(define.SERVICE_CHANGES_PENDING, (), len(self._services_pending))
        yield Sample(define.SERVICE_CHANGES, (), self._services_changed)
        for metric, counts in ((define.HEALTHZ, self.healthz), (define.LIVEZ, self.livez)):
            for code in CODES:
                yield Sample(metric, (str(code),), counts[code])
        with self._mutex:
            for labels, count in self._requests.items():
                yield Sample(define.REST_CLIENT_REQUESTS, labels, count)
            for of, times in self._request_times.items():
                yield Sample(define.REST_CLIENT_DURATION, of, times)

    def _of_family(self, family: str, known: _OfFamily) -> Iterator[Sample]:
        own = (family,)
        yield Sample(define.SYNC_DURATION, own, known.syncs)
        if self._partial_syncs:
            yield Sample(define.FULL_SYNC_DURATION, own, known.full_syncs)
            yield Sample(define.PARTIAL_SYNC_DURATION, own, known.partial_syncs)
        if known.synced_at is not None:
            yield Sample(define.LAST_SYNC, own, known.synced_at)
        if self._queued_at is not None:
            yield Sample(define.LAST_QUEUED, own, self._queued_at)
        yield Sample(define.NETWORK_PROGRAMMING, own, known.programming)
        for policy, ports in known.no_local.ports.items():
            names = [*ports.copy()]
            count = len({name.service for name in names} if self._by_service else names)
            yield Sample(define.NO_LOCAL_ENDPOINTS, (policy, family), count)
        yield Sample(define.CONNTRACK_DURATION, own, known.conntrack)
        yield Sample(define.CONNTRACK_DELETED, own, known.flows_cut)


def _is_ip(obj: EndpointSlice) -> bool:
    return obj.address_type in (Family.IPV4, Family.IPV6)  # not FQDN


def _seconds(text: str) -> float:
    """Return a time in RFC 3339 as seconds since the epoch, 0 if it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
