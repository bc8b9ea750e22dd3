"""Controls when Python's cyclic garbage collector may run.

It finds objects that refer to each other in cycles, of which there are next to none here. To find
them it visits all objects, and more often the more are made: this took a quarter of a cold start,
and makes a later change wait for some milliseconds.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS_BETWEEN = 50_000  # new ones, between two collections


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable the collector in the block. Unreferenced objects are freed at once, as always."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def keep_for_good() -> None:
    """Exempt all present objects from collection, as they will stay. Only for our own process.

    Collections become rare besides: a dictionary of values that cannot be in a cycle is not among
    the exempt ones, and every write to it makes the next collection visit all of it again. With
    100,000 Services that took 33 ms, after each 140 changes.
    """
    gc.freeze()
    collect_rarely()


def collect_rarely() -> None:
    """Let many more objects be made between two collections. Only for our own process."""
    gc.set_threshold(_OBJECTS_BETWEEN, *gc.get_threshold()[1:])


def end_uncollected() -> None:
    """Let Python look for nothing when it ends. Only for our own process, whose memory goes back to
    the kernel then: to look at all modules again took a tenth of a short command.
    """
    atexit.register(gc.freeze)


def give_back_memory() -> None:
    """Return memory that is free to the kernel, where the C library can do that; glibc keeps it.

    After a start with 10,000 Services from an API server this was 5 of 121 MiB, after 20,000
    changes at once 12 of 171. It took 0.2 to 6 ms.
    """
    import ctypes  # takes two milliseconds

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
