"""Clients and connections of a reactor under test, over Unix sockets."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import pytest

from kproxy.loop.reactor import Connection, Connections, Listener, Reactor

PATIENCE_S = 30.0


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets: one for the reactor, and one for the test, which may block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(PATIENCE_S)
    return ours, theirs


def echo(connection: Connection) -> None:
    """Send back everything received; fail on `fail`, and close at the end of input."""

    def answer() -> None:
        data = connection.receive(100)
        if data == b"fail":
            fail()
        if data:
            connection.send(data)
        if data == b"":
            connection.close()

    connection.when_readable(answer)


def fail(*_: object) -> None:
    """Raise what a callback with a bug raises."""
    raise ArithmeticError


def served(reactor: Reactor) -> socket.socket:
    """Return the other end of a connection that is answered by `echo`."""
    ours, theirs = pair()
    reactor.call(lambda: echo(Connection(reactor, ours)))
    return theirs


def asked(sock: socket.socket, data: bytes = b"hello") -> bytes:
    sock.sendall(data)
    return sock.recv(100)


class Place:
    """A listener that clients connect to. Its `accept` raises `refuses`, unless that is None."""

    def __init__(self, reactor: Reactor, path: Path, connections: Connections) -> None:
        place = self
        self.path = str(path)
        self.refuses: OSError | None = None
        self.refused: SimpleQueue[None] = SimpleQueue()

        class Sock(socket.socket):
            def accept(self) -> tuple[socket.socket, object]:
                if place.refuses:
                    place.refused.put(None)
                    raise place.refuses
                return super().accept()

        self.sock = Sock(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(self.path)
        self.sock.listen()
        self.sock.setblocking(False)
        self.listener: Listener = reactor.call(
            partial(reactor.listen, self.sock, connections, lambda connection, _: echo(connection))
        )

    def client(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(self.path)
        except OSError:
            sock.close()
            raise
        return sock


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, object]]:
    """Return the messages logged, each with the type of its exception."""
    return [
        (record.getMessage(), record.exc_info[0] if record.exc_info else None)
        for record in caplog.records
        if record.name == "kproxy"
    ]


FAILURE = ("test: a callback failed", ArithmeticError)
