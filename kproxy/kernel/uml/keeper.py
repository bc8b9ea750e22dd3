"""Ends a guest when its launcher ends, even if that is killed.

    python -I -S keeper.py PROGRAM ARGUMENT...

starts the program as the leader of a process group, and kills the group when standard input ends
(it is a pipe that only the launcher can write to) or when the program has ended: user-mode Linux
leaves the processes of its guest behind if it is killed. The keeper ends after all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PROCESSOR = 36  # of the fields after the name, man 5 proc_pid_stat


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a kernel that panics would leave its memory
    _stay_on_this_cpu()
    guest = os.posix_spawnp(
        sys.argv[1],
        sys.argv[1:],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setpgroup=0,
    )
    ended = os.pidfd_open(guest)
    select.select([0, ended], [], [])
    os.killpg(guest, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # raised when no child is left
        while True:
            os.wait()


def _stay_on_this_cpu() -> None:
    """Have the guest run where the kernel has just put this process, among those that it may use.

    A guest has one CPU, so its kernel and its processes only ever alternate. On the same CPU they
    need not wake up another one each time, which made a sync in ipvs mode take five times as long.
    """
    with open("/proc/self/stat", "rb") as file:
        here = int(file.read().rpartition(b")")[2].split()[_PROCESSOR])
    with contextlib.suppress(OSError):  # the machine has taken this CPU away by now
        os.sched_setaffinity(0, {here})


if __name__ == "__main__":
    main()
