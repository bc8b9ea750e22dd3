"""Connections that a failure closes, and those that are closed at a limit."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from kproxy.loop.reactor import EXHAUSTED, Connection, Connections, Reactor
from tests.loop.sockets import FAILURE, PATIENCE_S, Place, asked, echo, fail, logged, pair, served


def test_a_connection_that_fails_ends_and_no_other(
    reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    with served(reactor) as bad, served(reactor) as good:
        assert asked(bad) == asked(good) == b"hello"
        assert asked(bad, b"fail") == b""
        assert asked(good) == b"hello"
    assert logged(caplog) == [FAILURE]


def test_a_timer_or_post_that_fails_ends_no_other(
    reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    def begin(done: Future[None]) -> None:
        reactor.at(0, fail)
        reactor.soon(fail)
        reactor.at(time.monotonic() + 0.01, lambda: done.set_result(None))

    reactor.post(fail)
    reactor.wait(begin)
    assert logged(caplog) == [FAILURE] * 3


def test_a_socket_that_goes_on_fails_and_goes_on(
    reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    ours.setblocking(False)
    theirs.settimeout(PATIENCE_S)

    def answer() -> None:
        data = ours.recv(100)
        if data == b"fail":
            fail()
        ours.send(data)

    with theirs:
        reactor.call(lambda: reactor.watch(ours, answer))
        theirs.send(b"fail")
        assert asked(theirs) == b"hello"
    assert logged(caplog) == [FAILURE]


def test_a_connection_that_fails_at_its_start(
    reactor: Reactor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[Callable[[Connection], None]] = [fail, echo]
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "sock"))
    sock.listen()
    sock.setblocking(False)

    def start(connection: Connection, _source: object) -> None:
        starts.pop(0)(connection)

    reactor.call(lambda: reactor.listen(sock, Connections(), start))
    for expected in (b"", b"hello"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_S)
            client.connect(str(tmp_path / "sock"))
            if expected:
                client.sendall(expected)
            assert client.recv(100) == expected
    assert logged(caplog) == [FAILURE]


@pytest.mark.parametrize("does", ["receive", "send", "finish"])
def test_who_breaks_off_is_no_failure(
    reactor: Reactor, caplog: pytest.LogCaptureFixture, does: str
) -> None:
    ours, theirs = pair()

    def begin(done: Future[bool]) -> None:
        connection = Connection(reactor, ours)

        def use() -> None:
            reactor.soon(lambda: done.set_result(connection.closed))
            match does:
                case "receive":
                    connection.receive(100)
                case "send":
                    connection.send(b"x")
                case "finish":
                    ours.shutdown(socket.SHUT_RDWR)
                    ours.close()
                    connection.finish()

        theirs.close()  # with unread data, so that the kernel sends a reset
        connection.when_readable(use)

    ours.send(b"x")
    assert reactor.wait(begin)
    assert logged(caplog) == []


def test_the_log_names_the_thread(reactor: Reactor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), served(reactor) as sock:
        assert asked(sock, b"fail") == b""
    (record,) = caplog.records
    assert record.threadName == "test"


def test_the_oldest_is_closed_at_the_limit(reactor: Reactor, tmp_path: Path) -> None:
    connections = Connections(2)
    place = Place(reactor, tmp_path / "sock", connections)
    with place.client() as first, place.client() as second:
        assert asked(first) == asked(second) == b"hello"
        with place.client() as third:
            assert asked(third) == b"hello"
            assert first.recv(1) == b""
            oldest = next(iter(connections))
            reactor.call(partial(oldest.end_in, 3600))  # makes it the youngest
            with place.client() as fourth:
                assert asked(fourth) == b"hello"
                assert third.recv(1) == b""
                assert asked(second) == b"hello"
                assert len(connections) == 2


@pytest.mark.parametrize(("times", "ends"), [((3600, 0.01), True), ((0.01, 3600), False)])
def test_a_connection_has_its_time(
    reactor: Reactor, times: tuple[float, float], ends: bool
) -> None:
    ours, theirs = pair()

    def begin(done: Future[bool]) -> None:
        connection = Connection(reactor, ours)
        for seconds in times:
            connection.end_in(seconds)
        reactor.at(time.monotonic() + 0.02, lambda: done.set_result(connection.closed))

    with theirs:
        assert reactor.wait(begin) == ends


def test_who_takes_nothing_holds_nobody_up(reactor: Reactor, tmp_path: Path) -> None:
    connections = Connections()
    place = Place(reactor, tmp_path / "sock", connections)
    with place.client() as silent, place.client() as other:
        assert asked(silent) == b"hello"
        (connection,) = [*connections][:1]
        sent = 0
        while count := reactor.call(partial(connection.send, b"x" * 100_000)):
            sent += count
        assert asked(other) == b"hello"
        assert len(silent.recv(sent, socket.MSG_WAITALL)) == sent
        assert asked(silent) == b"hello"


def test_the_connections_of_a_listener_end_with_it_or_go_on(
    reactor: Reactor, tmp_path: Path
) -> None:
    connections = Connections()
    places = [Place(reactor, tmp_path / name, connections) for name in ("a", "b")]
    with places[0].client() as first, places[1].client() as second:
        assert asked(first) == asked(second) == b"hello"
        reactor.call(places[0].listener.close)
        with pytest.raises(ConnectionRefusedError):
            places[0].client()
        assert asked(first) == b"hello"
        reactor.call(places[0].listener.cut_off)
        assert first.recv(1) == b""
        assert asked(second) == b"hello"
        reactor.call(connections.close)
        assert second.recv(1) == b""
        with places[1].client() as third:
            assert asked(third) == b"hello"


@pytest.mark.parametrize("number", sorted(EXHAUSTED))
def test_clients_wait_while_the_machine_is_exhausted(
    reactor: Reactor, tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """No connection is closed if there is no limit, and all others are served."""
    place = Place(reactor, tmp_path / "sock", Connections())
    with place.client() as first, place.client() as second:
        assert asked(first) == asked(second) == b"hello"
        place.refuses = OSError(number, os.strerror(number))
        with place.client() as third:
            for _ in range(3):  # the listener tries again
                place.refused.get(timeout=PATIENCE_S)
                assert asked(first) == asked(second) == b"hello"
            place.refuses = None
            assert asked(third) == b"hello"
    assert logged(caplog) == []


def test_the_oldest_is_closed_for_clients_that_wait(reactor: Reactor, tmp_path: Path) -> None:
    place = Place(reactor, tmp_path / "sock", Connections(10))
    with place.client() as first, place.client() as second:
        assert asked(first) == asked(second) == b"hello"
        place.refuses = OSError(errno.EMFILE, "")
        with place.client() as third:
            assert first.recv(1) == b""
            place.refuses = None
            assert asked(third) == b"hello"


def test_none_is_closed_for_a_client_that_gave_up(reactor: Reactor, tmp_path: Path) -> None:
    place = Place(reactor, tmp_path / "sock", Connections(10))
    with place.client() as first:
        assert asked(first) == b"hello"
        place.refuses = OSError(errno.ECONNABORTED, "")
        with place.client() as client:
            place.refused.get(timeout=PATIENCE_S)
            place.refuses = None
            assert asked(client) == b"hello"
            assert asked(first) == b"hello"
