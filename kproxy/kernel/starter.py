"""A small process that starts programs for a big one, on user-mode Linux.

There the address space of a new program begins as a copy of that of its parent, page by page where
pages do not lie next to each other, and is then emptied (Linux, arch/um/kernel/skas/mmu.c:
init_new_context). That takes 15 ms from a small process and 50 to 500 from one that has run for a
while, with any system call. So the first `start` starts this process, which starts all programs
from then on. It ends with us.

    python -I -S starter.py SOCKET

A message holds the command as JSON, and the descriptors of a network namespace, the three standard
streams and a socket for the answers: {"error": errno, or 0} with a pidfd if it runs, and at its end
{"status": n}, as in subprocess. Standard library only: it is started by file name.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

_CLONE_NEWNET = 0x40000000
_LONGEST_MESSAGE = 1 << 18  # more than a socket takes (net.core.wmem_default), so none is cut off
_MOST_DESCRIPTORS = 5
_libc = ctypes.CDLL(None, use_errno=True)
_starting = threading.Lock()
_starter: list[socket.socket] = []  # one socket after the first `start`


class Started:
    """A started program, with the part of subprocess.Popen that `kproxy.kernel.process` needs."""

    def __init__(
        self, stdin: IO[bytes] | None, stdout: IO[bytes], stderr: IO[bytes], answers: socket.socket
    ) -> None:
        """Wait until it runs. Raises OSError if it could not be started."""
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.returncode: int | None = None
        self._answers = answers
        answer, descriptors = _receive(answers)
        if error := answer["error"]:
            raise OSError(error, os.strerror(error))
        (self._pidfd,) = descriptors

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status as subprocess does. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._answers, select.POLLIN)
            if not ended.poll(None if timeout is None else 1000 * timeout):
                raise subprocess.TimeoutExpired([], timeout or 0)
            self.returncode = int(_receive(self._answers)[0]["status"])
        return self.returncode

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        finally:
            os.close(self._pidfd)
            for each in (self.stdin, self.stdout, self.stderr, self._answers):
                if each:
                    each.close()


def start(argv: Sequence[str], *, has_input: bool, env: Mapping[str, str]) -> Started:
    """Start a program in the calling thread's network namespace and working directory, with pipes.

    Its standard input is empty unless `has_input`. Raises OSError as subprocess.Popen does.
    """
    request = json.dumps({"argv": list(argv), "env": dict(env), "cwd": os.getcwd()})
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        stdin, into = _pipe(theirs, ours)
        out, stdout = _pipe(ours, theirs)
        err, stderr = _pipe(ours, theirs)
        answers, far_end = (
            stack.enter_context(end)
            for stack, end in zip((ours, theirs), _socketpair(), strict=True)
        )
        if not has_input:
            into.close()
        with open("/proc/thread-self/ns/net", "rb") as namespace:
            passed = [each.fileno() for each in (namespace, stdin, stdout, stderr, far_end)]
            socket.send_fds(_connection(), [request.encode()], passed)
        theirs.close()  # else a program that dies before it runs would not be noticed
        started = Started(into if has_input else None, out, err, answers)
        ours.pop_all()
        return started


def _pipe(
    reader: contextlib.ExitStack, writer: contextlib.ExitStack
) -> tuple[IO[bytes], IO[bytes]]:
    """Return both ends of a pipe, each to be closed by its stack."""
    reads, writes = os.pipe()
    return (
        reader.enter_context(os.fdopen(reads, "rb", buffering=0)),
        writer.enter_context(os.fdopen(writes, "wb", buffering=0)),
    )


def _socketpair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps messages apart


def _receive(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a message and its descriptors."""
    message, descriptors, _, _ = socket.recv_fds(
        end, _LONGEST_MESSAGE, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
    )
    if not message:
        raise ConnectionResetError("the helper process that starts programs has ended")
    return json.loads(message), descriptors


def _connection() -> socket.socket:
    """Return the socket to the small process, which is started if it does not run yet."""
    with _starting:
        if not _starter:
            near_end, far_end = _socketpair()
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(far_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[far_end.fileno()],
                process_group=0,  # Ctrl-C is for us
            )
            far_end.close()
            atexit.register(process.wait)
            atexit.register(near_end.close)  # before: the last registered is called first
            _starter.append(near_end)
        return _starter[0]


def main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    while True:
        try:
            request, descriptors = _receive(requests)
        except ConnectionResetError:
            os._exit(0)  # what still runs finds its streams closed
        threading.Thread(target=_serve, args=(request, descriptors)).start()


def _serve(request: dict[str, Any], descriptors: list[int]) -> None:
    namespace, *streams, far_end = descriptors
    # If the process that asked has ended, no process waits for the answer.
    with socket.socket(fileno=far_end) as answers, contextlib.suppress(BrokenPipeError):
        try:
            if _libc.setns(namespace, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            process = subprocess.Popen(
                request["argv"],
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=request["env"],
                cwd=request["cwd"],
            )
        except OSError as error:
            answers.send(json.dumps({"error": error.errno}).encode())
            return
        finally:
            for descriptor in (namespace, *streams):
                os.close(descriptor)
        pidfd = os.pidfd_open(process.pid)
        try:
            socket.send_fds(answers, [json.dumps({"error": 0}).encode()], [pidfd])
        finally:
            os.close(pidfd)
        answers.send(json.dumps({"status": process.wait()}).encode())


if __name__ == "__main__":
    main()
