"""Carries our standard streams to a guest and back: `Relay`. For the protocol see `guest`."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import termios
import time
import tty
from collections.abc import Iterator
from typing import Any, NamedTuple

from kproxy.errors import KernelRefused, KproxyError
from kproxy.kernel.uml.guest import ENOUGH, WINDOW, Frames, Outbox, frame

TIMED_OUT = 124  # the same as timeout(1)
_BOOT_S = 60.0
_GRACE_S = 15.0  # for a command that is told to end
_CHUNK = 1 << 14
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)


class Guest(NamedTuple):
    """Descriptors of the guest's serial line (`to_guest`, `from_guest`) and of its console."""

    to_guest: int
    from_guest: int
    console: int
    ended: int
    """A pidfd, readable when the guest has ended."""


class Relay:
    """Has the guest run a command and passes on its input and output; see `run`."""

    def __init__(self, guest: Guest, job: dict[str, Any]) -> None:
        self._guest = guest
        self._job = json.dumps(job).encode()
        self._terminal: bool = job["terminal"]
        os.set_blocking(guest.to_guest, False)
        os.set_blocking(guest.console, False)
        self._line = Outbox(guest.to_guest)
        self._outputs = {b"O": Outbox(1), b"E": Outbox(2)}
        self._console = b""
        self._ready = False
        self._welcome = WINDOW  # so many bytes may be sent now
        self._job_told = False
        self._input_open = True
        self._status: int | None = None
        self._told_to_end = 0  # the status to return then if the command does not end by itself
        self._deadline = float("inf")
        self._until_the_end = contextlib.ExitStack()

    def run(self, timeout_s: float | None) -> int:
        """Return the exit status of the command.

        Raises KernelRefused if the guest fails, KproxyError if output cannot be written.
        """
        started = time.monotonic()
        timeout = started + timeout_s if timeout_s else float("inf")
        frames = Frames()
        with self._until_the_end, _signals() as caught:
            while self._status is None or any(self._outputs.values()):
                now = time.monotonic()
                if now >= self._deadline:
                    return self._told_to_end
                if now >= timeout:
                    timeout = float("inf")
                    self._end(signal.SIGTERM, TIMED_OUT)
                if not self._ready and now - started > _BOOT_S:
                    raise KernelRefused(
                        f"the user-mode kernel did not boot in {_BOOT_S:g} s:{self._last_words()}"
                    )
                alarm = min(timeout, self._deadline, now + 1)
                readable, writable, _ = select.select(
                    [caught.fileno(), *self._reads()], self._writes(), [], max(0, alarm - now)
                )
                if caught.fileno() in readable:
                    for number in caught.recv(64):
                        self._pass_on(number)
                if self._guest.console in readable:
                    self._read_console()
                if 0 in readable:
                    self._read_input()
                if self._guest.from_guest in readable:
                    for kind, payload in frames.feed(os.read(self._guest.from_guest, 1 << 16)):
                        self._take(kind, payload)
                elif self._guest.ended in readable:
                    raise KernelRefused(f"the user-mode kernel died:{self._last_words()}")
                self._flush(set(writable))
        return TIMED_OUT if self._told_to_end == TIMED_OUT else self._status

    def _reads(self) -> list[int]:
        if self._status is not None:
            return []
        reads = [self._guest.ended, self._guest.console]
        if sum(map(len, self._outputs.values())) < ENOUGH:
            reads.append(self._guest.from_guest)
        if self._job_told and self._input_open and self._welcome and _may_read_input():
            reads.append(0)
        return reads

    def _writes(self) -> list[int]:
        boxes = (self._line, *self._outputs.values())
        return [box.descriptor for box in boxes if box]

    def _flush(self, writable: set[int]) -> None:
        for kind, box in [*self._outputs.items()]:
            if box.descriptor in writable:
                try:
                    box.flush()
                except OSError as error:
                    if error.errno not in (errno.EPIPE, errno.EIO):  # a full disk: output is lost
                        name = {1: "standard output", 2: "standard error"}[box.descriptor]
                        raise KproxyError(f"{name}: {error.strerror}") from None
                    # The reader has closed it: the command is to notice, as it would without us.
                    del self._outputs[kind]
                    self._say(b"B", kind)
        if self._line.descriptor in writable:
            self._line.flush()

    def _say(self, kind: bytes, payload: bytes = b"") -> None:
        self._line.put(frame(kind, payload))

    def _take(self, kind: bytes, payload: bytes) -> None:
        match kind:
            case b"R":
                self._ready = True
                if self._terminal:
                    self._until_the_end.enter_context(_raw_terminal())
                self._tell_job()
            case b"O" | b"E" if kind in self._outputs:
                self._outputs[kind].put(payload)
            case b"M":
                self._welcome += int(payload)
                self._tell_job()
            case b"X":
                self._status = int(payload)
            case b"F":
                reason = payload.decode(errors="replace")
                raise KernelRefused(f"the command could not be started in the guest: {reason}")

    def _tell_job(self) -> None:
        while self._welcome and not self._job_told:
            piece, self._job = self._job[: self._welcome], self._job[self._welcome :]
            self._say(b"J", piece)
            self._welcome -= len(piece)
            self._job_told = not piece

    def _read_input(self) -> None:
        try:
            data = os.read(0, self._welcome)
        except OSError:  # the terminal was closed
            data = b""
        self._say(b"I", data)
        self._welcome -= len(data)
        self._input_open = bool(data)

    def _pass_on(self, number: int) -> None:
        if number != signal.SIGWINCH:
            self._end(number, 128 + number)
        elif self._terminal:
            self._say(b"W", json.dumps(window_size()).encode())

    def _end(self, number: int, status: int) -> None:
        """Tell the command to end. No grace if it does not run yet or was told before."""
        impatient = self._told_to_end or not self._ready
        self._deadline = time.monotonic() + (0 if impatient else _GRACE_S)
        self._told_to_end = status
        self._say(b"S", str(number).encode())

    def _read_console(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._console = (self._console + os.read(self._guest.console, _CHUNK))[-_CHUNK:]

    def _last_words(self) -> str:
        self._read_console()
        lines = self._console.decode(errors="replace").splitlines()
        reasons = [line for line in lines if "Kernel panic" in line]  # a backtrace follows
        return "".join(f"\n  {line.strip()}" for line in reasons or lines[-12:] if line.strip())


def window_size() -> list[int]:
    """Return rows and columns of the terminal."""
    size = os.get_terminal_size(0)
    return [size.lines, size.columns]


def _may_read_input() -> bool:
    """Tell whether input can be read: the kernel stops a background job that reads its terminal."""
    return not os.isatty(0) or os.tcgetpgrp(0) == os.getpgrp()


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Pass every key to the command for the duration of the block, also Ctrl-C."""
    former = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(0, termios.TCSADRAIN, former)


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """Yield a socket that receives the numbers of incoming signals, one byte each."""
    reads, writes = socket.socketpair()
    with reads, writes:
        reads.setblocking(False)
        writes.setblocking(False)
        former = {
            number: signal.signal(number, lambda *_: None)
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN  # nohup
        }
        wakeup = signal.set_wakeup_fd(writes.fileno())
        try:
            yield reads
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in former.items():
                signal.signal(number, handler)
