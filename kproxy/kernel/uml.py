"""A kernel that has IPVS: the running one, or user-mode Linux, for one command.

User-mode Linux is a kernel that runs as an ordinary process. It boots in two seconds on the root
file system of the machine (hostfs), so the command finds everything where it is, and what it writes
is written. Network, namespaces, mounts and processes are its own, and end with it.
Source: kernel.org, Documentation/virt/uml/user_mode_linux_howto_v2.rst
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import queue
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kproxy.errors import BadInput, KernelRefused, KproxyError, Unsupported
from kproxy.kernel import uml_guest
from kproxy.kernel.ipvs import has_ipvs
from kproxy.kernel.uml_guest import Frames, frame

MEMORY_MIB = 2048
TIMED_OUT = 124  # as timeout(1)
_BOOT_S = 60.0
_GRACE_S = 5.0  # for a command that is told to end
_PLACES = ("/dev/shm", "/tmp", "/var/tmp")  # for the guest's memory
_CHUNK = 1 << 14


def on_uml() -> bool:
    """Whether the running kernel is user-mode Linux itself."""
    return "User Mode Linux" in Path("/proc/cpuinfo").read_text(errors="replace")


def run_on_uml(
    argv: Sequence[str],
    *,
    timeout_s: float | None = None,
    memory_mib: int = MEMORY_MIB,
    namespaces: Sequence[str] = (),
) -> int:
    """Run a command on user-mode Linux, between our standard streams, and return its exit status:
    128 + n if it was ended by signal n, 124 if it took longer than `timeout_s`.

    Working directory, environment, umask are ours; it is root there, with our rights to files.
    `namespaces`: names of empty network namespaces it finds. SIGINT and SIGTERM are passed on to
    it, and end the guest if that does not end it.
    Raises Unsupported if that cannot be done on this machine, KernelRefused if the guest dies.
    """
    program = _find_program()
    terminal = all(os.isatty(number) for number in (0, 1, 2))
    job = {
        "argv": list(argv),
        "cwd": os.getcwd(),
        "env": dict(os.environ),
        "umask": _umask(),
        "hostname": socket.gethostname(),
        "namespaces": list(namespaces),
        "terminal": terminal,
        "window": _window() if terminal else [],
    }
    with _Guest(program, memory_mib) as guest, _raw_terminal(terminal):
        return guest.serve(job, timeout_s)


class _Guest:
    """A guest that boots, and the line to it. A context manager: outside there is none."""

    def __init__(self, program: str, memory_mib: int) -> None:
        self._outbox: queue.Queue[bytes] = queue.Queue(64)
        self._console: deque[bytes] = deque(maxlen=12)
        self._ended_by = 0  # the signal we were told to end by
        ours, theirs = os.pipe(), os.pipe()  # to the guest, from the guest
        self._to_guest, self._from_guest = ours[1], theirs[0]
        self._process = subprocess.Popen(
            _command(program, memory_mib, ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(ours[0], theirs[1]),
            env={**os.environ, "TMPDIR": _place_for(memory_mib)},
        )
        os.close(ours[0])
        os.close(theirs[1])

    def __enter__(self) -> _Guest:
        for task in (self._write, self._read_console):
            threading.Thread(target=task, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """It ends by SIGTERM; what it started is in its process group, whatever happened to it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        os.close(self._from_guest)
        assert self._process.stdout
        self._process.stdout.close()

    def say(self, kind: bytes, payload: bytes = b"") -> None:
        self._outbox.put(frame(kind, payload))

    def serve(self, job: dict[str, Any], timeout_s: float | None) -> int:
        """Run the command and pass on what goes in and out. Returns its exit status."""
        terminal = job["terminal"]
        started = time.monotonic()
        deadline = started + timeout_s if timeout_s else float("inf")
        ready = False
        frames = Frames()
        with _signals() as caught, selectors.DefaultSelector() as selector:
            selector.register(self._from_guest, selectors.EVENT_READ)
            selector.register(caught, selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                if now >= deadline:
                    if self._ended_by:
                        return 128 + self._ended_by
                    return TIMED_OUT
                if not ready and now - started > _BOOT_S:
                    raise KernelRefused(f"the user-mode kernel does not start:{self._last_words()}")
                for key, _ in selector.select(min(deadline - now, 1.0)):
                    if key.fileobj is caught:
                        deadline = min(deadline, self._pass_on(caught.recv(64), terminal, now))
                        continue
                    data = os.read(self._from_guest, 1 << 16)
                    if not data:
                        raise KernelRefused(f"the user-mode kernel died:{self._last_words()}")
                    for kind, payload in frames.feed(data):
                        if kind == b"X":
                            return int(payload)
                        if kind == b"R":
                            ready = True
                            self.say(b"J", json.dumps(job).encode())
                            threading.Thread(
                                target=self._feed, args=(terminal,), daemon=True
                            ).start()
                        self._take(kind, payload)

    def _take(self, kind: bytes, payload: bytes) -> None:
        match kind:
            case b"O":
                _write_all(1, payload)
            case b"E":
                _write_all(2, payload)
            case b"F":
                reason = payload.decode(errors="replace")
                raise KernelRefused(f"the command could not be started in the guest: {reason}")

    def _pass_on(self, numbers: bytes, terminal: bool, now: float) -> float:
        """When it is enough, after these signals."""
        deadline = float("inf")
        for number in numbers:
            if number == signal.SIGWINCH:
                if terminal:
                    self.say(b"W", json.dumps(_window()).encode())
                continue
            # A second one is impatience.
            deadline = now if self._ended_by else now + _GRACE_S
            self._ended_by = number
            self.say(b"S", str(number).encode())
        return deadline

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # the guest is gone
            while True:
                _write_all(self._to_guest, self._outbox.get())

    def _feed(self, terminal: bool) -> None:
        """Standard input, unless it is a terminal that the command does not get as such."""
        if terminal or not os.isatty(0):
            with contextlib.suppress(OSError):
                while data := os.read(0, _CHUNK):
                    self.say(b"I", data)
        self.say(b"I")

    def _read_console(self) -> None:
        assert self._process.stdout
        with contextlib.suppress(OSError, ValueError):
            self._console.extend(self._process.stdout)

    def _last_words(self) -> str:
        time.sleep(0.2)  # the thread that reads them may be behind
        lines = [line.decode(errors="replace").strip() for line in self._console]
        return "".join(f"\n  {line}" for line in lines if line)


def _find_program() -> str:
    if platform.machine() != "x86_64":
        raise Unsupported(
            f"user-mode Linux is for x86-64, and this machine is {platform.machine()}",
            remedy="boot a kernel that has ip_vs",
        )
    program = shutil.which("linux.uml")
    if not program:
        raise Unsupported(
            "user-mode Linux (linux.uml) is not installed",
            remedy="apt-get install user-mode-linux",
        )
    return program


def _command(program: str, memory_mib: int, reads: int, writes: int) -> list[str]:
    """With our death the guest gets SIGTERM, at which it ends all of its processes."""
    guest, python = Path(uml_guest.__file__).resolve(), Path(sys.executable).absolute()
    if len(f"{guest}{python}".split()) > 1:
        raise Unsupported(
            f"user-mode Linux does not start from a folder with a blank in its name: {guest}",
            remedy="install kproxy elsewhere",
        )
    return [
        *("setpriv", "--pdeathsig", "TERM", program),
        f"mem={memory_mib}M",
        *("rootfstype=hostfs", "root=/dev/root", "rootflags=/", "rw"),
        *("con=null", "con0=null", "ssl=null", f"ssl0=fd:{reads},fd:{writes}"),
        "loglevel=0",  # but a panic is told in any case
        f"init={python}",
        *("--", "-I", "-S", str(guest)),
    ]


def _place_for(memory_mib: int) -> str:
    """A folder for the file that is the guest's memory: it is mapped as code, too."""
    wanted = memory_mib << 20
    for place in dict.fromkeys(("/dev/shm", os.environ.get("TMPDIR", "/tmp"), *_PLACES)):
        with contextlib.suppress(OSError):
            volume = os.statvfs(place)
            room = volume.f_bavail * volume.f_frsize
            if room >= wanted and not volume.f_flag & os.ST_NOEXEC and os.access(place, os.W_OK):
                return place
    raise Unsupported(
        f"no folder with {memory_mib} MiB of room, mounted with exec, for the guest's memory",
        remedy=f"make room in one of {', '.join(_PLACES)}, or set TMPDIR",
    )


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that tells the numbers of the signals that come in, one byte each."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
    reads, writes = socket.socketpair()
    reads.setblocking(False)
    writes.setblocking(False)
    former = {number: signal.signal(number, lambda *_: None) for number in numbers}
    wakeup = signal.set_wakeup_fd(writes.fileno())
    try:
        yield reads
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in former.items():
            signal.signal(number, handler)
        reads.close()
        writes.close()


@contextlib.contextmanager
def _raw_terminal(terminal: bool) -> Iterator[None]:
    """Every key goes to the command, also Ctrl-C."""
    if not terminal:
        yield
        return
    former = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, former)


def _window() -> list[int]:
    size = os.get_terminal_size(0)
    return [size.lines, size.columns]


def _umask() -> int:
    """There is no way to ask but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def main() -> None:
    """`python -m kproxy.kernel.uml COMMAND...`; 125: the command could not be started."""
    options = _parser().parse_args()
    argv: list[str] = options.command
    try:
        if options.kernel == "auto" and has_ipvs():
            if options.timeout:
                argv = ["timeout", "--foreground", f"{options.timeout:g}", *argv]
            try:
                os.execvp(argv[0], argv)
            except OSError as error:
                raise BadInput([f"{argv[0]}: {error.strerror}"]) from None
        status = run_on_uml(argv, timeout_s=options.timeout, memory_mib=options.memory)
    except KproxyError as error:
        sys.stderr.write(f"ipvs-kernel: {error}\n")
        if error.remedy:
            sys.stderr.write(f"  try: {error.remedy}\n")
        status = 125
    if status == TIMED_OUT and options.timeout:
        sys.stderr.write(f"ipvs-kernel: not done after {options.timeout:g} s\n")
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ipvs-kernel",
        usage="%(prog)s [OPTION...] COMMAND...",
        description="Run a command on a kernel that has IPVS: on the running one if it has, "
        "else on user-mode Linux, on the same files. Needs root to make namespaces there.",
        epilog="examples:\n"
        "  ipvs-kernel ipvsadm -Ln\n"
        "  ipvs-kernel kproxy bench sync --mode ipvs\n"
        "  ipvs-kernel --timeout 600 pytest -m ipvs\n"
        "  ipvs-kernel bash\n\n"
        "The exit status is the command's; 124: it took too long; 125: there is no such kernel.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="end it after that time")
    parser.add_argument(
        "--memory",
        type=int,
        default=MEMORY_MIB,
        metavar="MIB",
        help="of a user-mode kernel (default %(default)s)",
    )
    parser.add_argument(
        "--kernel",
        choices=("auto", "uml"),
        default="auto",
        help="uml: user-mode Linux in any case",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser


if __name__ == "__main__":
    main()
