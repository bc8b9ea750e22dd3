"""Signals end a command with its lab, and the status says which."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupted(KeyboardInterrupt):
    """A signal of that number has come."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def removing_the_lab() -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP end the block, and then exit with 128 and its number.

    A second one kills the process: what it has built is anonymous and ends with it. Signals that
    are ignored from the start stay so (nohup).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in _NUMBERS}
    caught = [number for number in _NUMBERS if former[number] is not signal.SIG_IGN]

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for each in caught:
            signal.signal(each, signal.SIG_DFL)
        raise _Interrupted(number)

    for number in caught:
        signal.signal(number, end)
    try:
        yield
    except _Interrupted as interrupted:
        click.echo("\nthe lab is gone", err=True)
        sys.stdout.flush()
        # Not by an exception: threads that measure elsewhere would be waited for.
        os._exit(128 + interrupted.number)
    finally:
        for number in caught:
            signal.signal(number, former[number])
