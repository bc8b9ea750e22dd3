"""Each folder of tests closes what it opens, before the next folder begins.

A lab is namespaces and threads. One that is kept to the end of the session makes everything after
it slower, and hides labs that are never closed.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator

import pytest

from kproxy.garbage import give_back_memory

# Those of kr8s, and that of tests/kubernetes/mocked.py: started once, they end with the process.
_TO_THE_END = ("Kr8sSyncRunnerThread", "AnyIO worker thread", "loop of mocks")
_PATIENCE_S = 60.0
_MANY_OBJECTS = 200_000
_known = {*threading.enumerate()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if nextitem is not None and nextitem.path.parent == item.path.parent:
        return
    _keep_what_stays()
    give_back_memory()
    if not item.config.getoption("--kproxy-keep"):  # labs of a test that failed stay up
        left = [*_threads(), *_namespaces()]
        if left:
            pytest.fail(
                f"left open by tests in {item.path.parent}: {', '.join(left)}; close it, or give "
                'the fixture that has it scope="package"',
                pytrace=False,
            )


def _keep_what_stays() -> None:
    """Exempt modules that tests have imported, and what they remember, from garbage collection: a
    look at all of the official client library's takes a second, and some tests make many.
    """
    if len(gc.get_objects()) > _MANY_OBJECTS:
        gc.collect()
        gc.freeze()


def _threads() -> list[str]:
    """Return the names of threads that do not end, each once."""
    until = time.monotonic() + _PATIENCE_S
    found = [
        each
        for each in threading.enumerate()
        if each not in _known and each.name not in _TO_THE_END
    ]
    for each in found:
        each.join(max(0.0, until - time.monotonic()))
    left = [each for each in found if each.is_alive()]
    _known.update(left)
    return [f"thread {each.name}" for each in left]


def _namespaces() -> list[str]:
    """Return the network namespaces that this process has a descriptor of, each once."""
    found = _open_namespaces() - _seen
    if found:
        gc.collect()  # a cycle may hold one
        found = _open_namespaces() - _seen
    _seen.update(found)
    return sorted(found)


def _open_namespaces() -> set[str]:
    targets = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            targets.add(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # the descriptor of the folder itself
            continue
    return {each for each in targets if each.startswith("net:[")}


_seen = _open_namespaces()
