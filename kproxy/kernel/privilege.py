"""The privileges to change the network of the calling thread's namespace, and to watch it."""

from __future__ import annotations

import os
from pathlib import Path

from kproxy.errors import Unsupported

# User-mode Linux is for x86-64 only. Inside, every command is root.
WITHOUT_ROOT = (
    "; without root: --kernel uml, or python -m kproxy.kernel.uml COMMAND..., for instance pytest"
    if os.uname().machine == "x86_64"
    else ""
)
_CAP_NET_ADMIN, _CAP_NET_RAW = 12, 13  # linux/capability.h


def require_net_admin() -> None:
    """Raise Unsupported, naming the privilege, if the thread lacks CAP_NET_ADMIN."""
    if not _has(_CAP_NET_ADMIN):
        raise Unsupported(
            "no privilege to change network rules here: CAP_NET_ADMIN is missing",
            remedy="run as root (sudo); in a container: --privileged, or --cap-add NET_ADMIN"
            + WITHOUT_ROOT,
        )


def require_net_raw() -> None:
    """Raise Unsupported, naming the privilege, if the thread lacks CAP_NET_RAW.

    Probes need it, and so does iptables-legacy.
    """
    if not _has(_CAP_NET_RAW):
        raise Unsupported(
            "no privilege to open raw sockets: CAP_NET_RAW is missing",
            remedy="run as root (sudo); in a container: --privileged, or --cap-add NET_RAW",
        )


def _has(capability: int) -> bool:
    status = Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) & 1 << capability)
