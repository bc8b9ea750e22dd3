"""Where writes are carried out, in the order in which they came: at once, or in one thread.

A small write takes less than waking a thread for it and being woken by that again. But the loop
must wait for nobody: while another thread writes, or much is to be done, the thread does the work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

from kproxy.apiserver.request import Answer, Work
from kproxy.controlplane.plane import Lock

_Job = tuple[Work, "asyncio.Future[Answer]"]


class WriteThread:
    """Runs work for an event loop.

    A pool of threads would do the same; its futures cost a fifth of the time of a small write.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, lock: Lock, after: Callable[[], None]
    ) -> None:
        """`lock` is that of all writes; `after` is called in the loop behind each piece of work."""
        self._loop = loop
        self._lock = lock
        self._after = after
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._unfinished = 0  # jobs of the thread; belongs to the loop
        self._running_in = 0  # the thread that runs work now
        self._thread = threading.Thread(target=self._run, name="kproxy-api-write", daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Say whether the caller is work that runs here."""
        return threading.get_ident() == self._running_in

    async def run(self, work: Work) -> Answer:
        """Run work behind all that was given before; whoever stops waiting does not stop it."""
        if work.is_small and not self._unfinished and self._lock.acquire(blocking=False):
            return self._at_once(work)
        done: asyncio.Future[Answer] = self._loop.create_future()
        self._unfinished += 1
        self._jobs.put((work, done))
        return await done

    def close(self) -> None:
        """Return when all work is done."""
        self._jobs.put(None)
        self._thread.join()

    def _at_once(self, work: Work) -> Answer:
        """Run work in the loop, which has the lock; it is released."""
        self._running_in = threading.get_ident()
        try:
            return work.run()
        finally:
            self._running_in = 0
            self._lock.release()
            self._after()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            self._running_in = threading.get_ident()
            try:
                answer = work.run()
            except Exception as problem:  # told to whoever waits
                self._loop.call_soon_threadsafe(self._fail, done, problem)
            else:
                self._loop.call_soon_threadsafe(self._finish, done, answer)

    def _finish(self, done: asyncio.Future[Answer], answer: Answer) -> None:
        if not done.done():
            done.set_result(answer)
        self._finished()

    def _fail(self, done: asyncio.Future[Answer], problem: Exception) -> None:
        if not done.done():
            done.set_exception(problem)
        self._finished()

    def _finished(self) -> None:
        self._unfinished -= 1
        self._after()
