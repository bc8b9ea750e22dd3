"""The thread of a reactor: tasks of other threads, and its end."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import pytest

from kproxy.loop.reactor import Connections, Reactor
from tests.loop.sockets import PATIENCE_S, Place, asked, fail, logged, served


def test_calls_of_any_thread_run_in_one(reactor: Reactor) -> None:
    ran: SimpleQueue[threading.Thread] = SimpleQueue()
    callers = [
        threading.Thread(target=lambda: ran.put(reactor.call(threading.current_thread)))
        for _ in range(20)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    (thread,) = {ran.get() for _ in callers}
    assert thread.name == "test"
    assert thread not in callers


def test_who_calls_is_told(reactor: Reactor, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ArithmeticError):
        reactor.call(fail)
    with pytest.raises(SystemExit):
        reactor.call(sys.exit)
    assert reactor.call(lambda: 5) == 5
    assert logged(caplog) == []


def test_a_result_that_comes_later(reactor: Reactor) -> None:
    def begin(done: Future[str]) -> None:
        reactor.at(time.monotonic() + 0.01, lambda: done.set_result("later"))

    assert reactor.wait(begin) == "later"


def test_posts_run_in_order(reactor: Reactor) -> None:
    ran: list[int] = []
    for number in range(10):
        reactor.post(partial(ran.append, number))
    reactor.call(bool)
    assert ran == [*range(10)]


def test_timers_run_in_order(reactor: Reactor) -> None:
    ran: list[str] = []

    def begin(done: Future[None]) -> None:
        for name, seconds in (("last", 0.03), ("second", 0.02), ("cancelled", 0.02), ("first", 0)):
            timer = reactor.at(time.monotonic() + seconds, partial(ran.append, name))
            if name == "cancelled":
                timer.cancel()
        reactor.at(time.monotonic() + 0.03, lambda: done.set_result(None))
        reactor.soon(partial(ran.append, "soon"))

    reactor.wait(begin)
    assert ran == ["soon", "first", "second", "last"]


def test_the_end_is_the_end_of_everything(reactor: Reactor, tmp_path: Path) -> None:
    place = Place(reactor, tmp_path / "sock", Connections())
    ran: list[int] = []
    with place.client() as client, served(reactor) as other:
        assert asked(client) == asked(other) == b"hello"
        reactor.call(lambda: reactor.at(time.monotonic() + 3600, bool))
        reactor.post(lambda: ran.append(1))
        reactor.close()
        reactor.close()
        assert ran == [1]
        assert client.recv(1) == other.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        place.client()
    assert "test" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="test is closed"):
        reactor.call(bool)
    with pytest.raises(RuntimeError, match="test is closed"):
        reactor.post(bool)


def test_who_waits_at_the_end_is_told(reactor: Reactor) -> None:
    begun, told = threading.Event(), SimpleQueue[str]()

    def ask() -> None:
        try:
            reactor.wait(lambda _done: begun.set())
        except RuntimeError as error:
            told.put(str(error))

    asker = threading.Thread(target=ask)
    asker.start()
    assert begun.wait(PATIENCE_S)
    reactor.close()
    assert told.get(timeout=PATIENCE_S) == "test is closed"
    asker.join()


def test_a_reactor_that_nobody_used(caplog: pytest.LogCaptureFixture) -> None:
    with descriptors_stay():
        idle = Reactor("idle")
        idle.close()
        idle.close()
    assert logged(caplog) == []


def test_a_thread_that_cannot_be_started(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    reactor.call(bool)  # makes asyncio open the descriptors that it keeps
    late = Reactor("late")
    with descriptors_stay(), monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            late.call(bool)
    assert late.call(lambda: 5) == 5
    late.close()


def test_no_descriptor_is_left(reactor: Reactor, tmp_path: Path) -> None:
    reactor.call(bool)  # makes asyncio open the descriptors that it keeps
    with descriptors_stay():
        other = Reactor("other")
        place = Place(other, tmp_path / "sock", Connections(2))
        for _ in range(5):
            with place.client() as client:
                assert asked(client) == b"hello"
        with place.client() as client:
            assert asked(client, b"fail") == b""
        with served(other) as sock:
            assert asked(sock) == b"hello"
        left_open = [place.client() for _ in range(3)]
        other.close()
        for client in left_open:
            client.close()


@contextmanager
def descriptors_stay() -> Iterator[None]:
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    # Threads of other tests may end a connection meanwhile.
    assert descriptors() <= before


def descriptors() -> set[tuple[str, str]]:
    """Return the number of each open descriptor, and what it is of."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor of the folder itself
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found
