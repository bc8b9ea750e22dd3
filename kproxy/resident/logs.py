"""The log of a lab: a file that every process of the lab appends to, and that does not grow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

LOG = "log"  # of a lab, in its place
MOST_BYTES = 1 << 20
_KEPT_BYTES = MOST_BYTES // 2
_CHUNK = 1 << 16
_LOOK_AGAIN_S = 0.2


def open_log(path: Path) -> int:
    """Return a descriptor that appends to a file, which only its owner may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def trim(path: Path) -> None:
    """Leave only the end of a log that has grown beyond `MOST_BYTES`, from a whole line on.

    It stays the same file, because others have it open. What they write meanwhile may be lost.
    """
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size <= MOST_BYTES:
            return
        file.seek(size - _KEPT_BYTES)
        kept = file.read(_KEPT_BYTES).partition(b"\n")[2]
        file.truncate(0)
        file.seek(0)
        file.write(kept)


def last_lines(path: Path, count: int | None) -> tuple[bytes, int]:
    """Return the last `count` lines of a log, or all with None, and where the log ended then."""
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    wanted = lines if count is None else lines[len(lines) - min(count, len(lines)) :]
    return b"".join(wanted), len(text)


def follow(path: Path, position: int) -> Iterator[bytes]:
    """Yield what is appended to a log after `position`, until the log is removed."""
    with open(path, "rb") as file:
        while True:
            if os.fstat(file.fileno()).st_size < position:  # it was trimmed
                position = 0
            file.seek(position)
            while data := file.read(_CHUNK):
                position += len(data)
                yield data
            if not os.fstat(file.fileno()).st_nlink:
                return
            time.sleep(_LOOK_AGAIN_S)
