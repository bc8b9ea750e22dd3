"""The kind of kernel that is running, and how much memory a process has."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def on_uml() -> bool:
    """Tell whether the running kernel is user-mode Linux (see `kproxy.kernel.uml`)."""
    return "User Mode Linux" in Path("/proc/cpuinfo").read_text(errors="replace")


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
