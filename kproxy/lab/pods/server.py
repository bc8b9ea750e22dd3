"""The server of a lab's pods: a pod answers with its name and the client that it saw.

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
import socket
from collections.abc import Container, Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain

from kproxy.api.types import Protocol
from kproxy.errors import BadInput, Unsupported
from kproxy.lab.hosts import LabPod
from kproxy.lab.pods.http import answer_http, is_http
from kproxy.lab.pods.log import Listener as LogListener
from kproxy.lab.pods.log import LogLine, PodLog
from kproxy.lab.spec import PortSpec
from kproxy.loop.reactor import Connection, Connections, Listener, Reactor, Watched
from kproxy.probe.datagrams import reply_prefix

_BACKLOG = 1024
_LINE_MAX_BYTES = 65536


class PodServer:
    """The server of all pods. Its thread starts with the first pod and ends with `close`.

    Any thread may add and remove pods. Their names are those of hosts.
    """

    def __init__(self) -> None:
        self._served: dict[str, _Served] = {}
        self._reactor = Reactor("kproxy-pods")

    def listen(self, pod: LabPod) -> None:
        """Open the pod's ports on its addresses, in its namespace; none if it runs a program.

        Raises Unsupported for an SCTP port on a kernel without SCTP sockets, BadInput for a port
        that is taken, as on the host network; none is open then.
        """
        served = _Served(self._reactor, pod)
        with ExitStack() as undo:
            opened = {}
            for port in () if pod.spec.runs else _distinct(pod.spec.ports):
                opened[port] = _open_port(pod, port)
                for sock in opened[port]:
                    undo.enter_context(sock)
            self._reactor.post(partial(served.open, opened))
            undo.pop_all()
        self._served[pod.name] = served

    def set_ports(self, pod: LabPod) -> None:
        """Serve the ports that a served pod has now, and no others; connections stay.

        Nothing happens if the pod does not accept connections any more. Raises what `listen`
        raises; its ports are as before then.
        """
        self._reactor.call(partial(self._served[pod.name].set_ports, pod))

    def unlisten(self, name: str) -> None:
        """Close all sockets of a pod. Harmless if it is not served."""
        if served := self._served.pop(name, None):
            self._reactor.call(served.close)

    def stop_accepting(self, name: str) -> None:
        """Close a pod's ports, as a server does at SIGTERM; open connections continue."""
        self._reactor.call(self._served[name].stop_accepting)

    def open_connections(self, name: str) -> int:
        """Return how many clients have no answer yet, whether they have asked or not."""
        return len(self._served[name].connections)

    def log(self, name: str) -> list[LogLine]:
        """Return the last lines of a pod's log; none if it is not served."""
        served = self._served.get(name)
        return self._reactor.call(served.log.lines) if served else []

    def follow_log(self, name: str, listener: LogListener) -> list[LogLine]:
        """Return the last lines, and call `listener` with each later one, in the server's thread,
        until `leave_log`; with None when the pod ends, at once if it is not served. It must not
        wait.
        """
        served = self._served.get(name)
        if served is None:
            listener(None)
            return []
        return self._reactor.call(partial(served.log.follow, listener))

    def leave_log(self, name: str, listener: LogListener) -> None:
        """Undo `follow_log`. Harmless if the pod is not served any more."""
        if served := self._served.get(name):
            self._reactor.call(partial(served.log.leave, listener))

    def set_path(self, name: str, port: int, path: str, *, fails: bool) -> None:
        """Answer HTTP requests for `path` (with its query) with 503 from now on, or as usual."""
        failing = self._served[name].failing
        (failing.add if fails else failing.discard)((port, path))

    def set_port(self, name: str, number: int, *, closed: bool) -> None:
        """Refuse new connections to a TCP port from now on, or accept them again.

        Nothing happens if the pod does not serve the port, or does not accept connections any more.
        """
        self._reactor.call(partial(self._served[name].set_port, number, closed=closed))

    def close(self) -> None:
        """Stop the thread and close all sockets. Harmless when repeated."""
        self._reactor.close()
        self._served.clear()


class _Served:
    """A pod that is served. `failing` has the ports and paths where it answers 503.

    Its methods are for the reactor's thread.
    """

    def __init__(self, reactor: Reactor, pod: LabPod) -> None:
        self.failing: set[tuple[int, str]] = set()
        self.log = PodLog()
        self.connections = Connections()
        self._reactor = reactor
        self._pod = pod
        self._ports: dict[PortSpec, list[Watched]] = {}
        self._accepting = True

    def open(self, opened: Mapping[PortSpec, Iterable[socket.socket]]) -> None:
        """Serve these sockets from now on."""
        for port, sockets in opened.items():
            self._ports[port] = [self._serve(port, sock) for sock in sockets]

    def stop_accepting(self) -> None:
        """Close all ports, and keep the connections."""
        self._accepting = False
        for port in self._ports:
            self._close_port(port)

    def set_ports(self, pod: LabPod) -> None:
        """Serve the ports that the pod has now. A port that `set_port` has closed stays closed."""
        if not self._accepting:
            return
        wanted = _distinct(pod.spec.ports)
        with ExitStack() as undo:
            opened = {}
            for port in wanted:
                if port not in self._ports:
                    opened[port] = _open_port(pod, port)
                    for sock in opened[port]:
                        undo.enter_context(sock)
            undo.pop_all()
        self._pod = pod
        for port in [each for each in self._ports if each not in wanted]:
            self._close_port(port)
            del self._ports[port]
        self.open(opened)

    def set_port(self, number: int, *, closed: bool) -> None:
        """Close a TCP port, or open it again."""
        port = next((p for p in self._ports if (p.port, p.protocol) == (number, "TCP")), None)
        if port is None:
            return
        if closed:
            self._close_port(port)
        elif self._accepting and not self._ports[port]:
            self.open({port: _open_port(self._pod, port)})

    def close(self) -> None:
        """Close all ports and connections."""
        self._accepting = False
        for watched in chain.from_iterable(self._ports.values()):
            watched.close()
        self.connections.close()
        self.log.close()

    def _serve(self, port: PortSpec, sock: socket.socket) -> Watched:
        if port.protocol == "UDP":
            return self._reactor.watch(sock, partial(self._answer_datagrams, sock))
        return self._reactor.listen(sock, self.connections, partial(self._start, port))

    def _close_port(self, port: PortSpec) -> None:
        """Close a port, after accepting the connections that the kernel has already established."""
        for watched in self._ports[port]:
            if isinstance(watched, Listener):
                while watched.accept():
                    pass
            watched.close()
        self._ports[port] = []

    def _start(self, port: PortSpec, connection: Connection, client: tuple[str, int]) -> None:
        answer = _answer(self._pod.name, client, port.port)
        asked = partial(self._answer_line, port, client, connection, bytearray(), answer)
        connection.when_readable(asked)

    def _answer_line(
        self,
        port: PortSpec,
        client: tuple[str, int],
        connection: Connection,
        received: bytearray,
        answer: dict[str, object],
    ) -> None:
        data = connection.receive(_LINE_MAX_BYTES)
        if data is None:
            return
        received += data
        reply = _reply_to(received, answer, self.failing)
        if data and reply is None and len(received) < _LINE_MAX_BYTES:
            return
        # It is far smaller than an empty send buffer.
        connection.send(_line(answer) if reply is None else reply)
        connection.close()
        asked = (bytes(received), reply[9:12]) if reply and reply.startswith(b"HTTP/") else ()
        self.log.answered(client, port.protocol, port.port, *asked)

    def _answer_datagrams(self, sock: socket.socket) -> None:
        while True:
            try:
                data, client = sock.recvfrom(_LINE_MAX_BYTES)
            except BlockingIOError:
                return
            port = sock.getsockname()[1]
            answer = _answer(self._pod.name, client, port)
            with suppress(OSError):  # the client cannot be reached, or a probe forged its address
                sock.sendto(reply_prefix(data) + _line(answer), client)
            self.log.answered(client, "UDP", port)


def _answer(pod: str, client: tuple[str, int], port: int) -> dict[str, object]:
    return {"pod": pod, "source": client[0], "source_port": client[1], "port": port}


def _line(answer: dict[str, object]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _reply_to(
    received: bytearray, answer: dict[str, object], failing: Container[tuple[int, str]]
) -> bytes | None:
    """Return the reply to what was received; None if it is incomplete."""
    if b"\n" not in received:
        return None
    if is_http(bytes(received)):
        from email.utils import formatdate  # takes longer than all else here

        return answer_http(bytes(received), answer, formatdate(usegmt=True), failing)
    return _line(answer)


def _distinct(ports: Iterable[PortSpec]) -> list[PortSpec]:
    """Return one of each number and protocol: a number may have several names."""
    return list({(each.port, each.protocol): each for each in ports}.values())


def _open_port(pod: LabPod, port: PortSpec) -> list[socket.socket]:
    """Return an open socket of each family. Raises BadInput if the port is taken, Unsupported."""
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
