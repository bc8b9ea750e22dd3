"""The process of a lab: forked by `kproxy up`, which waits until the lab is ready.

What the process has to say until then goes through a pipe, as one line of JSON: the lab's status,
or the error that ended it. If nobody reads it any more, `up` was interrupted: the lab ends as well.
So a lab stays only if somebody was told of it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from secrets import token_hex
from typing import Any, NoReturn

from kproxy.errors import BadInput, KproxyError
from kproxy.garbage import keep_for_good
from kproxy.proxy.control_loop import DRIFT_INTERVAL_S
from kproxy.resident.logs import LOG, last_lines, open_log
from kproxy.resident.orders import Order
from kproxy.resident.places import Claim
from kproxy.resident.records import new_record, write_record

_LAST_WORDS = 12  # lines
# Threads of a lab take turns: a request should not wait 5 ms, Python's default, for each of the
# proxies that plan at the same time.
_SWITCH_S = 0.0005

log = logging.getLogger("kproxy")


def start(place: Claim, order: Order) -> dict[str, Any]:
    """Start a lab in its place, in a process of its own, and return its status once it is ready.

    The place is given up, or removed if there is no lab. Raises what the lab raises, KproxyError if
    its process ends without a word. No other thread may run.
    """
    reads, writes = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if not process:
        _live(place, order, writes)
    os.close(writes)
    with open(reads, "rb") as pipe:
        told = pipe.read()
    if not told:  # it was killed
        os.waitpid(process, 0)
        said = _last_words(place)
        place.remove()
        raise KproxyError(f"the lab's process has ended while it was starting\n{said}".rstrip())
    values: dict[str, Any] = json.loads(told)
    if "ready" in values:
        place.close()
        return dict(values["ready"])
    os.waitpid(process, 0)
    if "problems" in values:
        raise BadInput(values["problems"], remedy=values["remedy"])
    raise KproxyError(values["error"], remedy=values["remedy"])


def _live(place: Claim, order: Order, writes: int) -> NoReturn:
    """Be the process of the lab, to its end."""
    status, pipe = 1, _Pipe(writes)
    try:
        sys.setswitchinterval(_SWITCH_S)
        keep_for_good()  # a fifth of the time of a write would go to looking for cycles
        os.setsid()
        _leave_the_caller(place, {place.fileno(), writes})
        status = _run(place, order, pipe)
    except Exception as error:
        log.exception("the lab has failed")
        # There is no log on a full disk.
        said = _last_words(place) or f"{type(error).__name__}: {error}"
        place.remove()  # before it is told: then nothing is left
        pipe.tell({"error": said, "remedy": ""})
    finally:
        place.remove()
        logging.shutdown()
        os._exit(status)


def _run(place: Claim, order: Order, pipe: _Pipe) -> int:
    from kproxy.resident.guest import GuestResidence
    from kproxy.resident.residence import Residence

    kind = GuestResidence if order.uml else Residence
    record = new_record(order, pid=os.getpid(), mark=token_hex(16), place=str(place.path))
    try:
        write_record(place.path, record)
        with kind(order, place, record) as residence:
            signal.signal(signal.SIGTERM, lambda *_: residence.stop())
            log.info("lab %s is up", place.name)
            keep_for_good()
            if pipe.tell({"ready": residence.status()}):
                residence.run(DRIFT_INTERVAL_S)
    except KproxyError as error:
        log.error("%s", error)
        place.remove()  # before it is told: then nothing is left
        said: dict[str, Any] = {"remedy": error.remedy}
        if isinstance(error, BadInput):
            said["problems"] = error.problems
        else:
            said["error"] = str(error)
        pipe.tell(said)
        return 1
    return 0


def _last_words(place: Claim) -> str:
    """Return the end of the lab's log."""
    with suppress(FileNotFoundError):
        return last_lines(place.path / LOG, _LAST_WORDS)[0].decode(errors="replace")
    return ""


class _Pipe:
    """The way to `up`, which waits for one word."""

    def __init__(self, writes: int) -> None:
        self._writes: int | None = writes

    def tell(self, values: dict[str, Any]) -> bool:
        """Tell `up`; return whether it has heard it. Nothing is told after the first word."""
        writes, self._writes = self._writes, None
        if writes is None:
            return False
        try:
            with open(writes, "wb") as pipe:
                pipe.write(json.dumps(values).encode())
        except BrokenPipeError:  # it was interrupted
            return False
        return True


def _leave_the_caller(place: Claim, kept: Iterable[int]) -> None:
    """Leave terminal, folder, descriptors and signals of the process that has forked us."""
    logged, nothing = open_log(place.path / LOG), os.open(os.devnull, os.O_RDONLY)
    for number, source in ((0, nothing), (1, logged), (2, logged)):
        os.dup2(source, number)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number not in kept:
            with suppress(OSError):  # that of the listing
                os.close(number)
    os.chdir("/")
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What the command has put over the streams would write where it wanted.
    sys.stdin, sys.stdout, sys.stderr = map(os.fdopen, (0, 1, 2), "rww")
