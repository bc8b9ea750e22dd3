"""How writes are put together, and how their effect makes room for more of them: time is played."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from threading import Event, Thread

import pytest

from kproxy.lab.cluster.pace import Pace, Turn
from kproxy.lab.cluster.plane import LabPlane
from kproxy.lab.cluster.shared_cluster import SharedCluster

PATIENCE_S = 20.0


class Played:
    """A clock that goes on when somebody sleeps; with `each_s`, somebody writes as often."""

    def __init__(self, each_s: float = 0) -> None:
        self.now = 100.0
        self.each_s = each_s
        self.written = 0.0
        self.slept = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds

    def last_write(self) -> float:
        return self.now - self.now % self.each_s if self.each_s else self.written

    def pace(self, is_awaited: Callable[[], bool] = lambda: False) -> Pace:
        return Pace(self.last_write, is_awaited, self.clock, self.sleep)


class Written(Played):
    """The plane of a lab that is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = 0
        self.count = 0
        cluster = SharedCluster(["10.96.0.0/16"], random=Random(0))
        cluster.reconcile("2026-01-01T00:00:00Z")
        self.plane = LabPlane(cluster, self._wake, self.clock)

    def _wake(self) -> None:
        self.woken += 1

    def write(self, after_s: float = 0.0) -> None:
        self.now += after_s
        self.count += 1
        metadata = {"name": f"map-{self.count}"}
        self.plane.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

    def burst(self, lasts_s: float, each_s: float = 0.001) -> None:
        for _ in range(round(lasts_s / each_s)):
            self.write(each_s)

    def take(self, takes_s: float, writes: int = 0) -> None:
        with self.plane.taken():
            self.now += takes_s
            for _ in range(writes):
                self.write()


@pytest.fixture
def written() -> Written:
    return Written()


def test_a_single_write_waits_a_few_milliseconds_only(written: Written) -> None:
    assert written.plane.pause_s() == 0
    written.write()
    assert written.plane.pause_s() == pytest.approx(0.01)
    written.take(0.002)
    assert written.plane.pause_s() == 0


@pytest.mark.parametrize("before", ["nothing", "a burst", "a costly one"])
def test_so_does_a_write_after_a_pause_whatever_was_before(before: str, written: Written) -> None:
    if before != "nothing":
        written.burst(0.9)
        written.take(3.0 if before == "a costly one" else 0.1)
    written.write(0.2)
    assert written.plane.pause_s() == pytest.approx(0.01)


def test_writes_without_a_pause_are_taken_together(written: Written) -> None:
    written.burst(0.5)
    assert written.woken == 1
    written.now += 0.02  # the machine was busy: this is no end
    assert written.plane.pause_s() > 0
    written.write()
    written.now += 0.1
    assert written.plane.pause_s() <= 0


def test_they_are_taken_once_a_second_however_many_come(written: Written) -> None:
    written.burst(1.0)
    assert written.plane.pause_s() == pytest.approx(0.001)  # the first write was at 0.001
    written.write(0.002)
    assert written.plane.pause_s() <= 0


def test_the_more_it_takes_the_rarer(written: Written) -> None:
    written.burst(1.0)
    written.take(1.5, writes=1)
    written.burst(2.9)
    assert written.plane.pause_s() > 0
    written.burst(0.11)
    assert written.plane.pause_s() <= 0
    written.take(100.0, writes=1)
    written.burst(5.0)
    assert written.plane.pause_s() <= 0  # there is a limit


def test_writes_that_came_meanwhile_wait_for_more_of_their_kind(written: Written) -> None:
    written.write()
    written.take(0.05, writes=1)
    written.now += 0.03
    assert written.plane.is_written
    assert written.plane.pause_s() > 0
    written.now += 0.02
    assert written.plane.pause_s() <= 0
    written.take(0.05)
    written.write(0.2)
    assert written.plane.pause_s() == pytest.approx(0.01)


def test_a_dry_run_wakes_nobody(written: Written) -> None:
    metadata = {"name": "web"}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    written.plane.create(document, dry_run=True)
    assert (written.woken, written.plane.pause_s()) == (0, 0)


# rests


def test_work_rests_as_long_as_it_took_while_somebody_writes() -> None:
    played = Played(each_s=0.002)
    pace = played.pace()
    for took in (0.03, 0.001, 0.2):
        played.now += took
        assert pace.is_needed
        played.slept = 0
        pace.rest()
        assert played.slept == pytest.approx(took)


def test_it_does_not_rest_if_nobody_writes() -> None:
    played = Played()
    pace = played.pace()
    played.now += 0.1
    assert not pace.is_needed
    pace.rest()
    assert played.slept == 0


def test_it_goes_on_as_soon_as_nobody_writes_any_more() -> None:
    played = Played()
    pace = played.pace()
    played.now += 1.0
    played.written = played.now - 0.5
    pace.rest()
    assert 0 < played.slept < 0.02


def test_it_does_not_rest_while_somebody_waits_for_it() -> None:
    played = Played(each_s=0.001)
    pace = played.pace(lambda: True)
    played.now += 0.1
    assert not pace.is_needed
    pace.rest()
    assert played.slept == 0


def test_a_rest_ends_when_somebody_begins_to_wait() -> None:
    played = Played(each_s=0.001)
    pace = played.pace(lambda: played.slept > 0.01)
    played.now += 1.0
    pace.rest()
    assert played.slept < 0.02


# who waits


def test_a_turn_knows_who_waits_for_its_lock() -> None:
    turn, came = Turn(), Event()

    def wait() -> None:
        with turn:
            came.set()

    with turn:
        assert not turn.is_awaited
        with turn:  # by the same thread
            assert not turn.is_awaited
        thread = Thread(target=wait, daemon=True)
        thread.start()
        end = time.monotonic() + PATIENCE_S
        while not turn.is_awaited and time.monotonic() < end:
            came.wait(0.001)
        assert turn.is_awaited
        assert not came.is_set()
    assert came.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
    assert not turn.is_awaited


def test_a_turn_knows_who_waits_for_something_to_come_true() -> None:
    turn = Turn()
    with turn:
        assert turn.wait_for(lambda: turn.is_awaited, 0)
    assert not turn.is_awaited
