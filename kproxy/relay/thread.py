"""An event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import errno
import resource
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

_T = TypeVar("_T")


class RelayThread:
    """Runs coroutines. It starts in the namespace of the thread that creates this object."""

    def __init__(self, name: str) -> None:
        """Start the thread, and raise the process's limit of open files to its hard limit.

        Raises OSError if no thread can be started.
        """
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._loop.close()
            raise OSError(errno.EAGAIN, str(error)) from None

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work` in the thread, and return its result. Raises what it raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End all tasks and the thread."""
        self.run(_end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end, at which their sockets are closed."""
    ending = set(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending)


async def _end_all() -> None:
    await end([each for each in asyncio.all_tasks() if each is not asyncio.current_task()])
