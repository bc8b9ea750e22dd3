"""A child process that does some work for us in the end, however this process ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from kproxy.kernel import sysctl

# Standard input is a pipe that only we can write to: it ends when we close it, or are killed.
_WAIT = "read -r _; "
# Who stops a service signals all of its processes: only our end is to count.
_WITHOUT = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_RESTORE = 'while [ "$#" -ge 2 ]; do echo "$2" > "/proc/sys/$1"; shift 2; done'


def at_the_end(script: str, *words: str) -> Callable[[], None]:
    """Start a child process that runs this script of sh in the calling thread's namespace, with
    these words as its parameters, when the returned function is called, or this process ends.

    The function returns when that is done.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _WITHOUT)  # the child inherits that
    try:
        guardian = subprocess.Popen(
            ["sh", "-c", _WAIT + script, "sh", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt from the terminal is for us alone
            env={**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def finish() -> None:
        guardian.communicate()

    return finish


def restored_at_the_end(settings: Sequence[str]) -> Callable[[], None]:
    """Have these settings of the calling thread's namespace return to their present values when
    the returned function is called, or this process ends.

    Raises Unsupported if there is no such setting.
    """
    return at_the_end(_RESTORE, *(word for name in settings for word in (name, sysctl.read(name))))
