"""One thread that waits for many sockets and timers: every server of kproxy runs on one.

    a server's thread-safe methods -> Reactor.call -> the reactor's thread <- sockets, timers

A socket stays in the namespace it was made in, so one thread serves sockets of any number of
namespaces. Callbacks are plain functions and run one after the other: none may wait.

A callback that fails is logged with its traceback and does not affect others. If it served a
connection, that connection is closed. If it served a socket that stays open, such as a listener or
a socket for datagrams, that socket is not read for `REST_S`. A client that breaks off is not a
failure: its connection is closed and nothing is logged. Failures of the tasks of `call` and `wait`
are not logged either: they raise in the thread that waits.

When the machine has no descriptor or memory left for a connection (EMFILE, ENFILE, ENOBUFS,
ENOMEM), the listener does not accept for `REST_S` while everything else is served; its clients wait
in the kernel's queue. If the server limits its connections, the oldest is closed, as it is when the
limit is reached.

Each server makes a reactor of its own: the callbacks of load balancers and of readiness probes take
long (iptables, the control plane), and no pod's answer should wait for them.

The thread is an asyncio event loop with readers (`add_reader`). With it, a pod's server takes 46 us
of CPU per connection (accept, read a line, answer, close), and its client waits 77 us; with a
`selectors` loop of our own it was 33 us and 60 us. asyncio's protocols took 69 us of CPU where
readers took 40 us, its streams 79 us. asyncio takes 3 MiB of memory and is imported when the thread
starts. Measured with Python 3.11 on two CPUs.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

REST_S = 0.05
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_T = TypeVar("_T")

Start = Callable[["Connection", Any], object]

log = logging.getLogger("kproxy")


class Reactor:
    """A thread that runs callbacks.

    It starts at the first `call`, `wait` or `post`; `close` ends it.

    Other threads may use these four. Everything else, here and in the classes below, is for
    callbacks, which run in the reactor's thread.
    """

    _loop: asyncio.AbstractEventLoop  # exists once there is a thread

    def __init__(self, name: str) -> None:
        """Start nothing yet. `name`: of the thread, in the log and in errors."""
        self.name = name
        self._mutex = threading.Lock()  # protects the next three
        self._thread: threading.Thread | None = None
        self._closed = False
        self._awaited: set[Future[Any]] = set()
        self._watched: set[Watched] = set()

    def call(self, task: Callable[[], _T]) -> _T:
        """Run `task` in the thread and return its result. Raises what it raises, and as `wait`."""

        def begin(done: Future[_T]) -> None:
            done.set_result(task())

        return self.wait(begin)

    def wait(self, begin: Callable[[Future[_T]], None]) -> _T:
        """Run `begin` in the thread with a future, and return the result set there, now or later.

        Raises what `begin` raises, the exception set there, OSError if no thread can be started,
        and RuntimeError if the reactor is closed or is being closed.
        """
        done: Future[_T] = Future()

        def run() -> None:
            try:
                begin(done)
            except BaseException as error:
                done.set_exception(error)

        with self._mutex:
            self._post(run)
            self._awaited.add(done)
        try:
            return done.result()
        finally:
            with self._mutex:
                self._awaited.discard(done)

    def post(self, task: Callable[[], object]) -> None:
        """Run `task` in the thread, without waiting for it. Raises OSError, RuntimeError."""
        with self._mutex:
            self._post(task)

    def close(self) -> None:
        """End the thread and close all sockets. Harmless when repeated."""
        with self._mutex:
            if self._thread and not self._closed:
                self._loop.call_soon_threadsafe(self._loop.stop)  # after all that was posted
            self._closed = True
        if self._thread:
            self._thread.join()

    def at(self, when_s: float, task: Callable[[], object]) -> asyncio.TimerHandle:
        """Run `task` at a time of the monotonic clock, unless the returned handle is cancelled.

        Callbacks of sockets that are ready by then run before it.
        """
        return self._loop.call_at(when_s, task)

    def soon(self, task: Callable[[], object]) -> None:
        """Run `task` after everything that is ready now."""
        self._loop.call_soon(task)

    def watch(self, sock: socket.socket, ready: Callable[[], object]) -> Watched:
        """Call `ready` whenever `sock`, which must not block, can be read."""
        watched = Watched(self, sock)
        watched.when_readable(ready)
        return watched

    def listen(self, sock: socket.socket, connections: Connections, start: Start) -> Listener:
        """Accept connections, and call `start` with each and the address of its client."""
        listener = Listener(self, sock, connections, start)
        listener.when_readable(listener.accept)
        return listener

    def _post(self, task: Callable[[], object]) -> None:
        if self._closed:
            raise RuntimeError(f"{self.name} is closed")
        if self._thread is None:
            self._start()
        self._loop.call_soon_threadsafe(task)

    def _start(self) -> None:
        import asyncio

        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_exception_handler(lambda _, context: self._log(context.get("exception")))
        thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._loop.close()
            raise OSError(errno.EAGAIN, str(error)) from None
        self._thread = thread

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            for watched in [*self._watched]:
                watched.close()
            self._loop.close()
            with self._mutex:
                self._closed = True
                for done in self._awaited:
                    if not done.done():
                        done.set_exception(RuntimeError(f"{self.name} is closed"))

    def _log(self, error: BaseException | None) -> None:
        log.error("%s: a callback failed", self.name, exc_info=error)


class Watched:
    """A socket that a reactor watches, and closes at its end."""

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self._reactor = reactor
        self._loop = reactor._loop
        self._ready: Callable[[], object] | None = None
        self._writes = False
        reactor._watched.add(self)

    def when_readable(self, ready: Callable[[], object]) -> None:
        """Call `ready` whenever the socket can be read; replaces any former callback."""
        if self._writes:
            self._loop.remove_writer(self.sock)
            self._writes = False
        self._ready = ready
        self._loop.add_reader(self.sock, self._run, ready)

    def rest(self) -> None:
        """Do not read the socket for `REST_S` seconds."""
        self._loop.remove_reader(self.sock)
        self._loop.call_later(REST_S, self._resume)

    def close(self) -> None:
        """Close the socket. Harmless when repeated."""
        if self.closed:
            return
        self.closed = True
        self._reactor._watched.discard(self)
        if self._ready:
            self._loop.remove_reader(self.sock)
        if self._writes:
            self._loop.remove_writer(self.sock)
        self.sock.close()
        # It may belong to an object that refers to this one: such a cycle would keep all that was
        # received and sent until Python looks for cycles, which is rare (`kproxy.garbage`).
        self._ready = None

    def _resume(self) -> None:
        if self._ready and not self.closed:
            self.when_readable(self._ready)

    def _run(self, ready: Callable[[], object]) -> None:
        try:
            ready()
        except Exception as error:
            self._reactor._log(error)
            if not self.closed:
                self.rest()


class Connection(Watched):
    """A connection: of a client that a listener has accepted, or to a server."""

    def __init__(
        self, reactor: Reactor, sock: socket.socket, listener: Listener | None = None
    ) -> None:
        super().__init__(reactor, sock)
        self.listener = listener
        self._end: asyncio.TimerHandle | None = None
        if listener:
            listener.connections.add(self)

    def when_writable(self, ready: Callable[[], object]) -> None:
        """Call `ready` whenever the socket can be written; replaces any former callback."""
        self._loop.remove_reader(self.sock)
        self._writes = True
        self._loop.add_writer(self.sock, self._run, ready)

    def end_in(self, seconds: float) -> None:
        """Close the connection after `seconds`, and make it the youngest, which is closed last."""
        if self._end:
            self._end.cancel()
        self._end = self._loop.call_later(seconds, self.close)
        if self.listener:
            self.listener.connections.add(self)

    def receive(self, most_bytes: int) -> bytes | None:
        """Return the bytes received: b"" at the end of input, None if there are none yet.

        If the other side has broken off, this ends the callback and closes the connection.
        """
        try:
            return self.sock.recv(most_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise _BrokenOffError from error

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send as much of `data` as is possible now, and return how many bytes that is.

        If the other side has broken off, this ends the callback and closes the connection.
        """
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _BrokenOffError from error

    def finish(self) -> None:
        """Tell the other side that nothing more will be sent. The caller reads on until it closes.

        If the connection were closed at once, the kernel would answer data that still arrives with
        a reset, which could overtake what was sent. If the other side has broken off: as `send`.
        """
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise _BrokenOffError from error

    def close(self) -> None:
        """Close the socket. Harmless when repeated."""
        if self.closed:
            return
        super().close()
        if self._end:
            self._end.cancel()
        if self.listener:
            self.listener.connections.discard(self)

    def _run(self, ready: Callable[[], object]) -> None:
        try:
            ready()
        except _BrokenOffError:
            self.close()
        except Exception as error:
            self._reactor._log(error)
            self.close()


class Connections:
    """The open connections of one server, the oldest first."""

    def __init__(self, most: int | None = None) -> None:
        """Start with none. `most`: the limit, at which the oldest is closed for the next one."""
        self._most = most
        self._open: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter([*self._open])

    def add(self, connection: Connection) -> None:
        """Make a connection the youngest, whether it is new or not."""
        self._open.pop(connection, None)
        while self._most is not None and len(self._open) >= self._most:
            self.close_oldest()
        self._open[connection] = None

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open.pop(connection, None)

    def close_oldest(self) -> None:
        """Close the oldest connection if their number is limited."""
        if self._open and self._most is not None:
            next(iter(self._open)).close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self:
            connection.close()


class Listener(Watched):
    """A socket that accepts connections. Made by `Reactor.listen`.

    Closing it leaves the connections that it has accepted open.
    """

    def __init__(
        self, reactor: Reactor, sock: socket.socket, connections: Connections, start: Start
    ) -> None:
        super().__init__(reactor, sock)
        self.connections = connections
        self._start = start

    def cut_off(self) -> None:
        """Close the listener and the connections that it has accepted."""
        self.close()
        for connection in self.connections:
            if connection.listener is self:
                connection.close()

    def accept(self) -> bool:
        """Accept a waiting connection. Returns whether another one may be waiting."""
        try:
            sock, client = self.sock.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:  # the client gave up while it waited
            return True
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self.connections.close_oldest()
            self.rest()
            return False
        sock.setblocking(False)
        connection = Connection(self._reactor, sock, self)
        connection._run(partial(self._start, connection, client))
        return True


class _BrokenOffError(Exception):
    """The other side has broken off a connection. Ends the callback that was using it."""
