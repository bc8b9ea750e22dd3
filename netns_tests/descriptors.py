"""Descriptors that this process holds, for tests that none is left open."""

from __future__ import annotations

import gc
import os
import time

_PAUSE_S = 0.02


def open_descriptors() -> set[str]:
    """Return their numbers, without those of garbage that is yet to be collected.

    Waits while they change: servers in other threads close a connection a moment after its client
    has done so.
    """
    gc.collect()
    found: set[str] = set()
    while found != (now := {*os.listdir("/proc/self/fd")}):
        found = now
        time.sleep(_PAUSE_S)
    return found
