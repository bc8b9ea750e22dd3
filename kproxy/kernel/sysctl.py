"""Kernel settings under /proc/sys; those below `net/` belong to the calling thread's namespace."""

from __future__ import annotations

import errno
from pathlib import Path

from kproxy.errors import KernelRefused, Unsupported

_ROOT = Path("/proc/sys")


def read(name: str) -> str:
    """Return the value of a setting such as `net/ipv4/ip_forward`, white space trimmed.

    Raises Unsupported if this kernel (or this namespace) has no such setting.
    """
    try:
        return (_ROOT / name).read_text().strip()
    except FileNotFoundError:
        raise Unsupported(f"this kernel has no setting {name}") from None


def write(name: str, value: str | int) -> bool:
    """Set it if it is different, and return whether it was.

    Raises Unsupported if it is missing or read-only here, KernelRefused if it rejects the value.
    """
    if read(name).split() == str(value).split():
        return False
    try:
        (_ROOT / name).write_text(f"{value}\n")
    except OSError as error:
        message = f"cannot set {name} to {value}: {error.strerror}"
        if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise Unsupported(
                message, remedy="run as root; in a container with --privileged"
            ) from None
        raise KernelRefused(message) from None
    return True
