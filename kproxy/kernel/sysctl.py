"""Kernel settings under /proc/sys; those below `net/` belong to the calling thread's namespace."""

from __future__ import annotations

import errno
import os

from kproxy.errors import KernelRefused, Unsupported

_ROOT = "/proc/sys/"
_LONGEST = 4096  # of what the kernel shows of a setting at once: a page


def read(name: str) -> str:
    """Return the value of a setting such as `net/ipv4/ip_forward`, white space trimmed.

    Raises Unsupported if this kernel (or this namespace) has no such setting.
    """
    try:
        descriptor = os.open(_ROOT + name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Unsupported(f"this kernel has no setting {name}") from None
    try:
        return os.read(descriptor, _LONGEST).decode().strip()
    finally:
        os.close(descriptor)


def write(name: str, value: str | int) -> bool:
    """Set it if it is different, and return whether it was.

    Raises Unsupported if it is missing or read-only here, KernelRefused if it rejects the value.
    """
    if read(name).split() == str(value).split():
        return False
    try:
        descriptor = os.open(_ROOT + name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{value}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"cannot set {name} to {value}: {error.strerror}"
        if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise Unsupported(
                message, remedy="run as root; in a container with --privileged"
            ) from None
        raise KernelRefused(message) from None
    return True
