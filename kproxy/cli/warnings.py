"""Warnings of the log, printed like progress by commands whose result is a report."""

from __future__ import annotations

import logging

from kproxy.cli.progress import say


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {record.getMessage()}")


def say_warnings(*, of_objects: bool = True) -> None:
    """Print kproxy's warnings like progress, from now on.

    `of_objects`: also those in `Lab.warnings`, which some reports show themselves.
    """
    log = logging.getLogger("kproxy")
    if not any(isinstance(each, _Said) for each in log.handlers):
        said = _Said(level=logging.WARNING)
        said.addFilter(lambda record: of_objects or record.name != "kproxy.warnings")
        log.addHandler(said)
