"""The collector after `keep_for_good`, in a process of its own, as it concerns all of a process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from kproxy.garbage import keep_for_good

keep_for_good()
collections = []
gc.callbacks.append(lambda phase, info: collections.append(info["collected"]))
kept = [[number] for number in range(40_000)]
print(len(collections))
for number in range(80_000):
    cycle = []
    cycle.append(cycle)
print(sum(collections) > 10_000)
gc.callbacks.clear()
"""


def test_collections_are_rare_and_still_free_cycles() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "True"]
