"""When Python may look for garbage.

Its collector finds objects that refer to each other in circles, of which there are next to none
here. To find them it looks through all objects, more often the more are made: a quarter of a cold
start, and a pause of some milliseconds at some change later on.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Not now. What nobody refers to any more goes at once, as always."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def keep_for_good() -> None:
    """What there is now will stay, so it is never looked at again. For a process of our own."""
    gc.freeze()
