"""What the pods of a lab do: say who they are and whom they saw.

One thread serves the sockets of all pods; each was made in its pod's namespace and stays there.
An answer is one line of JSON, `{"pod": ..., "source": ..., "source_port": ..., "port": ...}`: over
TCP and SCTP after a line or the end of input, and then the connection is closed; over UDP for
each datagram. If that is a probe, a mark with its tag precedes the line
(`kproxy.probe.datagrams`). A line that begins an HTTP request is answered in HTTP
(`kproxy.lab.pods.http`).
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Container
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from itertools import chain

from kproxy.api.types import Protocol
from kproxy.errors import BadInput, Unsupported
from kproxy.lab.hosts import LabPod
from kproxy.lab.pods.http import answer_http, is_http
from kproxy.lab.spec import PortSpec
from kproxy.probe.datagrams import reply_prefix

_BACKLOG = 1024
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_S = 0.02  # where the machine has no descriptor or memory left
_LINE_MAX_BYTES = 65536


@dataclass(slots=True, kw_only=True)
class _Served:
    """A pod that is served. `failing`: where it answers 503, as port and path."""

    pod: LabPod
    listeners: dict[PortSpec, list[socket.socket]] = field(default_factory=dict)
    connections: set[socket.socket] = field(default_factory=set)
    failing: set[tuple[int, str]] = field(default_factory=set)
    accepting: bool = True

    def sockets(self) -> list[socket.socket]:
        return [*chain.from_iterable(self.listeners.values()), *self.connections]


class PodServer:
    """`start`, and at the end `close`; pods come and go before and in between, by any thread.

    Their names are those of hosts.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._served: dict[str, _Served] = {}
        # Of whoever watches or closes sockets. The serving thread has it but while it waits.
        self._lock = threading.Lock()
        self._stop_reader, self._stop_writer = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, name="kproxy-pods", daemon=True)
        self._failure: BaseException | None = None

    def listen(self, pod: LabPod) -> None:
        """Open the pod's ports on its addresses, in its namespace; none if it runs a program.

        Raises Unsupported for an SCTP port on a kernel without SCTP sockets, BadInput for a port
        that is taken, as on the host network; none is open then.
        """
        served = _Served(pod=pod)
        with ExitStack() as undo:
            # A number may have several names.
            ports = {(each.port, each.protocol): each for each in pod.spec.ports}
            for port in () if pod.spec.runs else ports.values():
                served.listeners[port] = _open_port(pod, port)
                for sock in served.listeners[port]:
                    undo.enter_context(sock)
            with self._lock:
                self._served[pod.name] = served
                for port in served.listeners:
                    self._watch_port(served, port)
            undo.pop_all()

    def unlisten(self, name: str) -> None:
        """Close all sockets of a pod. Harmless if it is not served."""
        with self._lock:
            served = self._served.pop(name, None)
            for sock in served.sockets() if served else ():
                self._close(sock)

    def stop_accepting(self, name: str) -> None:
        """As a server does at SIGTERM: its ports are closed, open connections go on."""
        with self._lock:
            served = self._served[name]
            served.accepting = False
            for port in served.listeners:
                self._close_port(served, port)

    def open_connections(self, name: str) -> int:
        """How many clients have no answer yet, whether they have asked or not."""
        with self._lock:
            return len(self._served[name].connections)

    def set_path(self, name: str, port: int, path: str, *, fails: bool) -> None:
        """Answer HTTP requests for `path` (with its query) with 503 from now on, or as usual."""
        with self._lock:
            failing = self._served[name].failing
            (failing.add if fails else failing.discard)((port, path))

    def set_port(self, name: str, number: int, *, closed: bool) -> None:
        """Refuse new connections to a TCP port from now on, or take them again.

        Nothing happens where the pod does not serve the port, or accepts no more.
        """
        with self._lock:
            served = self._served[name]
            port = next(
                (p for p in served.listeners if (p.port, p.protocol) == (number, "TCP")), None
            )
            if port is None:
                return
            if closed:
                self._close_port(served, port)
            elif served.accepting and not served.listeners[port]:
                served.listeners[port] = _open_port(served.pod, port)
                self._watch_port(served, port)

    def start(self) -> None:
        self._selector.register(self._stop_reader, selectors.EVENT_READ, None)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close all sockets. Raises what the thread died of, if it did."""
        os.close(self._stop_writer)
        if self._thread.ident is not None:
            self._thread.join()
        self._selector.close()
        for served in self._served.values():
            for sock in served.sockets():
                sock.close()
        self._served.clear()
        os.close(self._stop_reader)
        if self._failure:
            raise self._failure

    def _serve(self) -> None:
        try:
            while True:
                events = self._selector.select()
                with self._lock:
                    for key, _ in events:
                        ready: Callable[[], object] | None = key.data
                        if ready is None:
                            return
                        # Its pod may have gone meanwhile.
                        if self._selector.get_map().get(key.fd) is key:
                            ready()
        except BaseException as error:
            self._failure = error  # raised again by close()

    def _watch_port(self, served: _Served, port: PortSpec) -> None:
        for sock in served.listeners[port]:
            if port.protocol == "UDP":
                self._watch(sock, partial(self._answer_datagrams, sock, served.pod.name))
            else:
                self._watch(sock, partial(self._accept, sock, served))

    def _close_port(self, served: _Served, port: PortSpec) -> None:
        """Whose connection the kernel has accepted already is not turned away."""
        for sock in served.listeners[port]:
            if port.protocol != "UDP":
                while self._accept(sock, served):
                    pass
            self._close(sock)
        served.listeners[port] = []

    def _watch(self, sock: socket.socket, ready: Callable[[], object]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, ready)

    def _close(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        sock.close()

    def _accept(self, listener: socket.socket, served: _Served) -> bool:
        """Whether there was one that could be taken."""
        try:
            connection, source = listener.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:  # given up before we came
            return True
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            time.sleep(_PAUSE_S)  # it waits until somebody gives some back
            return False
        served.connections.add(connection)
        connection.setblocking(False)
        answer = _answer(served.pod.name, source, listener)
        ready = partial(self._answer_line, connection, served, bytearray(), answer)
        self._watch(connection, ready)
        return True

    def _answer_line(
        self,
        connection: socket.socket,
        served: _Served,
        received: bytearray,
        answer: dict[str, object],
    ) -> None:
        try:
            data = connection.recv(_LINE_MAX_BYTES)
            received += data
            reply = _reply_to(received, answer, served.failing)
            if data and reply is None and len(received) < _LINE_MAX_BYTES:
                return
            # Far smaller than an empty send buffer.
            connection.send(_line(answer) if reply is None else reply)
        except BlockingIOError:
            return
        except OSError as error:
            if not _is_peers_doing(error):
                raise
        served.connections.discard(connection)
        self._close(connection)

    def _answer_datagrams(self, sock: socket.socket, pod: str) -> None:
        while True:
            try:
                data, source = sock.recvfrom(_LINE_MAX_BYTES)
            except BlockingIOError:
                return
            try:
                sock.sendto(reply_prefix(data) + _line(_answer(pod, source, sock)), source)
            except OSError as error:
                if not _is_peers_doing(error):
                    raise


def _answer(pod: str, source: tuple[str, int], sock: socket.socket) -> dict[str, object]:
    return {
        "pod": pod,
        "source": source[0],
        "source_port": source[1],
        "port": sock.getsockname()[1],
    }


def _line(answer: dict[str, object]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _reply_to(
    received: bytearray, answer: dict[str, object], failing: Container[tuple[int, str]]
) -> bytes | None:
    """None if more must come."""
    if b"\n" not in received:
        return None
    if is_http(bytes(received)):
        return answer_http(bytes(received), answer, formatdate(usegmt=True), failing)
    return _line(answer)


def _open_port(pod: LabPod, port: PortSpec) -> list[socket.socket]:
    """One socket for each family."""
    with pod.namespace.entered(), ExitStack() as undo:
        opened = []
        for family, address in pod.addresses.items():
            sock = undo.enter_context(_open(family.socket_family, port.protocol, pod.name))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((address, port.port))
                if port.protocol != "UDP":
                    sock.listen(_BACKLOG)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                where = f"{port.port}/{port.protocol} of {pod.namespace.label}"
                raise BadInput([f"pod {pod.name}: {where} is taken"]) from None
            opened.append(sock)
        undo.pop_all()
    return opened


def _open(family: socket.AddressFamily, protocol: Protocol, pod: str) -> socket.socket:
    match protocol:
        case "TCP":
            return socket.socket(family, socket.SOCK_STREAM)
        case "UDP":
            return socket.socket(family, socket.SOCK_DGRAM)
        case "SCTP":
            try:
                return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
            except OSError as error:
                if error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
                    raise
                raise Unsupported(
                    f"pod {pod} cannot serve SCTP: this kernel has no SCTP sockets",
                    remedy="modprobe sctp, or a kernel built with CONFIG_IP_SCTP",
                ) from None


def _is_peers_doing(error: OSError) -> bool:
    """It went away, cannot be reached, or its source address was a forgery of a probe."""
    return error.errno in (
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EACCES,
        errno.EPERM,
        errno.EINVAL,
        errno.EAGAIN,
    )
