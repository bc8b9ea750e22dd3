"""The readiness probes of all pods of a lab: real connections from each pod's node, one thread."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from kproxy.api.types import Probe
from kproxy.controlplane.readiness import Readiness
from kproxy.errors import BadInput, KproxyError
from kproxy.kernel.netns import Namespace
from kproxy.lab.cluster.probe_questions import Question, question
from kproxy.lab.hosts import LabNode, LabPod
from kproxy.loop.check import Check
from kproxy.loop.reactor import Reactor

if TYPE_CHECKING:
    from asyncio import TimerHandle

_ASKED_PER_ROUND = 50


class _Inquiry:
    """One call of `ask_now`. `open` has the pods whose state is not decided yet."""

    def __init__(self, names: Iterable[str], answer: Future[dict[str, bool]]) -> None:
        self.names = tuple(names)
        self.open = set(self.names)
        self.answer = answer


class _Watched:
    """A pod. All times are those of the monotonic clock, in seconds.

    `problem` is that of the last probe, `timer` that of the next. `asks_left` is the maximum number
    of further probes while an inquiry waits for the outcome.
    """

    def __init__(self, pod: LabPod, node: LabNode, probe: Probe) -> None:
        self.name = pod.name
        self.namespace: Namespace = node.namespace
        self.probe = probe
        self.readiness = Readiness(probe)
        self.question: Question | None = None
        self.unaskable = ""
        self.problem = ""
        self.begins = time.monotonic() + probe.initial_delay_seconds
        self.asked = 0.0
        self.check: Check | None = None
        self.timer: TimerHandle | None = None
        self.inquiries: list[_Inquiry] = []
        self.asks_left = 0
        try:
            self.question = question(probe, next(iter(pod.addresses.values())), pod.spec.ports)
        except BadInput as error:
            (self.unaskable,) = error.problems


class ReadinessProbes:
    """The readiness probes of pods. Its thread starts with the first pod and ends with `close`.

    `forget`, `ask_now` and `close` wait for the thread, which may be in `on_change`; so that must
    not wait for their caller, such as for a lock that is held during the call.
    """

    def __init__(self, on_change: Callable[[str, bool], None]) -> None:
        """Take the function to call with a pod's host name and readiness when that has changed.

        `on_change` is called in the thread of the probes. It must return soon, must not raise, and
        may call only `ready` and `problem` here.
        """
        self._on_change = on_change
        self._pods: dict[str, _Watched] = {}
        self._due: OrderedDict[_Watched, None] = OrderedDict()  # to be asked, in this order
        self._asks_soon = False
        self._reactor = Reactor("kproxy-readiness")

    def watch(self, pod: LabPod, node: LabNode, probe: Probe) -> None:
        """Probe a pod from its node from now on, first when its initial delay is over.

        It replaces a pod of the same name. Both namespaces must exist until `forget`.
        """
        self._reactor.post(partial(self._add, _Watched(pod, node, probe)))

    def ask_now(self, names: Iterable[str]) -> dict[str, bool]:
        """Probe these pods at once, all in parallel, until their thresholds are reached; return
        whether each is ready. A pod whose outcomes alternate keeps its state.

        `on_change` is not called for changes found by this. Pods in their initial delay, and those
        that are not watched, are not probed and not ready.
        """
        return self._reactor.wait(partial(self._inquire, tuple(dict.fromkeys(names))))

    def forget(self, name: str) -> None:
        """Stop probing a pod; `on_change` is not called for it afterwards. Harmless if repeated."""
        self._reactor.call(partial(self._drop, name))

    def ready(self, name: str) -> bool:
        """Tell whether a pod is ready now; the value of a pending `on_change` may be older.

        Returns False for a pod that is not watched.
        """
        watched = self._pods.get(name)
        return watched is not None and watched.readiness.ready

    def problem(self, name: str) -> str:
        """Return the problem of a pod's last probe as text; "" if it had none."""
        watched = self._pods.get(name)
        return watched.problem if watched else ""

    def close(self) -> None:
        """Stop the thread."""
        self._reactor.close()
        self._pods.clear()

    def _add(self, watched: _Watched) -> None:
        self._drop(watched.name)
        self._pods[watched.name] = watched
        self._ask_at(watched, watched.begins)

    def _drop(self, name: str) -> None:
        if watched := self._pods.pop(name, None):
            self._give_up(watched)
            self._answer_inquiries(watched)

    def _inquire(self, names: tuple[str, ...], answer: Future[dict[str, bool]]) -> None:
        """Start an inquiry. Probes under way are discarded: their answers may be outdated."""
        now = time.monotonic()
        asked = [self._pods[name] for name in names if name in self._pods]
        asked = [watched for watched in asked if now >= watched.begins]
        inquiry = _Inquiry(names, answer)
        inquiry.open.intersection_update(watched.name for watched in asked)
        self._answer_if_complete(inquiry)
        for watched in asked:
            self._give_up(watched)
            watched.inquiries.append(inquiry)
            watched.asks_left = watched.readiness.most_asks
            self._queue(watched, first=True)

    def _answer_inquiries(self, watched: _Watched) -> None:
        for inquiry in watched.inquiries:
            inquiry.open.discard(watched.name)
            self._answer_if_complete(inquiry)
        watched.inquiries.clear()

    def _answer_if_complete(self, inquiry: _Inquiry) -> None:
        if not inquiry.open:
            inquiry.answer.set_result({name: self.ready(name) for name in inquiry.names})

    def _ask_at(self, watched: _Watched, when_s: float) -> None:
        watched.timer = self._reactor.at(when_s, partial(self._queue, watched, first=False))

    def _queue(self, watched: _Watched, *, first: bool) -> None:
        """Let a pod be asked soon, with `first` before all others that are due."""
        self._due[watched] = None
        self._due.move_to_end(watched, last=not first)
        self._ask_soon()

    def _ask_soon(self) -> None:
        if self._due and not self._asks_soon:
            self._asks_soon = True
            self._reactor.soon(self._ask_some)

    def _ask_some(self) -> None:
        """Ask a limited number of pods, and then let answers be read: the time that it takes to ask
        a thousand pods must not count as a pod's answering time.
        """
        self._asks_soon = False
        try:
            for _ in range(min(len(self._due), _ASKED_PER_ROUND)):
                self._ask(self._due.popitem(last=False)[0])
        finally:
            self._ask_soon()

    def _ask(self, watched: _Watched) -> None:
        watched.asked = time.monotonic()
        asks = watched.question
        if asks is None:
            self._account(watched, watched.unaskable)
            return
        try:
            watched.check = Check(
                self._reactor,
                watched.namespace,
                asks.address,
                asks.port,
                partial(self._asked, watched, asks),
                timeout_s=watched.probe.timeout_seconds,
                request=asks.request,
                enough=asks.enough,
            )
        except OSError as error:
            text = os.strerror(error.errno) if error.errno else str(error)
            self._account(watched, asks.failure(connected=False, error=text, answer=b""))
        except KproxyError as error:
            self._account(watched, str(error))

    def _asked(self, watched: _Watched, asks: Question, check: Check) -> None:
        error = check.error
        if check.timed_out:
            error = f"no answer within {watched.probe.timeout_seconds} s"
        text = asks.failure(connected=check.connected, error=error, answer=check.answer)
        self._account(watched, text)

    def _give_up(self, watched: _Watched) -> None:
        """Cancel a probe that is under way, or planned."""
        if watched.timer:
            watched.timer.cancel()
        self._due.pop(watched, None)
        if watched.check:
            watched.check.close()

    def _account(self, watched: _Watched, problem: str) -> None:
        """Process the outcome of a probe; `problem` is "" for success."""
        watched.problem = problem
        changed = watched.readiness.saw(not problem)
        if watched.inquiries:
            watched.asks_left -= 1
            if watched.asks_left > 0 and not watched.readiness.decided:
                self._queue(watched, first=True)
                return
        self._ask_at(watched, watched.asked + watched.probe.period_seconds)
        if watched.inquiries:
            self._answer_inquiries(watched)
        elif changed:
            self._on_change(watched.name, watched.readiness.ready)
