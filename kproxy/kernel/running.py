"""The kind of kernel that is running."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def on_uml() -> bool:
    """Tell whether the running kernel is user-mode Linux (see `kproxy.kernel.uml`)."""
    return "User Mode Linux" in Path("/proc/cpuinfo").read_text(errors="replace")
