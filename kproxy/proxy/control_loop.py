"""The loop around a `NodeProxy`: takes events, syncs when due, and repairs changed rules."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from msgspec import Struct

from kproxy.api.types import KubernetesObject, Service
from kproxy.backend import SyncReport
from kproxy.errors import BadInput, KernelRefused
from kproxy.proxy.events import Changed, Complete, Event, Objects, Rejected, SourceLost, Stop
from kproxy.proxy.frequency import BoundedFrequency, Due
from kproxy.proxy.node_proxy import NodeProxy, SyncFailed
from kproxy.store import Store, Update

DRIFT_INTERVAL_S = 1.0
_MOST_WAITING = 1000  # changes
DRIFT_SHARE = 0.05  # of the time at most: the longer a check takes, the less often it is done
LEFTOVERS_RETRY_S = 30.0
CHECKS = logging.DEBUG // 2  # the level at which each check for drift is logged

log = logging.getLogger("kproxy")


class Counters(Struct):
    """Counts of events since the start, for logs and metrics."""

    syncs: int = 0  # that succeeded
    failed_syncs: int = 0
    repairs: int = 0  # rules or addresses changed by another process, all rules written again
    rejected: int = 0  # invalid versions of the objects, which never took effect


class ControlLoop:
    """Owns the store, the proxy and the time of one node.

    Any thread may `send`; everything else happens in the thread of `run`, which must be in the
    node's namespace. Only `Stop`, invalid settings at the start, a lost source, or what
    `on_objects` or `on_step` raises end the loop. `on_step` is called at the end of each step with
    the time, and returns when to call it again at the latest.
    """

    def __init__(
        self,
        store: Store,
        proxy: NodeProxy,
        frequency: BoundedFrequency,
        *,
        remove_leftovers: Callable[[], float] = lambda: 0,
        on_objects: Callable[[], None] = lambda: None,
        complete: bool = True,
        allow_empty: bool = True,
        in_force: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`remove_leftovers` is called after the first sync that succeeds. It returns the seconds
        after which to call it again, 0 for never. If it raises KernelRefused, it is called again
        later. `on_objects` is called when the store has taken other objects.

        Unless the store is `complete`, nothing is synced before the event `Complete`, and syncs
        count as begun once the store has taken any object: those of a source come after its Node.

        Without `allow_empty` the last Services stay in force when the sources hold none any more.
        `in_force`: of so many Services there are rules already, and the store has none: nothing is
        synced before it has one.
        """
        self.on_step: Callable[[float], float] = lambda _now: float("inf")
        self._on_objects = on_objects
        self._complete = complete
        self._allow_empty = allow_empty
        self._in_force = in_force
        self._warned = False  # that the sources hold no Service
        self.counters = Counters()
        self._store = store
        self._proxy = proxy
        self._frequency = frequency
        self._clock = clock
        self._inbox: SimpleQueue[Event] = SimpleQueue()  # `put` is safe in a signal handler
        self._room = threading.Semaphore(_MOST_WAITING)
        self._check_at = float("inf")  # set by the first sync
        self._remove_leftovers = remove_leftovers
        self._leftovers_at = float("inf")  # set by the first success
        self._leftovers_problem = ""
        self._failures = 0  # in a row
        self._stopped = False

    @property
    def status(self) -> str:
        """One line for people that look at the process, "" before the first sync that succeeded."""
        if not self.counters.syncs:
            return ""
        doing = f"failing, {self._failures} in a row" if self._failures else "in sync"
        return (
            f"mode {self._proxy.mode}, {doing}: {self.counters.syncs} syncs,"
            f" {self.counters.failed_syncs} failed, {self.counters.repairs} repairs,"
            f" {self.counters.rejected} rejections"
        )

    def send(self, event: Event) -> None:
        """Pass on an event. While a thousand changes wait to be taken, one more has to wait.

        So a source that is faster than the loop is slowed down, up to the API server: what waits
        would need memory, and more so the longer a sync takes.
        """
        if isinstance(event, Changed):
            self._room.acquire()
            if self._stopped:
                self._room.release()  # to the next one: nobody takes anything any more
                return
        self._inbox.put(event)

    def run(self) -> None:
        """Run until `Stop`; the rules stay. The first sync is due at once.

        Raises BadInput if this node has no settings at the start, and the error of a lost source.
        """
        if self._complete:
            self._proxy.health.started()
        if self._in_force:
            self._warn_of_none(self._in_force)
        elif self._complete:
            self._request()
        try:
            while True:
                wake_at = self.step()
                if self._stopped:
                    return
                self._receive(wake_at)
        finally:
            self._end()

    def step(self) -> float:
        """Take all waiting events, do what is due, and return when the next step is due."""
        self._take_waiting()
        if self._stopped:
            return self._clock()
        if self._clock() >= self._check_at:
            self._check_drift()
        if self._clock() >= self._proxy.again_at:
            self._request()
        due = self._frequency.due(self._clock())
        if due is not Due.NOTHING:
            self._sync(full=due is Due.FULL_SYNC)
        if self._clock() >= self._leftovers_at:
            self._remove_leftovers_now()
        step_at = self.on_step(self._clock())
        wake_at = min(self._frequency.next_at(), self._check_at, self._leftovers_at, step_at)
        again_at = self._proxy.again_at
        return min(wake_at, again_at) if again_at > self._clock() else wake_at

    def _request(self) -> None:
        self._frequency.request()
        self._proxy.request()

    def _receive(self, wake_at: float) -> None:
        wait_s = max(0.0, wake_at - self._clock())
        try:
            self._take(self._inbox.get(timeout=None if wait_s == float("inf") else wait_s))
        except Empty:
            return

    def _take_waiting(self) -> None:
        while not self._stopped:
            try:
                self._take(self._inbox.get_nowait())
            except Empty:
                return

    def _take(self, event: Event) -> None:
        match event:
            case Objects(objects) if self._must_stay(objects):
                self._warn_of_none(self._in_force or len(self._store.services()))
            case Objects(objects):
                self._warned, self._in_force = False, 0
                self._take_update(self._store.replacement(objects))
            case Changed(update):
                self._room.release()
                self._take_update(update)
            case Complete():
                self._complete = True
                self._request()
            case Rejected(problems):
                self._reject(problems)
            case SourceLost(error):
                raise error
            case Stop():
                self._end()

    def _end(self) -> None:
        self._stopped = True
        self._room.release()

    def _take_update(self, update: Update) -> None:
        self._store.apply(update)
        self._on_objects()
        if not self._complete:
            self._proxy.health.started()
        elif self._store.has_changes:
            self._request()

    def _must_stay(self, objects: tuple[KubernetesObject, ...]) -> bool:
        """Tell whether these objects would take every Service off the node."""
        if self._allow_empty or any(isinstance(each, Service) for each in objects):
            return False
        return bool(self._in_force or self._store.services())

    def _warn_of_none(self, services: int) -> None:
        if not self._warned:
            self._warned = True
            log.warning("%s", no_service(services))

    def _sync(self, *, full: bool) -> None:
        first = not self.counters.syncs
        start = self._clock()
        self._frequency.started(start)
        try:
            reports = self._proxy.sync(full=full)
        except SyncFailed as error:
            self._frequency.finished(self._clock(), ok=False)
            self._check_at = self._clock() + DRIFT_INTERVAL_S
            self._report_failure(error)
            return
        except BadInput as error:
            if not self._proxy.plans:
                raise
            reports = []
            self._reject(tuple(error.problems))
        now = self._clock()
        self._frequency.finished(now, ok=True)
        self._check_at = now + DRIFT_INTERVAL_S
        self.counters.syncs += 1
        self._report_success(reports, now - start, first=first)
        if first:
            self._leftovers_at = now

    def _remove_leftovers_now(self) -> None:
        try:
            again_in_s = self._remove_leftovers()
        except KernelRefused as error:
            again_in_s = LEFTOVERS_RETRY_S
            lines = " | ".join(str(error).splitlines())
            if lines != self._leftovers_problem:  # named once, not at every attempt
                self._leftovers_problem = lines
                log.error("cannot remove leftovers, next try in %.0f s: %s", again_in_s, lines)
        self._leftovers_at = self._clock() + again_in_s if again_in_s else float("inf")

    def _check_drift(self) -> None:
        start = self._clock()
        damaged = self._proxy.damaged()
        now = self._clock()
        self._check_at = now + max(DRIFT_INTERVAL_S, (now - start) / DRIFT_SHARE)
        log.log(CHECKS, "looked for changes by other processes in %.4f s", now - start)
        if damaged:
            self.counters.repairs += 1
            log.warning(
                "%s rules or addresses were changed by another process; writing all rules again"
                " (repair %d)",
                " and ".join(family.value for family in damaged),
                self.counters.repairs,
            )
            self._request()

    def _reject(self, problems: tuple[str, ...]) -> None:
        self.counters.rejected += 1
        log.error(
            "rejected invalid input, the last good version stays in force (rejection %d): %s",
            self.counters.rejected,
            "; ".join(problems),
        )

    def _report_failure(self, error: SyncFailed) -> None:
        self.counters.failed_syncs += 1
        self._failures += 1
        log.error(
            "sync failed (%d in a row), next try within %.1f s: %s%s",
            self._failures,
            self._frequency.next_at() - self._clock(),
            " | ".join(str(error).splitlines()),
            f" ({error.remedy})" if error.remedy else "",
        )

    def _report_success(self, reports: list[SyncReport], took_s: float, *, first: bool) -> None:
        for family, duration_s in self._proxy.durations_s.items():
            log.debug("%s: last sync took %.4f s", family.value, duration_s)
        if self._failures:
            log.info("synced again after %d failures", self._failures)
            self._failures = 0
        if first:
            log.info("ready: %s", summary(self._proxy, took_s))
        elif any(report.transactions for report in reports):
            log.info(
                "synced in %.3f s: %d rules, %d transactions%s",
                took_s,
                sum(sum(report.rules_written.values()) for report in reports),
                sum(report.transactions for report in reports),
                ", in full" if any(report.full for report in reports) else "",
            )


def no_service(services: int) -> str:
    """Return why nothing is removed: the sources hold no Service, but the node has rules."""
    if services == 1:
        return "no Service in the manifests: 1 Service stays in force; --allow-empty removes it"
    stay = f"{services} Services stay in force"
    return f"no Service in the manifests: {stay}; --allow-empty removes them"


def summary(proxy: NodeProxy, first_sync_s: float) -> str:
    """Return one line that says what a proxy serves after its first sync."""
    families = " and ".join(family.value for family in proxy.families)
    services = {name.service for plan in proxy.plans.values() for name in plan.services}
    return (
        f"mode {proxy.mode}, {families}, {len(services)} services, first sync {first_sync_s:.3f} s"
    )
