"""Waiting for the kernel in many namespaces at once.

Closing a packet socket, or deleting rules, waits until no processor uses it any more. That takes
milliseconds, but as long for one as for all that wait at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

_T = TypeVar("_T")
_THREADS = 64


def at_once(actions: Iterable[Callable[[], _T]], undo: Callable[[_T], object]) -> list[_T]:
    """Run all actions at the same time, up to 64 of them, and return their results in order.

    If one fails, all others are waited for, their results are undone, and the first error is
    raised.
    """
    waiting = list(actions)
    if not waiting:
        return []
    with ThreadPoolExecutor(
        min(len(waiting), _THREADS), thread_name_prefix="kproxy-at-once"
    ) as pool:
        futures = [pool.submit(action) for action in waiting]
        wait(futures)
    failures = [error for each in futures if (error := each.exception())]
    if failures:
        for each in futures:
            if not each.exception():
                undo(each.result())
        raise failures[0]
    return [each.result() for each in futures]
