"""What the pods of a lab do: say who they are and whom they saw.

One thread serves the sockets of all pods; each was made in its pod's namespace and stays there.
An answer is one line of JSON, `{"pod": ..., "source": ..., "source_port": ..., "port": ...}`: over
TCP and SCTP after a line or the end of input, and then the connection is closed; over UDP for
each datagram. If that is a probe, a mark with its tag precedes the line (`kproxy.datagrams`). A
line that begins an HTTP request is answered in HTTP (`kproxy.lab.pod_http`).
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import threading
from collections.abc import Callable
from email.utils import formatdate
from functools import partial

from kproxy.api.types import Protocol
from kproxy.datagrams import reply_prefix
from kproxy.errors import Unsupported
from kproxy.forwarding.plan import Family
from kproxy.lab.hosts import LabPod
from kproxy.lab.pod_http import answer_http, is_http

_BACKLOG = 1024
_LINE_MAX_BYTES = 65536
_FAMILY = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}


class PodServer:
    """First `listen` for each pod, then `start`, at the end `close`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: set[socket.socket] = set()
        self._stop_reader, self._stop_writer = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, name="kproxy-pods", daemon=True)
        self._failure: BaseException | None = None

    def listen(self, pod: LabPod) -> None:
        """Open the pod's ports on its addresses, in its namespace.

        Raises Unsupported for an SCTP port on a kernel without SCTP sockets.
        """
        with pod.namespace.entered():
            for port in pod.spec.ports:
                for family, address in pod.addresses.items():
                    sock = _open(_FAMILY[family], port.protocol, pod.name)
                    self._sockets.add(sock)
                    sock.setblocking(False)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind((address, port.port))
                    if port.protocol == "UDP":
                        ready = partial(self._answer_datagrams, sock, pod.name)
                    else:
                        sock.listen(_BACKLOG)
                        ready = partial(self._accept, sock, pod.name)
                    self._watch(sock, ready)

    def start(self) -> None:
        self._selector.register(self._stop_reader, selectors.EVENT_READ, None)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close all sockets. Raises what the thread died of, if it did."""
        os.close(self._stop_writer)
        if self._thread.ident is not None:
            self._thread.join()
        self._selector.close()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        os.close(self._stop_reader)
        if self._failure:
            raise self._failure

    def _serve(self) -> None:
        try:
            while True:
                for key, _ in self._selector.select():
                    ready: Callable[[], None] | None = key.data
                    if ready is None:
                        return
                    ready()
        except BaseException as error:
            self._failure = error  # raised again by close()

    def _watch(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, ready)

    def _accept(self, listener: socket.socket, pod: str) -> None:
        try:
            connection, source = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # given up before we came
            return
        self._sockets.add(connection)
        connection.setblocking(False)
        answer = _answer(pod, source, listener)
        self._watch(connection, partial(self._answer_line, connection, bytearray(), answer))

    def _answer_line(
        self, connection: socket.socket, received: bytearray, answer: dict[str, object]
    ) -> None:
        try:
            data = connection.recv(_LINE_MAX_BYTES)
            received += data
            reply = _reply_to(received, answer)
            if data and reply is None and len(received) < _LINE_MAX_BYTES:
                return
            # Far smaller than an empty send buffer.
            connection.send(_line(answer) if reply is None else reply)
        except BlockingIOError:
            return
        except OSError as error:
            if not _is_peers_doing(error):
                raise
        self._selector.unregister(connection)
        self._sockets.discard(connection)
        connection.close()

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


def _reply_to(received: bytearray, answer: dict[str, object]) -> bytes | None:
    """None if more must come."""
    if b"\n" not in received:
        return None
    if is_http(bytes(received)):
        return answer_http(bytes(received), answer, formatdate(usegmt=True))
    return _line(answer)


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
