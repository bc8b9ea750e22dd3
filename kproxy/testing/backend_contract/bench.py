"""Backends of the mode under test and plans for them, as the contract tests need them."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend.containment import Plugin, contained
from kproxy.backend.contract import Backend
from kproxy.backend.options import complete_options
from kproxy.config import node_settings
from kproxy.forwarding.plan import Delta, Plan
from kproxy.forwarding.planner import Planner
from kproxy.proxy import NodeProxy, SyncFailed
from kproxy.store import ObjectKey, Store
from kproxy.testing.backend_contract.subject import Subject
from kproxy.testing.node import CONFIG
from kproxy.testing.random_cluster import RandomCluster

WRITTEN_FULL = Delta(full=True)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Bench:
    """The backends of a subject at one place. A context manager: whatever is open is closed."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        mode = subject.mode
        chosen = mode.options() if subject.options is None else subject.options
        self._config = replace(CONFIG, mode=mode.name)
        self.options = complete_options(mode, self._config, chosen)
        self._factory = contained(Plugin(mode.name, "under", "test"), mode.backend)
        self._open: list[Backend] = []

    def make(self, family: Family) -> Backend:
        """Return a new object, contained as the core has it: faults of the author's are named."""
        backend = self._factory(family, self.options)
        self._open.append(backend)
        return backend

    def make_all(self) -> dict[Family, Backend]:
        return {family: self.make(family) for family in self.subject.families}

    def filled(self, plans: Mapping[Family, Plan]) -> dict[Family, Backend]:
        """Return new objects that have synced these plans."""
        backends = self.make_all()
        for family, backend in backends.items():
            backend.sync(copy(plans[family]), Delta(full=True))
        return backends

    def leave_behind(self, plans: Mapping[Family, Plan], *, closed: bool) -> None:
        """Sync with objects that nobody asks again. Those not closed are as good as dead.

        A backend that forwards itself would go on, so it is in a process that is killed.
        """
        if not closed and self.subject.mode.forwards_itself:
            _in_a_killed_process(lambda: self.filled(plans))
            return
        for backend in self.filled(plans).values():
            if closed:
                self.close(backend)

    def close(self, backend: Backend) -> None:
        self._open.remove(backend)
        backend.close()

    def forget(self, backend: Backend) -> None:
        """Leave it to the caller to close this one."""
        self._open.remove(backend)

    def state(self, backends: Mapping[Family, Backend]) -> dict[str, object]:
        """Return what they read, made comparable, by family."""
        comparable = self.subject.mode.comparable
        return {family.value: comparable(each.read()) for family, each in backends.items()}

    def fresh_state(self, plans: Mapping[Family, Plan]) -> dict[str, object]:
        """Return what new objects make of these plans at a new place."""
        with self.subject.place(), Bench(self.subject) as fresh:
            return fresh.state(fresh.filled(plans))

    def plans(self, objects: Iterable[KubernetesObject]) -> dict[Family, Plan]:
        """Return the plan of each family, with the same settings whatever the objects are."""
        store = Store()
        store.replace(objects)
        mode = self.subject.mode
        found = {}
        for family, settings in node_settings(
            self._config, None, mode=mode.config, options=self.options
        ).items():
            planner = Planner(settings)
            planner.replan(store)
            found[family] = planner.plan
        return found

    def proxy(self, store: Store, backends: Mapping[Family, Backend]) -> NodeProxy:
        """Return kproxy's own caller of backends."""
        mode = self.subject.mode
        return NodeProxy(
            store,
            self._config,
            backends,
            mode=mode.config,
            options=self.options,
            in_parts=mode.in_parts,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._open:
            self._open.pop().close()


@cache
def objects_after(edits: int, seed: int = 11) -> Mapping[ObjectKey, KubernetesObject]:
    """Return the objects of a cluster with some history."""
    cluster = RandomCluster(seed)
    for _ in range(edits):
        cluster.edit()
    return cluster.objects


def follow(cluster: RandomCluster, store: Store, proxy: NodeProxy) -> None:
    """Change one object, and sync. Raises what the backend has raised."""
    key, obj = cluster.edit()
    if obj is None:
        store.delete(key)
    else:
        store.upsert(obj)
    try:
        proxy.sync()
    except SyncFailed as failure:
        raise next(iter(failure.errors.values())) from None


def delta_between(before: Plan, after: Plan) -> Delta:
    former, fresh = before.services, after.services
    changed = [name for name in {**former, **fresh} if former.get(name) != fresh.get(name)]
    return Delta(before={name: former.get(name) for name in changed})


def copy(plan: Plan) -> Plan:
    """Return an equal plan: whatever a backend does to it, ours stays."""
    return replace(plan, services=dict(plan.services))


class Threads:
    """A new thread for each call, in the same namespace. A context manager.

    They stay until its end: a thread that is over passes its identity on to the next one.
    """

    def __init__(self) -> None:
        self._pools = ExitStack()

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        pool = self._pools.enter_context(ThreadPoolExecutor(1))
        return pool.submit(function, *args, **kwargs).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pools.close()


def _in_a_killed_process(task: Callable[[], object]) -> None:
    """Run the task in a copy of this process that is killed when it has returned."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of others: not touched there
        pid = os.fork()
    if pid == 0:
        try:
            task()
            os.write(writer, b"done")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    said = os.read(reader, 4)
    os.close(reader)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if said != b"done":
        raise AssertionError("a sync in a process of its own has failed")
