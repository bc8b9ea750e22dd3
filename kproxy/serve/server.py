"""An HTTP server of one thread for listeners in any number of namespaces.

A socket stays in the namespace it was made in, so `listen` decides where, and the thread can be
anywhere. Clients may be slow, silent or hostile: each connection has a fixed time and a fixed
number of bytes, and there are only so many, of which the oldest gives way.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from email.utils import formatdate
from functools import partial
from queue import SimpleQueue

from kproxy.address import Family
from kproxy.serve import http

TIMEOUT_S = 5.0  # from accepting a connection to its end, whatever happens
CONNECTIONS_MAX = 256
_BACKLOG = 128
_CHUNK_BYTES = 4096
_SURPLUS_MAX_BYTES = 65536  # read and thrown away after the answer
_PAUSE_S = 0.05  # where the machine has no descriptor or memory left
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Respond = Callable[[http.Request], http.Response]

log = logging.getLogger("kproxy")


class HttpServer:
    """First `listen`, as often as you like, at the end `close`. Its thread starts when needed.

    Any thread may call `listen` and `Listener.close`.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._listeners: dict[Listener, None] = {}
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._do_tasks)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def listen(self, family: Family, address: str, port: int, respond: Respond) -> Listener:
        """Answer requests there from now on, in the namespace of the calling thread.

        `address`: "" for all of the family. `respond` is called in the server's thread and must
        neither wait nor raise. Raises OSError if the place cannot be listened on.
        """
        sock = socket.socket(family.socket_family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is Family.IPV6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setblocking(False)
            sock.bind((address, port))
            sock.listen(_BACKLOG)
            listener = Listener(self, sock, respond)
            self._in_thread(partial(self._add, listener))
        except BaseException:
            sock.close()
            raise
        return listener

    def close(self) -> None:
        """Close everything and end the thread. Harmless when repeated."""
        if self._thread:
            self._in_thread(self._stop)
            self._thread.join()
            self._thread = None
        if self._wake_writer >= 0:
            self._selector.close()
            os.close(self._wake_writer)
            os.close(self._wake_reader)
            self._wake_writer = -1

    def _in_thread(self, task: Callable[[], None]) -> None:
        """Have the server's thread do it, between two requests, and wait for that."""
        with self._starting:  # nodes are synced in parallel
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="kproxy-http", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    raise OSError(errno.EAGAIN, str(error)) from None
                self._thread = thread
        done: Future[None] = Future()

        def do() -> None:
            try:
                task()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._tasks.put(do)
        os.write(self._wake_writer, b"\0")
        done.result()

    def _serve(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(self._wait_s()):
                ready: Callable[[], None] = key.data
                ready()
            now = time.monotonic()
            while self._connections and (oldest := next(iter(self._connections))).ends_at <= now:
                self._drop(oldest)

    def _wait_s(self) -> float | None:
        if not self._connections:
            return None
        return max(0.0, next(iter(self._connections)).ends_at - time.monotonic())

    def _do_tasks(self) -> None:
        os.read(self._wake_reader, _CHUNK_BYTES)
        while not self._tasks.empty():
            self._tasks.get()()

    def _stop(self) -> None:
        for listener in [*self._listeners]:
            self._remove(listener)
        self._stopping = True

    def _add(self, listener: Listener) -> None:
        accept = partial(self._accept, listener)
        self._selector.register(listener.sock, selectors.EVENT_READ, accept)
        self._listeners[listener] = None

    def _remove(self, listener: Listener) -> None:
        if listener not in self._listeners:
            return
        del self._listeners[listener]
        self._selector.unregister(listener.sock)
        listener.sock.close()
        for connection in [each for each in self._connections if each.listener is listener]:
            self._drop(connection)

    def _accept(self, listener: Listener) -> None:
        if listener not in self._listeners:  # removed a moment ago, in the same round
            return
        try:
            sock, _ = listener.sock.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._make_room()
                time.sleep(_PAUSE_S)
            return  # given up before we came
        sock.setblocking(False)
        if len(self._connections) >= CONNECTIONS_MAX:
            self._make_room()
        connection = _Connection(listener, sock, time.monotonic() + TIMEOUT_S)
        self._selector.register(sock, selectors.EVENT_READ, partial(self._go_on, connection))
        self._connections[connection] = None

    def _make_room(self) -> None:
        if self._connections:
            self._drop(next(iter(self._connections)))

    def _go_on(self, connection: _Connection) -> None:
        if connection not in self._connections:
            return
        try:
            over = connection.read()
        except OSError:  # it went away
            over = True
        except Exception:  # ours; the others are served all the same
            log.exception("a request was not answered")
            over = True
        if over:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        del self._connections[connection]
        self._selector.unregister(connection.sock)
        connection.sock.close()


class Listener:
    """A place that is listened on. Made by `HttpServer.listen`."""

    def __init__(self, server: HttpServer, sock: socket.socket, respond: Respond) -> None:
        self.sock = sock
        self.respond = respond
        self._server = server

    def close(self) -> None:
        """From now on clients are refused, and those that wait for an answer are cut off.

        May be called in any namespace. Harmless when repeated, until the server is closed.
        """
        self._server._in_thread(partial(self._server._remove, self))


class _Connection:
    """One request and its answer, which is far smaller than an empty send buffer."""

    def __init__(self, listener: Listener, sock: socket.socket, ends_at: float) -> None:
        self.listener = listener
        self.sock = sock
        self.ends_at = ends_at
        self._received = bytearray()
        self._answered = False
        self._surplus_bytes = 0

    def read(self) -> bool:
        """Take what has come, and answer if that is enough. Returns whether it is over.

        Raises OSError if the client is gone.
        """
        try:
            data = self.sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return True
        if self._answered:
            self._surplus_bytes += len(data)
            return self._surplus_bytes > _SURPLUS_MAX_BYTES
        self._received += data
        found = http.read_request(bytes(self._received))
        if found is None:
            return False
        request = found if isinstance(found, http.Request) else None
        response = self.listener.respond(found) if isinstance(found, http.Request) else found
        self.sock.send(http.encode(response, request, formatdate(usegmt=True)))
        # Closed at once, what the client is still sending would come back as a reset, and that
        # could overtake the answer.
        self.sock.shutdown(socket.SHUT_WR)
        self._answered = True
        return False
