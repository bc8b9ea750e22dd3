"""The readiness probes of all pods of a lab: real connections from each pod's node, one thread."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from kproxy.api.types import Probe
from kproxy.controlplane.readiness import Readiness
from kproxy.errors import BadInput, KproxyError
from kproxy.kernel.netns import Namespace
from kproxy.lab.cluster.probe_questions import Question, question
from kproxy.lab.hosts import LabNode, LabPod
from kproxy.loop.check import Check

_ALARMS_PER_ROUND = 50
LONGEST_PAUSE_S = 3600.0  # then it looks again: manifests may say more than Python can wait
_AT_ONCE = 0.0  # before all others that are due

_T = TypeVar("_T")


class _Asking(Check):
    """A probe that is under way."""

    def __init__(self, namespace: Namespace, asks: Question) -> None:
        """Raises OSError if it fails at once, KernelRefused and Unsupported."""
        self._question = asks
        super().__init__(
            namespace, asks.address, asks.port, request=asks.request, enough=asks.enough
        )

    def failure(self, error: str) -> str:
        """`error`: of the network, "" if it had none."""
        return self._question.failure(connected=self.connected, error=error, answer=self.answer)


class _Inquiry:
    """One call of `ask_now`. `open`: pods whose state is not decided yet."""

    def __init__(self, names: Iterable[str], answer: Future[dict[str, bool]]) -> None:
        self.names = tuple(names)
        self.open = set(self.names)
        self.answer = answer


class _Watched:
    """A pod. All times are those of the monotonic clock, in seconds.

    `problem`: of the last probe. `alarm`: the number of the one that is set. `asks_left`: how often
    it is asked at most while somebody inquires.
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
        self.check: _Asking | None = None
        self.alarm = -1
        self.inquiries: list[_Inquiry] = []
        self.asks_left = 0
        try:
            self.question = question(probe, next(iter(pod.addresses.values())), pod.spec.ports)
        except BadInput as error:
            (self.unaskable,) = error.problems


class ReadinessProbes:
    """Its thread starts at once. At the end `close`.

    `forget`, `ask_now` and `close` wait for the thread, which may be in `on_change`: that must not
    wait for anybody who holds up one of them, such as a lock that is held during the call.
    """

    def __init__(self, on_change: Callable[[str, bool], None]) -> None:
        """`on_change`: called with a pod's host name and whether it is ready, when that changed, in
        the thread of the probes. It must return soon, must not raise, and calls nothing here but
        `ready` and `problem`.
        """
        self._on_change = on_change
        self._pods: dict[str, _Watched] = {}
        self._alarms: list[tuple[float, int, _Watched]] = []
        self._alarm_numbers = count()
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._mutex = threading.Lock()  # of the next two
        self._awaited: set[Future[Any]] = set()
        self._ended: BaseException | None = None
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._do_tasks)
        self._thread = threading.Thread(target=self._run, name="kproxy-readiness", daemon=True)
        self._thread.start()

    def watch(self, pod: LabPod, node: LabNode, probe: Probe) -> None:
        """Probe a pod from its node from now on, first when its initial delay is over.

        It takes the place of a pod of the same name. Both namespaces must stay until `forget`.
        """
        self._post(partial(self._add, _Watched(pod, node, probe)))

    def ask_now(self, names: Iterable[str]) -> dict[str, bool]:
        """Ask these pods at once, all in parallel, and as often as it takes until the outcomes
        decide; a pod that answers now this, now that, stays what it is. Whether each is ready.

        `on_change` is not called for what is found out thus. Pods in their initial delay, and those
        that are not watched, are not asked and not ready.
        """
        return self._await(partial(self._inquire, tuple(dict.fromkeys(names))))

    def forget(self, name: str) -> None:
        """Probe a pod no more. Nothing is heard of it after this; harmless when repeated."""
        self._await(partial(self._remove, name))

    def ready(self, name: str) -> bool:
        """Whether a pod is ready now; a call of `on_change` that is being dealt with may be older.

        False for one that is not watched.
        """
        watched = self._pods.get(name)
        return watched is not None and watched.readiness.ready

    def problem(self, name: str) -> str:
        """What was wrong when a pod was probed last, for people; "" if nothing was."""
        watched = self._pods.get(name)
        return watched.problem if watched else ""

    def close(self) -> None:
        """Stop the thread. Raises what it died of, if it did."""
        self._post(self._stop)
        self._thread.join()
        for watched in self._pods.values():
            if watched.check:
                watched.check.close()
        self._pods.clear()
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)
        if self._ended and not self._stopping:
            raise self._ended

    # --- between threads ---------------------------------------------------------------------

    def _post(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_writer, b"\0")

    def _await(self, task: Callable[[Future[_T]], None]) -> _T:
        """What the task, done in the thread, leaves in its future, perhaps later."""
        done: Future[_T] = Future()
        with self._mutex:
            if self._ended:
                raise self._ended
            self._awaited.add(done)
        self._post(partial(task, done))
        try:
            return done.result()
        finally:
            with self._mutex:
                self._awaited.discard(done)

    def _do_tasks(self) -> None:
        os.read(self._wake_reader, 4096)
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()()

    def _run(self) -> None:
        ended: BaseException = RuntimeError("the readiness probes are closed")
        try:
            while not self._stopping:
                for key, _ in self._selector.select(self._pause_s()):
                    key.data()
                self._sound_alarms()
        except BaseException as error:
            ended = error  # raised again by whoever asks, and by close()
        with self._mutex:
            self._ended = ended
            for done in self._awaited:
                if not done.done():
                    done.set_exception(ended)

    def _stop(self) -> None:
        self._stopping = True

    # --- in the thread -----------------------------------------------------------------------

    def _add(self, watched: _Watched) -> None:
        self._drop(watched.name)
        self._pods[watched.name] = watched
        self._set_alarm(watched, watched.begins)

    def _remove(self, name: str, done: Future[None]) -> None:
        self._drop(name)
        done.set_result(None)

    def _drop(self, name: str) -> None:
        if watched := self._pods.pop(name, None):
            self._give_up(watched)
            watched.alarm = -1
            self._answer_inquiries(watched)

    def _inquire(self, names: tuple[str, ...], answer: Future[dict[str, bool]]) -> None:
        """A probe that is under way may have been answered before things changed: it is void."""
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
            self._set_alarm(watched, _AT_ONCE)

    def _answer_inquiries(self, watched: _Watched) -> None:
        for inquiry in watched.inquiries:
            inquiry.open.discard(watched.name)
            self._answer_if_complete(inquiry)
        watched.inquiries.clear()

    def _answer_if_complete(self, inquiry: _Inquiry) -> None:
        if not inquiry.open:
            inquiry.answer.set_result({name: self.ready(name) for name in inquiry.names})

    def _set_alarm(self, watched: _Watched, when: float) -> None:
        """In the place of the one it has."""
        watched.alarm = next(self._alarm_numbers)
        heappush(self._alarms, (when, watched.alarm, watched))

    def _pause_s(self) -> float | None:
        if not self._alarms:
            return None
        return min(max(self._alarms[0][0] - time.monotonic(), 0.0), LONGEST_PAUSE_S)

    def _sound_alarms(self) -> None:
        """Each pod has one: when it is asked next or, while it is asked, when that takes too long.

        A round has so many of them at most, and then answers are read: the time that it takes to
        ask a thousand pods is not theirs.
        """
        now = time.monotonic()
        for _ in range(_ALARMS_PER_ROUND):
            if not self._alarms or self._alarms[0][0] > now:
                return
            _, number, watched = heappop(self._alarms)
            if watched.alarm != number:
                continue
            if check := watched.check:
                error = f"no answer within {watched.probe.timeout_seconds} s"
                self._account(watched, check.failure(error))
            else:
                self._ask(watched)

    def _ask(self, watched: _Watched) -> None:
        watched.asked = time.monotonic()
        asks = watched.question
        if asks is None:
            self._account(watched, watched.unaskable)
            return
        try:
            check = _Asking(watched.namespace, asks)
        except OSError as error:
            text = os.strerror(error.errno) if error.errno else str(error)
            self._account(watched, asks.failure(connected=False, error=text, answer=b""))
            return
        except KproxyError as error:
            self._account(watched, str(error))
            return
        watched.check = check
        self._selector.register(check.socket, check.events, partial(self._advance, watched, check))
        self._set_alarm(watched, watched.asked + watched.probe.timeout_seconds)

    def _advance(self, watched: _Watched, check: _Asking) -> None:
        if watched.check is not check:  # it was given up in this very round
            return
        waits_for = check.events
        check.advance()
        if check.over:
            self._account(watched, check.failure(check.error))
        elif check.events != waits_for:
            self._selector.modify(
                check.socket, check.events, partial(self._advance, watched, check)
            )

    def _give_up(self, watched: _Watched) -> None:
        """End a probe that may be under way."""
        if check := watched.check:
            watched.check = None
            self._selector.unregister(check.socket)
            check.close()

    def _account(self, watched: _Watched, problem: str) -> None:
        """The end of a probe; `problem` "" for success."""
        self._give_up(watched)
        watched.problem = problem
        changed = watched.readiness.saw(not problem)
        if watched.inquiries:
            watched.asks_left -= 1
            if watched.asks_left > 0 and not watched.readiness.decided:
                self._set_alarm(watched, _AT_ONCE)
                return
            self._answer_inquiries(watched)
        elif changed:
            self._on_change(watched.name, watched.readiness.ready)
        self._set_alarm(watched, watched.asked + watched.probe.period_seconds)
