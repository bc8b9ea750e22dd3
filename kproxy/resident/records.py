"""A lab's place says what the lab is: `Record`, written once by the lab's process."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec import DecodeError, Struct
from msgspec import json as msgspec_json

from kproxy.lab.leftovers import started_at
from kproxy.resident.orders import Order
from kproxy.resident.places import write_private
from kproxy.typed import decoded

RECORD = "lab.json"
SOCKET = "socket"
TOKEN = "token"
AUTHORITY = "ca.crt"
KUBECONFIG = "kubeconfig"
INSIDE = "kubeconfig-inside"  # for the lab's own hosts
PAGE = "page"  # where the lab's page was served last, and its token
RUN = "run"  # the source of a lab that a demo, a matrix or a scenario has for itself
MARK = "KPROXY_LAB_ID"  # in the environment of every process that a lab starts


class Record(Struct, frozen=True, kw_only=True):
    """A lab as it was started.

    `id` is another one for each start; processes that the lab starts have it in their environment.
    `pid` is that of the lab's process, `started` its start in clock ticks since boot. `created` is
    in seconds since 1970. What may change later, such as its mode, is asked of the lab.
    """

    name: str
    id: str
    pid: int
    started: int
    source: str
    created: float
    place: str  # as its owner finds it


def new_record(order: Order, *, pid: int, mark: str, place: str) -> Record:
    """Return the record of a lab that starts now."""
    return Record(
        name=order.spec.name,
        id=mark,
        pid=pid,
        started=started_at(pid),
        source=order.source,
        created=time.time(),
        place=place,
    )


def write_record(place: Path, record: Record) -> None:
    write_private(place / RECORD, msgspec_json.encode(record).decode())


def read_record(place: Path) -> Record | None:
    """Return the record of a place; None if there is none that can be read."""
    try:
        return decoded((place / RECORD).read_bytes(), Record)
    except (OSError, DecodeError):
        return None
