"""Kernel settings under /proc/sys; those below `net/` belong to the calling thread's namespace."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.detached_mount import open_mount

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


def write(name: str, value: str | int, root: str = _ROOT) -> bool:
    """Set it if it is different, and return whether it was. `root`: see `own_root`.

    Raises Unsupported if it is missing or read-only here, KernelRefused if it rejects the value.
    """
    wanted = str(value)
    try:
        # One descriptor for both: most of the time goes into the way through the folders.
        descriptor = os.open(root + name, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if read(name).split() == wanted.split():
            return False
        raise _refusal(name, wanted, error) from None
    try:
        if os.pread(descriptor, _LONGEST, 0).decode().split() == wanted.split():
            return False
        os.pwrite(descriptor, f"{wanted}\n".encode(), 0)
    except OSError as error:
        raise _refusal(name, wanted, error) from None
    finally:
        os.close(descriptor)
    return True


@contextmanager
def own_root() -> Iterator[str]:
    """Yield a root for `write` that is quick in namespaces whose settings nobody has looked up yet.

    Under /proc/sys the folders of all namespaces have the same place, so the kernel compares a new
    one with each that it knows: with 1000 namespaces, it takes 100 us. This root is that of another
    mount of proc, which knows none, and is nowhere to be seen. If the kernel refuses it (before
    Linux 5.2, or in some containers), it is /proc/sys.
    """
    try:
        descriptor = open_mount("proc")
    except KernelRefused:
        yield _ROOT
        return
    try:
        yield f"/proc/self/fd/{descriptor}/sys/"
    finally:
        os.close(descriptor)


_REMEDY = "run as root; in a container with --privileged, or run --init-only in one before"


def _refusal(name: str, value: str, error: OSError) -> Unsupported | KernelRefused:
    message = f"cannot set {name} to {value}: {error.strerror}"
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        return Unsupported(message, remedy=_REMEDY)
    return KernelRefused(message)
