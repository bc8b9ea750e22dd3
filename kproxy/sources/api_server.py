"""Objects of a Kubernetes API server, watched.

Each collection has a thread of its own, which waits for the API server and passes on what it says;
`kproxy.kubernetes.reflector` decides what to ask. While the API server is away nothing is passed
on: the objects in force stay.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from threading import Event as Flag

from kproxy.api.types import Node
from kproxy.errors import BadInput, KproxyError, Silent
from kproxy.kubernetes.connection import Connection, Stream
from kproxy.kubernetes.reflector import NOTHING, Ask, Received, Reflector
from kproxy.kubernetes.resources import Resource, own_node
from kproxy.kubernetes.stream import Rejection
from kproxy.proxy.events import Changed, Complete, Event, Rejected, SourceLost
from kproxy.sources.contact import Contact
from kproxy.store import Update

LIST_TIMEOUT_S = 60.0
_END_S = 1.0
_SAY_FIRST_S, _SAY_AGAIN_S = 1.0, 60.0  # when it is said what is being waited for

log = logging.getLogger("kproxy")


class ApiServer:
    """Reads and watches collections of one API server.

    Call `follow`, which sends all that there is and then what changes; or `node`, `read`, and then
    `watch`, if nothing can be done before all is there.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        on_rejected: Callable[[Rejection], None] = lambda _rejection: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_rejected` is called, in any thread, for each object that cannot be accepted."""
        self._connection = connection
        self._on_rejected = on_rejected
        self._clock = clock
        self._contact = Contact(lambda: connection.url, clock)
        self._followers: list[_Follower] = []
        self._changed = threading.Condition()  # protects the rest
        self._node: Node | None = None  # the last one received
        self._early: list[Update | Rejected] = []  # before `watch` is called
        self._send: Callable[[Event], None] | None = None
        self._lost: BaseException | None = None
        self._stopped = Flag()

    @property
    def away_s(self) -> float:
        """Return for how long the API server has been away, in seconds; 0 if it is not."""
        return self._contact.away_s

    def node(self, name: str, *, wait: bool = True) -> Node:
        """Return the Node of this name, and watch it from now on. Waits until it is there.

        Without `wait` raises BadInput if there is none. Raises AccessRefused if the API server
        and kproxy do not accept each other.
        """
        self._start([own_node(name)])
        self._wait(lambda: bool(self._node) or (not wait and self._synced), f"Node {name}")
        if self._node is None:
            raise BadInput(
                [f"{self._connection.url} has no Node {name}"],
                remedy="name this machine's Node with --hostname-override",
            )
        return self._node

    def read(self, resources: Sequence[Resource]) -> list[Update]:
        """Read collections, and watch them from now on; return what the API server has.

        Waits for as long as it takes. Raises AccessRefused as `node` does.
        """
        for resource in resources:  # one by one: threads that decode get into each other's way
            self._start([resource])
            self._wait(lambda: self._synced, resource.plural)
        with self._changed:
            updates = [each for each in self._early if isinstance(each, Update)]
            self._early = [each for each in self._early if isinstance(each, Rejected)]
        return updates

    def follow(
        self,
        name: str,
        resources: Sequence[Resource],
        send: Callable[[Event], None],
        stopped: Flag,
        *,
        wait: bool = True,
        on_node: Callable[[], None] = lambda: None,
    ) -> None:
        """Send all that there is as soon as it is known, `Complete`, and then as `watch` does.

        The Node of this name comes first, as of `node`; then `on_node` is called. After `stopped`
        is set, `wake` ends the wait for any of it. Raises as `node` and `read` do.
        """
        self._send_to(send)
        self._stopped = stopped
        try:
            self.node(name, wait=wait)
            on_node()
            self.read(resources)
            send(Complete())
            self.watch(send, stopped)
        except _Stopped:
            self.close()

    def watch(self, send: Callable[[Event], None], stopped: Flag) -> None:
        """Send every change as soon as it is known, until `stopped` is set."""
        self._send_to(send)
        while not stopped.wait(self._contact.remind()):
            pass
        self.close()

    def wake(self) -> None:
        """Have `follow` notice that it was stopped."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End all threads. Harmless when repeated.

        One that waits for the first word of an API server that hangs ends with the process.
        """
        for follower in self._followers:
            follower.stop()
        end = self._clock() + _END_S
        for follower in self._followers:
            follower.join(max(0.0, end - self._clock()))

    @property
    def _synced(self) -> bool:
        return all(each.reflector.synced for each in self._followers)

    def _start(self, resources: Sequence[Resource]) -> None:
        for resource in resources:
            follower = _Follower(resource, self._connection, self._contact, self, self._clock)
            self._followers.append(follower)
            follower.start()

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        say_at = self._clock() + _SAY_FIRST_S
        with self._changed:
            while not done():
                if self._lost:
                    raise self._lost
                if self._stopped.is_set():
                    raise _Stopped
                self._changed.wait(max(0.01, say_at - self._clock()))
                if self._clock() >= say_at:
                    say_at = self._clock() + _SAY_AGAIN_S
                    log.info("waiting for %s of %s", what, self._connection.url)

    def deliver(self, received: Received) -> None:
        """Pass on what a thread has received."""
        for rejection in received.rejected:
            self._on_rejected(rejection)
        problems = tuple(
            f"{each.name}: {problem}" for each in received.rejected for problem in each.problems
        )
        with self._changed:
            if received.update:
                self._pass_on(received.update)
                self._node = next(iter(_nodes(received.update)), self._node)
            if problems:
                self._pass_on(Rejected(problems))
            self._changed.notify_all()

    def _pass_on(self, early: Update | Rejected) -> None:
        if self._send is None:
            self._early.append(early)
        else:
            self._send(Changed(early) if isinstance(early, Update) else early)

    def _send_to(self, send: Callable[[Event], None]) -> None:
        with self._changed:
            self._send = send
            for early in self._early:
                self._pass_on(early)
            self._early.clear()

    def lost(self, error: BaseException) -> None:
        """Note that a thread has ended by an error, for the thread that waits."""
        with self._changed:
            self._lost = error
            self._changed.notify_all()
            if self._send:
                self._send(SourceLost(error))


class _Follower(threading.Thread):
    """Follows one collection."""

    def __init__(
        self,
        resource: Resource,
        connection: Connection,
        contact: Contact,
        source: ApiServer,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(name=f"kproxy-{resource.plural}", daemon=True)
        self.reflector = Reflector(resource)
        self._connection = connection
        self._contact = contact
        self._source = source
        self._clock = clock
        self._stopped = Flag()
        self._opened = False  # the present watch is answered
        self._synced = False  # as others were told
        self._missing = ""  # as was said
        self._lock = threading.Lock()  # protects the next one
        self._stream: Stream | None = None

    def stop(self) -> None:
        """End the thread soon, whatever it waits for."""
        self._stopped.set()
        with self._lock:
            if self._stream:
                self._stream.close()

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._ask(self.reflector.ask(self._clock()))
        except BaseException as error:  # no caller of this thread would see it
            self._source.lost(error)

    def _ask(self, ask: Ask) -> None:
        if ask.pause_s and self._stopped.wait(ask.pause_s):
            return
        known = self.reflector.synced
        self._opened = False
        try:
            if ask.watch:
                self._watch(ask)
            else:
                self._list(ask)
        except BadInput as error:  # among them AccessRefused
            if not known:
                raise  # a start ends
            self.reflector.failed(str(error))
        except KproxyError as error:  # Unreachable, or too little memory to renew credentials
            silent = isinstance(error, Silent) and self._opened
            self.reflector.failed(str(error), silent=silent)
        if not self._stopped.is_set():
            self._note()

    def _list(self, ask: Ask) -> None:
        answer = self._connection.get(ask.path, ask.query, timeout_s=LIST_TIMEOUT_S)
        if answer.status == 200:
            self._deliver(self.reflector.page(answer.body))
        else:
            self.reflector.refused(answer.status, answer.headers, answer.body)

    def _watch(self, ask: Ask) -> None:
        reflector = self.reflector
        with self._connection.stream(ask.path, ask.query, silence_s=ask.silence_s) as stream:
            with self._lock:
                self._stream = stream
            try:
                if self._stopped.is_set():
                    return
                if stream.status != 200:
                    reflector.refused(stream.status, stream.headers, stream.read())
                    return
                self._opened = True
                reflector.opened()
                self._note()
                for chunk in stream.chunks():
                    self._deliver(reflector.took(chunk))
                    if reflector.over:
                        return
                reflector.ended(self._clock())
            finally:
                with self._lock:
                    self._stream = None

    def _deliver(self, received: Received) -> None:
        if received or self._synced != self.reflector.synced:
            self._synced = self.reflector.synced
            self._source.deliver(received)

    def _note(self) -> None:
        plural, missing = self.reflector.resource.plural, self.reflector.missing
        if missing != self._missing:
            self._missing = missing
            told = f"cannot be read, and count as none: {missing}" if missing else "are there now"
            log.warning("%s %s", plural, told)
        self._contact.note(plural, self.reflector.problem)
        self._deliver(NOTHING)


def _nodes(update: Update) -> list[Node]:
    return [obj for obj in update.upserts if isinstance(obj, Node)]


class _Stopped(Exception):
    pass
