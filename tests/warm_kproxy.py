"""Processes of kproxy that need not import it, because they are forks of one that has.

Of the CPU time of a short `kproxy run`, nine tenths are the import, and tests start it hundreds of
times. A fork is a process of its own, with the arguments, variables, folder and streams it is
given; it runs `kproxy.cli.main`, and ends as that ends. What comes before, `python -m kproxy`, is
left to tests that start Python.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from io import StringIO
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TextIO

from kproxy.cli import main
from kproxy.kernel.netns import Namespace

CONTEXT = multiprocessing.get_context("forkserver")
_imported = [
    __name__,
    "multiprocessing.popen_forkserver",
    "click._textwrap",
    "difflib",
    "kproxy.cli.commands",
    "kproxy.cli.run",
    "kproxy.cli.execute",
    "kproxy.cli.servers",
    "watchfiles",
    "h11",
    "kproxy.api.yaml_documents",
    "kproxy.kernel.iptables_nft.writer",
    "importlib.metadata",
    *(f"kproxy_{mode}.backend" for mode in ("iptables", "ipvs", "nftables", "userspace")),
]
CONTEXT.set_forkserver_preload(_imported)
_libc = ctypes.CDLL(None, use_errno=True)
_CHUNK = 1 << 16


def fork_with(*modules: str) -> None:
    """Let also these modules be imported before the first fork."""
    _imported.extend(modules)
    CONTEXT.set_forkserver_preload(_imported)


def end_forking() -> None:
    """End the process that has it imported, and wait, so that its CPU time is part of ours."""
    server: Any = forkserver._forkserver
    server._stop()


class Kproxy:
    """A command that runs, with the part of subprocess.Popen that tests need."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        output: bool = False,
    ) -> None:
        """Start it in the calling thread's network namespace. `stderr` is a pipe; with `output`,
        `stdout` is one as well.
        """
        pipes = {number: os.pipe() for number in ((1, 2) if output else (2,))}
        files = [os.fdopen(reads) for reads, _ in pipes.values()]
        self.stdout: TextIO | None = files[0] if output else None
        self.stderr: TextIO = files[-1]
        try:
            streams = {number: writes for number, (_, writes) in pipes.items()}
            self._process = _started(arguments, env, cwd, streams)
        finally:
            for _, writes in pipes.values():
                os.close(writes)
        assert self._process.pid
        self.pid: int = self._process.pid

    def __enter__(self) -> Kproxy:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.stdout, self.stderr):
            if file:
                file.close()
        self.wait()

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Return the rest of its output when it has ended. Raises subprocess.TimeoutExpired."""
        assert self.stdout
        until = time.monotonic() + timeout
        files = (self.stdout, self.stderr)
        read = _read([each.fileno() for each in files], until)
        # What a file has read ahead comes first.
        stdout, stderr = (file.read() + rest for file, rest in zip(files, read, strict=True))
        self.wait(_left(until))
        return stdout, stderr

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status as subprocess does. Raises subprocess.TimeoutExpired."""
        return _ended(self._process, timeout)

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_kproxy(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout: float | None = None,
    machine: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command until it has ended, and nobody has its output any more, as subprocess does.

    It sees the files of process `machine`. Raises subprocess.TimeoutExpired, after killing it.
    """
    until = None if timeout is None else time.monotonic() + timeout
    with ExitStack() as stack:
        nothing = stack.enter_context(open(os.devnull, "rb")).fileno()
        pipes = [os.pipe() for _ in "oe"]
        for reads, _ in pipes:
            stack.callback(os.close, reads)
        try:
            streams = {0: nothing, 1: pipes[0][1], 2: pipes[1][1]}
            process = _started(arguments, env, cwd, streams, machine)
        finally:
            for _, writes in pipes:
                os.close(writes)
        try:
            stdout, stderr = _read([reads for reads, _ in pipes], until)
            status = _ended(process, _left(until))
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, status, stdout, stderr)


def _read(pipes: Sequence[int], until: float | None) -> list[str]:
    """Return what comes out of pipes until they end. Raises subprocess.TimeoutExpired."""
    found = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for each in pipes:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(_left(until))
            if not ready and _left(until) == 0:
                raise subprocess.TimeoutExpired("kproxy", 0)
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                found[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    return [StringIO(each.decode(), newline=None).read() for each in found.values()]


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


def _started(
    arguments: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None,
    streams: Mapping[int, int],
    machine: int | None = None,
) -> ForkServerProcess:
    """Start a command. `streams` says which of our descriptors become which of its own."""
    with ExitStack() as stack, Namespace.current() as namespace:
        here = stack.enter_context(Connection(os.dup(namespace.fileno())))
        passed = {
            number: stack.enter_context(Connection(os.dup(each)))
            for number, each in streams.items()
        }
        process = CONTEXT.Process(
            target=_run,
            args=(arguments, dict(env), cwd or Path.cwd(), here, passed, machine),
            daemon=True,
        )
        process.start()
        return process


def _ended(process: ForkServerProcess, timeout: float | None) -> int:
    process.join(timeout)
    if process.exitcode is None:
        raise subprocess.TimeoutExpired("kproxy", timeout or 0)
    return process.exitcode


def _run(
    arguments: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    namespace: Connection[Any, Any],
    streams: Mapping[int, Connection[Any, Any]],
    machine: int | None,
) -> None:
    for number, stream in streams.items():
        os.dup2(stream.fileno(), number)
        stream.close()
    # As a terminal starts it, whatever those who run the tests have chosen to ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_DFL)
    gc.freeze()  # else each collection would copy all that the fork shares
    os.environ.clear()
    os.environ.update(env)
    if machine is not None:
        _enter_mounts(machine)
    os.chdir(cwd)
    # What Python was started with, for commands that start themselves again.
    sys.orig_argv[1:] = ["-m", "kproxy", *arguments]
    with namespace, Namespace(os.dup(namespace.fileno()), "the test's").entered():
        main(arguments)


def _enter_mounts(process: int) -> None:
    with open(f"/proc/{process}/ns/mnt") as file:
        if _libc.setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), "cannot enter a mount namespace")
