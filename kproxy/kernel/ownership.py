"""One proxy for each network namespace.

The claim is an abstract unix socket: such names belong to a network namespace, need no file, and
vanish with the process that bound them, however it ends. The kernel tells each process that
connects which process listens.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from kproxy.errors import NamespaceBusy

_ADDRESS = "\0kproxy/owner"


@contextmanager
def claim_namespace() -> Iterator[None]:
    """Claim the calling thread's namespace for the duration of the block.

    Raises NamespaceBusy with the owner's pid, which is 0 if it cannot be seen from here: the owner
    is in another PID namespace, or thousands have asked before and its queue is full.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        try:
            claim.bind(_ADDRESS)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise _busy(_owner()) from None
        claim.listen(socket.SOMAXCONN)
        yield


def is_claimed() -> bool:
    """Tell whether a kproxy owns the calling thread's namespace. It is not asked."""
    shown = _ADDRESS.replace("\0", "@")
    with open("/proc/thread-self/net/unix") as file:
        return any(line.rstrip().endswith(f" {shown}") for line in file)


def _owner() -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as question:
        question.setblocking(False)
        try:
            question.connect(_ADDRESS)
        except (BlockingIOError, ConnectionRefusedError):  # queue full; bound, not listening yet
            return 0
        size = struct.calcsize("3i")
        credentials = question.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid: int = struct.unpack("3i", credentials)[0]
        return pid


def _busy(pid: int) -> NamespaceBusy:
    if pid == os.getpid():
        return NamespaceBusy(
            "this process already runs a kproxy in this network namespace", pid=pid
        )
    who = f"the kproxy with pid {pid}" if pid else "a kproxy that cannot be seen from here"
    return NamespaceBusy(
        f"this network namespace belongs to {who}",
        pid=pid,
        remedy=f"stop it first: kill {pid}" if pid else "stop it first",
    )
