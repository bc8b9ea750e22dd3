"""The API's view of who runs the pods. Its methods may wait, so they are called in threads."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from kproxy.controlplane.plane import Json
from kproxy.store import ObjectKey


class Process(Protocol):
    """A running command. Descriptors do not block, and are -1 for streams that were not wanted.

    With a terminal, `stdin` and `stdout` are that.
    """

    stdin: int
    stdout: int
    stderr: int

    def fileno(self) -> int:
        """Return a descriptor that can be read as soon as the command has ended."""

    def status(self) -> int:
        """Return its exit status, once it has ended: 0 to 255."""

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal."""

    def close_stdin(self) -> None:
        """Let it read the end of its input."""

    def close(self) -> None:
        """Give up the streams, and kill it unless its status was asked for."""


class Line(Protocol):
    """A line of a log."""

    @property
    def time_ns(self) -> int:
        """Since 1970."""

    @property
    def text(self) -> str:
        """The line, without its end."""


class PodAccess(Protocol):
    """Access to running pods. Any method may be called from any thread, and raise KproxyError."""

    def document(self, pod: ObjectKey) -> Json | None:
        """Return a Pod as it is stored; None if there is none. Does not wait."""

    def start(
        self,
        pod: ObjectKey,
        container: str,
        argv: Sequence[str],
        *,
        stdin: bool,
        stderr: bool,
        tty: bool,
    ) -> Process:
        """Start a command in a pod."""

    def connect(self, pod: ObjectKey, port: int) -> socket.socket:
        """Return a connection that does not block to a TCP port of a pod. Raises OSError, too."""

    def log(self, pod: ObjectKey) -> Sequence[Line]:
        """Return the last lines of a pod's log, the oldest first."""

    def follow_log(self, pod: ObjectKey, listener: Callable[[Line | None], None]) -> Sequence[Line]:
        """Return the last lines, and call `listener` with each later one, in some thread; with None
        when the pod ends.
        """

    def leave_log(self, pod: ObjectKey, listener: Callable[[Line | None], None]) -> None:
        """Undo `follow_log`."""
