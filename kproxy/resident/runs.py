"""The places of labs that a demo, a matrix, a scenario or a test has for itself, while it runs."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from kproxy.lab import Lab
from kproxy.lab.leftovers import started_at
from kproxy.resident import cleaning, places
from kproxy.resident.records import RUN, Record, write_record

_LONGEST = 40  # of a place's 63 characters; the rest is for the process and the number


def claim_next(prefix: str) -> places.Claim:
    """Claim `prefix-1`, or the next number that is free; what a dead lab has left there is gone.

    Raises BadInput for what can be no name, Unsupported if there can be no place.
    """
    number = 1
    while (place := places.claim(f"{prefix}-{number}")) is None:
        number += 1
    cleaning.end_processes(place.path)
    place.empty()
    return place


def claim_for_run(lab: Lab, mark: str, undo: ExitStack) -> places.Claim:
    """Claim a place for a lab of this process, which may have several; `undo` removes it.

    `mark` is in the environment of the processes that the lab starts. If this process is killed,
    `kproxy clean` finds the place. Raises Unsupported if there can be none.
    """
    place = claim_next(f"{lab.spec.name[:_LONGEST]}-{os.getpid()}")
    undo.callback(place.remove)
    record = Record(
        name=place.name,
        id=mark,
        pid=os.getpid(),
        started=started_at(os.getpid()),
        source=RUN,
        created=time.time(),
        place=str(place.path),
    )
    write_record(place.path, record)
    return place
