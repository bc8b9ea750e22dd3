"""The thread that runs all load balancers of a lab: health checks, rules, connection draining."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kproxy.address import Family, family_of, host_port
from kproxy.edge import checks
from kproxy.edge.annotations import BalancerClass
from kproxy.edge.health import Health
from kproxy.edge.listeners import Addresses, Listener, ListenerBackend, ListenerKey, Target
from kproxy.edge.rules import Shares, transaction
from kproxy.edge.scheduling import slots
from kproxy.edge.state import BackendState, ListenerState
from kproxy.errors import KproxyError
from kproxy.kernel.conntrack import Events, Flow, flows, forget
from kproxy.kernel.netns import Namespace
from kproxy.kernel.xtables import Xtables, open_xtables
from kproxy.loop.check import Check
from kproxy.loop.reactor import Reactor, Watched

if TYPE_CHECKING:
    from asyncio import TimerHandle

_RETRY_S = 1.0  # after rules were refused

log = logging.getLogger("kproxy")

_Table = tuple[str, Family]  # the rules of one place in one family
_Former = tuple[ListenerKey, str]  # a backend that was removed: its listener, its destination


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHost:
    """The host of a place's rules. `check_sources`: the addresses its checks come from."""

    kind: BalancerClass
    namespace: Namespace
    check_sources: Addresses


class Balancing:
    """The load balancers of a lab. The thread starts at the first `update`; `close` ends it."""

    def __init__(self, hosts: Mapping[str, PlaceHost], variant: str, drain_s: float) -> None:
        """Keep the hosts by the names of their places. `variant`: of iptables.

        `drain_s`: how long connections of a removed backend may go on.
        """
        self.state: tuple[ListenerState, ...] = ()
        self._hosts = hosts
        self._variant = variant
        self._drain_s = drain_s
        self._listeners: dict[ListenerKey, Listener] = {}
        self._health: dict[Target, Health] = {}
        self._checks: dict[Target, Check] = {}
        self._events: dict[str, Watched] = {}
        self._xtables: dict[_Table, Xtables] = {}
        self._written: dict[_Table, tuple[Shares, ...]] = {}
        self._loads: dict[_Table, Counter[_Former]] = {}
        self._stale: set[_Table] = set()
        self._uncounted: set[str] = set()
        self._changed = False
        self._retry_at = 0.0
        self._draining: dict[_Former, float] = {}
        self._waiting: list[Future[None]] = []
        self._next: TimerHandle | None = None
        self._reactor = Reactor("kproxy-edge")

    def update(self, listeners: Iterable[Listener]) -> None:
        """Replace all listeners by these.

        Returns when backends that are new, or were unhealthy, have been checked once and the rules
        are written. Raises KernelRefused, Unsupported.
        """
        wanted = {each.key: each for each in listeners}
        self._reactor.wait(partial(self._follow, wanted))

    def close(self) -> None:
        """Stop the thread. The rules stay; they are deleted with the namespaces."""
        self._reactor.close()

    def _fail(self, error: Exception) -> None:
        """Raise `error` in the callers that wait, or else log it; plan the next try."""
        if not self._waiting or not isinstance(error, KproxyError):
            log.error("load balancers, next try in %g s: %s", _RETRY_S, error)
        while self._waiting:
            self._waiting.pop().set_exception(error)
        self._retry_at = time.monotonic() + _RETRY_S

    def _work_at(self, when_s: float) -> None:
        """Plan to work at a time of the monotonic clock, unless that is planned for earlier."""
        if self._next:
            if self._next.when() <= when_s:
                return
            self._next.cancel()
        self._next = self._reactor.at(when_s, self._work)

    def _work(self) -> None:
        """Do everything that is due, and plan when to work next."""
        self._next = None
        try:
            self._do_what_is_due(time.monotonic())
        except Exception as error:
            self._fail(error)
        if due := [*self._due(time.monotonic())]:
            self._work_at(min(due))

    def _due(self, now: float) -> Iterator[float]:
        yield from (each.due_s for each in self._health.values() if not each.under_way)
        awaited = (each.awaited_until for each in self._health.values() if each.awaited(now))
        free_at = max((self._retry_at, *awaited))
        yield from (max(until, free_at) for until in self._draining.values())
        if self._stale or self._uncounted or self._changed:
            yield free_at

    def _do_what_is_due(self, now: float) -> None:
        for target, health in self._health.items():
            if not health.under_way and now >= health.due_s:
                self._start(target, now)
        if now < self._retry_at or any(health.awaited(now) for health in self._health.values()):
            return
        for place in self._uncounted & self._events.keys():
            self._recount(place)
        self._uncounted.clear()
        if self._stale:
            for table in sorted(self._stale, key=lambda each: (each[0], each[1].value)):
                self._write(table)
                self._stale.discard(table)
            self._changed = True
            for check in self._checks.values():  # the thread did not read their answers meanwhile
                check.extend(time.monotonic() - now)
        self._end_drains(now)
        if self._changed:  # not earlier, so that the state is that of the rules
            self._changed = False
            self._update_state()
        while self._waiting:
            self._waiting.pop().set_result(None)

    def _follow(self, wanted: dict[ListenerKey, Listener], done: Future[None]) -> None:
        self._changed = True
        now = time.monotonic()
        self._work_at(now)
        before, self._listeners = self._listeners, wanted
        self._stale |= {
            (each.key.place, each.key.family) for each in (*before.values(), *wanted.values())
        }
        present = {(key, str(each)) for key in wanted for each in wanted[key].backends}
        for key, listener in before.items():
            for backend in listener.backends:
                self._draining.setdefault((key, str(backend)), now + self._drain_s)
        for former in present & self._draining.keys():
            del self._draining[former]
        targets = {
            each.target
            for key in wanted
            for each in wanted[key].backends
            if each.target is not None
        }
        for target in self._health.keys() - targets:
            del self._health[target]
            if check := self._checks.pop(target, None):
                check.close()
        for target in targets:
            if target in self._health:
                self._health[target].hurry(now)
            else:
                self._health[target] = Health(target.times, now)
        self._watch_connections()
        self._waiting.append(done)

    # --- health ------------------------------------------------------------------------------

    def _start(self, target: Target, now: float) -> None:
        host = self._hosts[target.place]
        timeout_s = self._health[target].start(now)
        try:
            self._checks[target] = Check(
                self._reactor,
                host.namespace,
                target.address,
                target.port,
                partial(self._checked, target),
                timeout_s=timeout_s,
                source=host.check_sources[family_of(target.address)],
                request=checks.request(target),
                enough=checks.enough,
            )
        except OSError as error:
            self._conclude(target, os.strerror(error.errno or errno.EIO))

    def _checked(self, target: Target, check: Check) -> None:
        del self._checks[target]
        self._work_at(time.monotonic())
        if check.timed_out:
            self._conclude(target, "no answer in time")
        else:
            self._conclude(target, check.error or checks.problem(target, check.answer))

    def _conclude(self, target: Target, result: str) -> None:
        if self._health[target].end(result):
            self._stale |= {
                (key.place, key.family)
                for key, listener in self._listeners.items()
                if any(each.target == target for each in listener.backends)
            }
            log.info("%s: %s", target, result or "healthy")
        self._changed = True

    def _healthy(self, backend: ListenerBackend) -> bool:
        return backend.target is None or self._health[backend.target].healthy

    # --- rules -------------------------------------------------------------------------------

    def _write(self, table: _Table) -> None:
        place, family = table
        host = self._hosts[place]
        here = [
            each for each in self._listeners.values() if (each.key.place, each.key.family) == table
        ]
        with host.namespace.entered():
            loads: Counter[_Former] = Counter()
            if any(each.algorithm.counts for each in here):
                loads = self._count(table)
            shares = tuple(self._share(each, loads) for each in here)
            before = self._written.get(table)
            if shares != (before or ()):
                if table not in self._xtables:
                    self._xtables[table] = open_xtables(family, self._variant)
                self._xtables[table].restore(transaction(host.kind, family, shares, before))
                self._written[table] = shares
        self._loads[table] = loads

    def _share(self, listener: Listener, loads: Counter[_Former]) -> Shares:
        backends = [each for each in listener.backends if self._healthy(each)]
        order = slots(
            listener.algorithm,
            [each.weight for each in backends],
            [loads[listener.key, str(each)] for each in backends],
        )
        return Shares(listener=listener, slots=tuple(backends[index] for index in order))

    # --- connections -------------------------------------------------------------------------

    def _watch_connections(self) -> None:
        """Watch conntrack's events at the places where connections are counted."""
        places = {
            key.place for key, listener in self._listeners.items() if listener.algorithm.counts
        }
        for place in self._events.keys() - places:
            self._events.pop(place).close()
        for place in places - self._events.keys():
            with self._hosts[place].namespace.entered():
                events = Events()
            self._events[place] = self._reactor.watch(
                events.socket, partial(self._connections_changed, place, events)
            )

    def _connections_changed(self, place: str, events: Events) -> None:
        events.drain()
        self._uncounted.add(place)
        self._work_at(time.monotonic())

    def _recount(self, place: str) -> None:
        with self._hosts[place].namespace.entered():
            for table, loads in self._loads.items():
                if table[0] == place and self._count(table) != loads:
                    self._stale.add(table)

    def _count(self, table: _Table) -> Counter[_Former]:
        """Count the connections that are alive, by backend. Call it in the place's namespace."""
        return Counter(
            former
            for flow in flows(table[1])
            if flow.alive and (former := self._translated(table[0], flow))
        )

    def _translated(self, place: str, flow: Flow) -> _Former | None:
        """Return a connection's listener and backend, present or former; None if it has none."""
        key = ListenerKey(
            place=place,
            family=flow.family,
            protocol=flow.protocol,
            port=flow.destination[1],
        )
        address, port = flow.backend
        if flow.destination == flow.backend:
            return None
        return key, host_port(address, port)

    def _end_drains(self, now: float) -> None:
        over = {former for former, until in self._draining.items() if now >= until}
        for place, family in {(key.place, key.family) for key, _ in over}:
            with self._hosts[place].namespace.entered():
                forget(flow for flow in flows(family) if self._translated(place, flow) in over)
        for former in over:
            del self._draining[former]
            self._changed = True

    def _update_state(self) -> None:
        self.state = tuple(
            ListenerState(
                listener=listener,
                backends=tuple(
                    BackendState(
                        backend=each,
                        healthy=self._healthy(each),
                        reason=self._health[each.target].reason if each.target else "",
                        connections=self._loads.get((key.place, key.family), Counter())[
                            key, str(each)
                        ],
                    )
                    for each in listener.backends
                ),
                draining=tuple(where for former, where in self._draining if former == key),
            )
            for key, listener in self._listeners.items()
        )
