"""The log of `run`: lines on standard error, for people (text) or for programs (json).

| -v | what is logged |
| --- | --- |
| 0 | start and end, each sync that wrote something, repairs, warnings, errors |
| 1 and more | also how long each family's sync took, and where a program had to be run, and why |
| 4 and more | also each check for changes by other processes |

A line of JSON has the keys of kube-proxy's: `ts` (milliseconds since 1970), `caller`, `msg`, `v`
(of what is no error), and `err` (if there was an exception); and `level`, because there a warning
looks like any other message. Libraries log warnings and errors only, at any verbosity: what they
tell of requests may hold secrets.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kproxy
from kproxy.errors import BadInput, KproxyError
from kproxy.proxy.control_loop import CHECKS

_FOLDER = f"{Path(kproxy.__file__).parent}/"

log = logging.getLogger("kproxy")


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str | int | float] = {
            "ts": round(record.created * 1000, 3),
            "level": record.levelname.lower(),
            "caller": f"{record.pathname.removeprefix(_FOLDER)}:{record.lineno}",
            "msg": record.getMessage(),
        }
        if record.levelno < logging.ERROR:
            line["v"] = _verbosity(record.levelno)
        if record.exc_info and record.exc_info[1] is not None:
            line["err"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(verbosity: int, form: str) -> None:
    """Begin to log. `form`: text or json."""
    logging.addLevelName(CHECKS, "DEBUG")
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines()
        if form == "json"
        else logging.Formatter(
            "%(asctime)s.%(msecs)03d %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)  # for libraries
    set_verbosity(verbosity)


def set_verbosity(verbosity: int) -> None:
    """Change what is logged from now on."""
    log.setLevel(_level(verbosity))


@contextmanager
def ending_in_the_log() -> Iterator[None]:
    """Log an error that ends the command if the log is JSON, so that programs can read it as well.

    Else it is left to the caller, for people.
    """
    try:
        yield
    except KproxyError as error:
        if not any(isinstance(each.formatter, JsonLines) for each in logging.getLogger().handlers):
            raise
        remedy = f" (try: {error.remedy})" if error.remedy else ""
        log.error("%s%s", "; ".join(str(error).splitlines()), remedy)
        sys.exit(2 if isinstance(error, BadInput) else 1)


def _level(verbosity: int) -> int:
    if verbosity >= 4:
        return CHECKS
    return logging.DEBUG if verbosity > 0 else logging.INFO


def _verbosity(level: int) -> int:
    if level >= logging.INFO:
        return 0
    return 1 if level >= logging.DEBUG else 4
