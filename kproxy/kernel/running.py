"""Which kernel is running."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def on_uml() -> bool:
    """Whether it is user-mode Linux: `kproxy.kernel.uml`."""
    return "User Mode Linux" in Path("/proc/cpuinfo").read_text(errors="replace")
