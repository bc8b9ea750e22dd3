"""File systems that are mounted nowhere, so that nothing has to be removed."""

from __future__ import annotations

import ctypes
import os

from kproxy.errors import KernelRefused

# include/uapi/asm-generic/unistd.h (the same on all architectures), linux/mount.h. By number, since
# glibc has functions of these names only since 2.36.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6

_libc = ctypes.CDLL(None, use_errno=True)


def open_tmpfs() -> int:
    """Return a descriptor of an empty folder in memory, see `open_mount`."""
    return open_mount("tmpfs")


def open_mount(kind: str) -> int:
    """Return a descriptor of the root of a new file system, whose path is below /proc/self/fd.

    `kind`: as in /proc/filesystems. It vanishes with the last process that has the descriptor,
    however that ends. Needs Linux 5.2. Raises KernelRefused.
    """
    context = _call(_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC, kind=kind)
    try:
        _call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0, kind=kind)
        return _call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0, kind=kind)
    finally:
        os.close(context)


def _call(number: int, *arguments: object, kind: str) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        reason = os.strerror(ctypes.get_errno())
        raise KernelRefused(f"cannot make a file system of kind {kind}: {reason}")
    return result
