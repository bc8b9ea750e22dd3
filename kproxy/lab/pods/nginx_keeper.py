"""Keeps an nginx no longer than its launcher lives, however either of them ends.

    python -I -S nginx_keeper.py PROGRAM ARGUMENT...

starts the program as the first process of a process namespace, so that its workers end with it. It
is killed when standard input ends (a pipe that only the launcher can write to), and by the kernel
when this process ends; for each byte on standard input it is sent a SIGHUP. When this process has
ended, all of them have.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

_CLONE_NEWPID = 0x20000000  # linux/sched.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    if _libc.unshare(_CLONE_NEWPID):
        sys.exit(f"cannot make a process namespace: {os.strerror(ctypes.get_errno())}")
    keeper = os.pidfd_open(os.getpid())
    program = os.fork()
    if not program:
        # The signal is sent when the thread that forked ends, and this process has no other.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if select.select([keeper], [], [], 0)[0]:  # it had ended before
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execv(sys.argv[1], sys.argv[1:])
    os.closerange(3, 1 << 20)  # only the program needs the sockets
    ended = os.pidfd_open(program)
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready or not os.read(0, 1):
            break
        os.kill(program, signal.SIGHUP)
    os.kill(program, signal.SIGKILL)
    os.waitpid(program, 0)


if __name__ == "__main__":
    main()
