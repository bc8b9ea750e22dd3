"""The nginx of one pod: a real one, in the pod's namespace, with a configuration of ours.

Its sockets are made here and inherited, so clients may connect as soon as the object exists. All
its files are in a folder in memory that has no name (`open_tmpfs`), and its keeper ends it when
this process ends, so that nothing can be left over.

It has a worker process besides the master, because a single process cannot reload: nginx 1.22 with
`master_process off` accepts no connections any more after SIGHUP.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

from kproxy.address import socket_family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.detached_mount import open_tmpfs
from kproxy.lab.hosts import LabPod
from kproxy.lab.pods import nginx_keeper

_BACKLOG = 511  # nginx's own
_CONFIG = "nginx.conf"
_TIMEOUT_S = 30  # it takes 0.05 s for a start, 0.15 s for a reload; more on a busy machine
_STARTED = b"start worker process "
# Logged by a worker of the former configuration that is about to accept no more connections. The
# workers of the new one have started by then.
_RELOADED = b"gracefully shutting down"


class Nginx:
    """An nginx process. First call `await_start`, then reload any number of times, then `close`.

    Starting and reloading have two steps, so that those of several pods take no longer than one.
    """

    def __init__(self, pod: LabPod, config: str) -> None:
        """Launch nginx. Raises Unsupported if it is not installed, KernelRefused."""
        self._pod = pod.name
        self._said = b""
        with ExitStack() as stack:
            self._folder = open_tmpfs()
            stack.callback(os.close, self._folder)
            self._write(config)
            with ExitStack() as started, pod.namespace.entered():
                sockets = [started.enter_context(_listening(*each)) for each in pod.serves]
                descriptors = [sock.fileno() for sock in sockets]
                self._keeper = subprocess.Popen(
                    [
                        *(sys.executable, "-I", "-S", nginx_keeper.__file__, _program()),
                        *("-p", f"/proc/self/fd/{self._folder}/", "-c", _CONFIG, "-e", "stderr"),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    pass_fds=(self._folder, *descriptors),
                    process_group=0,  # Ctrl-C is for us
                    env={**os.environ, "NGINX": "".join(f"{each};" for each in descriptors)},
                )
            stack.enter_context(self._keeper)  # closes its standard input, and waits
            self._undo = stack.pop_all()

    def await_start(self) -> None:
        """Wait until nginx has started. Raises KernelRefused if it refuses its configuration."""
        self._await(_STARTED)

    def reload(self, config: str) -> None:
        """Load another configuration; requests under way are still answered by the former one."""
        self._write(config)
        assert self._keeper.stdin
        try:
            self._keeper.stdin.write(b"\n")
        except BrokenPipeError:  # `await_reload` tells why it has ended
            return

    def await_reload(self) -> None:
        """Return when all new requests are answered by the new configuration.

        Raises KernelRefused if nginx does not accept it; the former one stays in force.
        """
        self._await(_RELOADED)

    def close(self) -> None:
        """End nginx, with all its processes, before this returns. Harmless when repeated."""
        self._undo.close()

    def _write(self, config: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(_CONFIG, flags, 0o600, dir_fd=self._folder)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(config)

    def _await(self, sign: bytes) -> None:
        assert self._keeper.stderr
        deadline = time.monotonic() + _TIMEOUT_S
        while sign not in self._said:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._keeper.stderr], [], [], left)
            data = self._keeper.stderr.read(65536) if ready else b""
            self._said += data or b""
            if not data or b"[emerg]" in self._said:
                said, self._said = self._said.decode(errors="replace"), b""
                raise KernelRefused(_complaint(self._pod, said))
        self._said = self._said.partition(sign)[2]


def _program() -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if found := shutil.which("nginx", path=path):
        return found
    raise Unsupported("nginx: not installed", remedy="apt-get install nginx-light")


def _listening(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket_family(address))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _complaint(pod: str, said: str) -> str:
    lines = [line for line in said.splitlines() if "[notice]" not in line][-5:]
    return f"nginx of pod {pod} failed" + "".join(f"\n  {line}" for line in lines)
