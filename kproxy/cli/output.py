"""Standard output whose failures are errors of kproxy: a full disk is no bug."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO, cast

from kproxy.errors import Unsupported


class _Output:
    """A text stream that raises Unsupported where the other one raises OSError."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            _fail(error)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            _fail(error)


def _fail(error: OSError) -> NoReturn:
    if error.errno == errno.EPIPE:  # the reader has seen enough: click ends quietly
        raise error
    raise Unsupported(
        f"standard output: {error.strerror or error}",
        remedy="make room there, or write to another place",
    ) from None


@contextmanager
def guarded_output() -> Iterator[None]:
    """Let standard output raise Unsupported during the block; all of it is written at the end."""
    former = sys.stdout
    sys.stdout = cast(TextIO, _Output(former))
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    finally:
        sys.stdout = former
        _give_up_the_rest(former)


def _give_up_the_rest(stream: TextIO) -> None:
    """Let what cannot be written go nowhere: it would fail once more when Python exits."""
    with suppress(ValueError):  # it is closed
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
