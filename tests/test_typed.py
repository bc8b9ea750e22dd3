"""Types are read by one thread at a time, or the process crashes."""

from __future__ import annotations

import subprocess
import sys

RACE = """
import sys, threading
import msgspec
from kproxy.typed import converted, decoded, decoder

def race(*uses):
    inner = msgspec.defstruct("Inner", [(f"f{i}", list[int] | None, None) for i in range(40)])
    outer = msgspec.defstruct("Outer", [(f"f{i}", inner | None, None) for i in range(40)])
    ready = threading.Barrier(len(uses))
    found = []

    def use(each):
        ready.wait()
        found.append(each(outer).f39.f39)

    threads = [threading.Thread(target=use, args=[each]) for each in uses]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [[1]] * len(uses), found

sys.setswitchinterval(1e-6)
text = b'{"f39": {"f39": [1]}}'
for _ in range(300):
    race(
        lambda kind: decoder(kind).decode(text),
        lambda kind: decoded(text, kind),
        lambda kind: converted({"f39": {"f39": [1]}}, kind),
    )
"""


def test_threads_may_use_a_type_at_the_same_time() -> None:
    subprocess.run([sys.executable, "-c", RACE], check=True)
