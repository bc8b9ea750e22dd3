"""A command on a host of a lab that is in another kernel: its streams go over the control socket.

After the answer to the request `run`, both ends send frames, as `kproxy.kernel.uml.guest` has them:

    to the lab      B  begin, the first frame               W  size of the terminal: rows, columns
                    I  standard input; empty at its end
    to the caller   O  standard output    E  standard error    X  exit status, the last frame
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from kproxy.errors import Unreachable
from kproxy.kernel.uml.guest import Frames, frame
from kproxy.lab.pods.commands import Command
from kproxy.resident.control import converse

_CHUNK = 1 << 14


class Server:
    """Carries the streams of a command until it has ended, or the caller has gone."""

    def __init__(self, connection: socket.socket, command: Command) -> None:
        self._connection, self._command = connection, command
        self._frames = Frames()
        self._input = bytearray()
        self._input_ends = False
        self._outputs = {command.stdout: b"O"}
        if command.stderr >= 0:
            self._outputs[command.stderr] = b"E"

    def serve(self) -> None:
        """Return when that has happened; the command is closed."""
        try:
            self._hear()
            with selectors.DefaultSelector() as selector:
                selector.register(self._connection, selectors.EVENT_READ)
                for output in self._outputs:
                    selector.register(output, selectors.EVENT_READ)
                while self._outputs:
                    self._serve(selector)
            self._connection.sendall(frame(b"X", str(self._command.status()).encode()))
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._command.close()

    def _serve(self, selector: selectors.BaseSelector) -> None:
        if self._input and self._command.stdin not in selector.get_map():
            selector.register(self._command.stdin, selectors.EVENT_WRITE)
        for key, _ in selector.select():
            if key.fileobj is self._connection:
                self._hear()
            elif key.events == selectors.EVENT_WRITE:
                self._feed()
                if not self._input:
                    selector.unregister(key.fd)
            elif data := _read(key.fd):
                self._connection.sendall(frame(self._outputs[key.fd], data))
            else:
                selector.unregister(key.fd)
                del self._outputs[key.fd]
        if self._input_ends and not self._input:
            self._command.close_stdin()

    def _hear(self) -> None:
        data = self._connection.recv(_CHUNK)
        if not data:
            raise ConnectionResetError
        for kind, payload in self._frames.feed(data):
            match kind:
                case b"W":
                    rows, columns = json.loads(payload)
                    self._command.resize(columns, rows)
                case b"I":
                    self._input += payload
                    self._input_ends = not payload

    def _feed(self) -> None:
        try:
            del self._input[: os.write(self._command.stdin, self._input)]
        except BlockingIOError:
            return
        except OSError:  # the command reads no more
            self._input.clear()


def run(place: Path, host: str, argv: Sequence[str]) -> int:
    """Run a command on a host of the lab at `place`, between our standard streams; a shell without
    one. Returns its exit status. Raises BadInput if there is no such host, Unreachable.
    """
    on_terminal = all(os.isatty(number) for number in (0, 1, 2))
    request = {
        "do": "run",
        "host": host,
        "argv": list(argv) or ["sh", "-i"],
        "tty": on_terminal,
        "term": os.environ.get("TERM", "dumb"),
    }
    with converse(place, request) as connection:
        connection.settimeout(None)
        sending = threading.Lock()

        def send(kind: bytes, payload: bytes) -> None:
            with suppress(OSError), sending:  # the command has ended
                connection.sendall(frame(kind, payload))

        def send_size() -> None:
            size = os.get_terminal_size(0)
            send(b"W", json.dumps([size.lines, size.columns]).encode())

        def pump() -> None:
            with suppress(OSError):  # the terminal was closed
                while data := os.read(0, _CHUNK):
                    send(b"I", data)
            send(b"I", b"")

        send(b"B", b"")
        # Nobody waits for it: it may be reading for ever.
        threading.Thread(target=pump, name="kproxy-stdin", daemon=True).start()
        with _raw() if on_terminal else nullcontext():
            if on_terminal:
                signal.signal(signal.SIGWINCH, lambda *_: send_size())
                send_size()
            return _receive(connection)


def _receive(connection: socket.socket) -> int:
    """Write what comes, and return the exit status."""
    frames = Frames()
    while data := connection.recv(_CHUNK):
        for kind, payload in frames.feed(data):
            if kind == b"X":
                return int(payload)
            view = memoryview(payload)
            while view:
                view = view[os.write(1 if kind == b"O" else 2, view) :]
    raise Unreachable("the lab has ended")


def _read(descriptor: int) -> bytes:
    """Return what there is; nothing at the end, which of a terminal is an error."""
    try:
        return os.read(descriptor, _CHUNK)
    except OSError:
        return b""


@contextmanager
def _raw() -> Iterator[None]:
    """Pass every key on, also Ctrl-C, for the duration of the block."""
    former = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, former)
