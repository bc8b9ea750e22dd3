"""Where writes run: at once in the loop if nothing is in the way, in their order in any case."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from kproxy.apiserver.http.write_thread import WriteThread
from kproxy.apiserver.request import Answer, Work

PATIENCE_S = 20.0


class Ran:
    """Work that notes what ran, and in which thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.lock = threading.RLock()
        self.names: list[str] = []
        self.threads: list[str] = []
        self.after = 0
        self.writes = WriteThread(self.loop, self.lock, self._after)

    def _after(self) -> None:
        self.after += 1

    def work(self, name: str, *, small: bool = True) -> Work:
        def run() -> Answer:
            with self.lock:
                assert self.writes.is_current
                self.names.append(name)
                self.threads.append(threading.current_thread().name)
                return Answer(200, name.encode())

        return Work(run, small)


@pytest.fixture
def ran() -> Iterator[Ran]:
    made = Ran()
    yield made
    made.writes.close()
    made.loop.close()


def test_a_small_write_runs_in_the_loop(ran: Ran) -> None:
    answer = ran.loop.run_until_complete(ran.writes.run(ran.work("a")))
    assert answer.body == b"a"
    assert ran.threads == [threading.current_thread().name]
    assert ran.after == 1
    assert not ran.writes.is_current


def test_much_work_runs_in_the_thread(ran: Ran) -> None:
    ran.loop.run_until_complete(ran.writes.run(ran.work("a", small=False)))
    assert ran.threads == ["kproxy-api-write"]
    assert ran.after == 1


def test_while_another_thread_writes_the_loop_goes_on_and_the_order_stays(ran: Ran) -> None:
    holds, free = threading.Event(), threading.Event()

    def hold() -> None:
        with ran.lock:
            holds.set()
            free.wait(PATIENCE_S)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert holds.wait(PATIENCE_S)

    async def both() -> None:
        async with asyncio.timeout(PATIENCE_S):
            first = asyncio.create_task(ran.writes.run(ran.work("first")))
            goes_on = asyncio.Event()
            ran.loop.call_soon(goes_on.set)
            await goes_on.wait()  # the loop is not held up
            assert ran.names == []
            free.set()
            holder.join(PATIENCE_S)
            # The lock is free now, but the first may not have run yet.
            await asyncio.gather(first, ran.writes.run(ran.work("second")))
            await ran.writes.run(ran.work("third"))

    ran.loop.run_until_complete(both())
    assert ran.names == ["first", "second", "third"]
    assert ran.threads[0] == "kproxy-api-write"
    assert ran.threads[2] == threading.current_thread().name
    assert ran.after == 3


@pytest.mark.parametrize("small", [True, False])
def test_a_failure_is_told_and_leaves_the_lock_free(ran: Ran, *, small: bool) -> None:
    def fail() -> Answer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ran.loop.run_until_complete(ran.writes.run(Work(fail, small)))
    ran.loop.run_until_complete(ran.writes.run(ran.work("next")))
    assert ran.names == ["next"]
