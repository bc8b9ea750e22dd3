"""Controls when Python's cyclic garbage collector may run.

It finds objects that refer to each other in cycles, of which there are next to none here. To find
them it visits all objects, and more often the more are made: this took a quarter of a cold start,
and makes a later change wait for some milliseconds.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
    """Exempt all present objects from collection, as they will stay. Only for our own process."""
    gc.freeze()
