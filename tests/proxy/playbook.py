"""Time is played: a script of moments drives a control loop over memory backends.

    play(loop_of(), [
        At(0.0, Upsert(WEB)),
        At(0.0, Expect("full")),
    ])

Between two moments the loop wakes exactly when it asked to. `Expect` names all syncs since the last
`Expect`, each as `full` or the changed service ports ("" for none), and removals of leftovers; a
script must end with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.config import ModeConfig, ProxyConfig
from kproxy.errors import KernelRefused
from kproxy.forwarding.plan import Delta
from kproxy.proxy.control_loop import ControlLoop
from kproxy.proxy.events import Changed, Complete, Objects, Rejected
from kproxy.proxy.frequency import BoundedFrequency
from kproxy.proxy.node_proxy import NodeProxy
from kproxy.store import ObjectKey, Store, Update, object_key
from tests.proxy.watched import REFUSAL, Watched


class Stage:
    """A control loop with a clock that the test sets."""

    def __init__(
        self,
        config: ProxyConfig,
        leftovers: Iterable[float | KernelRefused],
        *,
        sync_takes_s: float,
        full_interval_s: float,
        complete: bool,
        allow_empty: bool,
        in_force: int,
    ) -> None:
        self.now = 0.0
        self.objects: dict[ObjectKey, KubernetesObject] = {}
        self.heard: list[str] = []
        self.backend = Watched(Family.IPV4, self._on_sync)
        self._sync_takes_s = sync_takes_s
        self._leftovers = list(leftovers)
        store = Store()
        self.proxy = NodeProxy(store, config, {Family.IPV4: self.backend}, clock=self._clock)
        self.loop = ControlLoop(
            store,
            self.proxy,
            BoundedFrequency(
                min_interval_s=ModeConfig().timing_of(config).min_sync_period,
                retry_limit_s=ModeConfig().timing_of(config).sync_period,
                full_interval_s=full_interval_s,
            ),
            remove_leftovers=self._remove_leftovers,
            complete=complete,
            allow_empty=allow_empty,
            in_force=in_force,
            clock=self._clock,
        )

    def advance(self, moment: float) -> None:
        while (wake_at := self.loop.step()) <= moment:
            self.now = max(self.now, wake_at)
        self.now = max(self.now, moment)
        self.loop.step()

    def _clock(self) -> float:
        return self.now

    def _on_sync(self, _family: Family, delta: Delta) -> None:
        self.heard.append("full" if delta.full else " ".join(sorted(map(str, delta.before))))
        self.now += self._sync_takes_s

    def _remove_leftovers(self) -> float:
        if not self._leftovers:
            return 0
        self.heard.append("leftovers")
        outcome = self._leftovers.pop(0)
        if isinstance(outcome, KernelRefused):
            raise outcome
        return outcome


def loop_of(
    config: ProxyConfig | None = None,
    *,
    leftovers: Iterable[float | KernelRefused] = (),
    sync_takes_s: float = 0.0,
    full_interval_s: float = 3600.0,
    complete: bool = True,
    allow_empty: bool = True,
    in_force: int = 0,
) -> Stage:
    """Return a loop. `leftovers` are the results of each removal: seconds until the next one."""
    return Stage(
        config or ProxyConfig(hostname_override="node-a"),
        leftovers,
        sync_takes_s=sync_takes_s,
        full_interval_s=full_interval_s,
        complete=complete,
        allow_empty=allow_empty,
        in_force=in_force,
    )


class Upsert(Struct, frozen=True):
    obj: KubernetesObject

    def __call__(self, stage: Stage) -> None:
        stage.objects[object_key(self.obj)] = self.obj
        stage.loop.send(Objects(tuple(stage.objects.values())))


class Delete(Struct, frozen=True):
    obj: KubernetesObject

    def __call__(self, stage: Stage) -> None:
        del stage.objects[object_key(self.obj)]
        stage.loop.send(Objects(tuple(stage.objects.values())))


class Change(Struct, frozen=True):
    """A source that sends what changes says that this object did."""

    obj: KubernetesObject

    def __call__(self, stage: Stage) -> None:
        stage.loop.send(Changed(Update(upserts=(self.obj,))))


class AllSent(Struct, frozen=True):
    """It has sent all that it had at first."""

    def __call__(self, stage: Stage) -> None:
        stage.loop.send(Complete())


class Invalid(Struct, frozen=True):
    problem: str

    def __call__(self, stage: Stage) -> None:
        stage.loop.send(Rejected((self.problem,)))


class Refuse(Struct, frozen=True):
    """The kernel refuses the next syncs."""

    times: int = 1

    def __call__(self, stage: Stage) -> None:
        stage.backend.kernel.refuse(Family.IPV4, REFUSAL, times=self.times)


class ComeAgain(Struct, frozen=True):
    """The backend asks for another sync after each of the next ones; 0 ends that."""

    in_s: float

    def __call__(self, stage: Stage) -> None:
        stage.backend.again_in_s = self.in_s


class Flush(Struct, frozen=True):
    def __call__(self, stage: Stage) -> None:
        stage.backend.kernel.flush(Family.IPV4)


class Expect:
    def __init__(self, *syncs: str) -> None:
        self.syncs = syncs

    def __call__(self, stage: Stage) -> None:
        heard, stage.heard = stage.heard, []
        assert tuple(heard) == self.syncs, f"at {stage.now:g} s"


class Healthy(Struct, frozen=True):
    """The answer to health checks."""

    expected: bool

    def __call__(self, stage: Stage) -> None:
        assert stage.proxy.health.healthy is self.expected, f"at {stage.now:g} s"


class Begun(Struct, frozen=True):
    """Health checks tell of each family: syncs have begun."""

    expected: bool

    def __call__(self, stage: Stage) -> None:
        assert bool(stage.proxy.health.families) is self.expected, f"at {stage.now:g} s"


class At(Struct, frozen=True):
    moment: float
    act: (
        Upsert
        | Delete
        | Change
        | AllSent
        | Invalid
        | Refuse
        | ComeAgain
        | Flush
        | Healthy
        | Begun
        | Expect
    )


def play(stage: Stage, script: Sequence[At]) -> None:
    assert isinstance(script[-1].act, Expect), "nothing checks the end of this script"
    for line in script:
        stage.advance(line.moment)
        line.act(stage)
    heard, stage.heard = stage.heard, []
    assert not heard
