"""Descriptors that this process holds, for tests that none is left open."""

from __future__ import annotations

import gc
import os

from netns_tests.run.running import until


def open_descriptors() -> set[str]:
    """Return their numbers, without those of garbage that is yet to be collected.

    Waits while they change: servers in other threads close a connection a moment after its client
    has done so.
    """
    gc.collect()
    looks: list[set[str]] = []

    def are_steady() -> bool:
        looks.append({*os.listdir("/proc/self/fd")})
        return looks[-2:-1] == looks[-1:]

    until("two looks at descriptors that are alike", are_steady)
    return looks[-1]
