"""The leftovers of dead labs: found first, removed when somebody has seen the list.

A lab is dead if its place is not locked. Its processes have its id in their environment, so they
are known for certain, whatever their name or parent. Everything else of a lab ends with it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from kproxy.lab import leftovers
from kproxy.resident import places
from kproxy.resident.records import MARK, read_record


class Process(Struct, frozen=True):
    """A process of a dead lab."""

    pid: int
    command: str


class Dead(Struct, frozen=True):
    """A dead lab: its place, and the processes that it has left."""

    name: str
    place: Path
    processes: tuple[Process, ...]


class Leftovers(Struct, frozen=True):
    """All that dead labs have left. `namespaces`: names under /run/netns."""

    labs: tuple[Dead, ...]
    namespaces: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.labs or self.namespaces)


def find() -> Leftovers:
    """Return what there is to remove. Nothing changes."""
    return Leftovers(tuple(_dead_labs()), tuple(leftovers.find()))


def remove(names: Iterable[str] | None = None) -> Leftovers:
    """Remove what dead labs have left, of these names or all, and return it.

    Living labs are not touched.
    """
    removed = []
    for name in places.names() if names is None else names:
        place = places.claim_dead(name)
        if place is None:
            continue
        dead = _dead(name, place.path)
        end_processes(place.path)
        place.remove()
        removed.append(dead)
    return Leftovers(tuple(removed), tuple(leftovers.sweep()))


def end_processes(place: Path) -> None:
    """Kill the processes that the lab of a place has started and that still run."""
    record = read_record(place)
    if record:
        end_marked(record.id)


def end_marked(mark: str) -> None:
    """Kill the processes with the id of a lab in their environment, but our own."""
    while found := [*_processes(mark)]:
        for each in found:
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(each.pid)
                try:
                    if _has_mark(each.pid, mark):  # it is not another one of that pid now
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                finally:
                    os.close(pidfd)


def _dead_labs() -> Iterator[Dead]:
    for name in places.names():
        if not places.is_living(name):
            yield _dead(name, places.place_of(name))


def _dead(name: str, place: Path) -> Dead:
    record = read_record(place)
    return Dead(name, place, tuple(_processes(record.id)) if record else ())


def _processes(mark: str) -> Iterator[Process]:
    """Yield the processes with this id in their environment, but our own."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and _has_mark(int(entry), mark):
            with suppress(OSError):
                words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
                yield Process(int(entry), b" ".join(words).decode(errors="replace").strip())


def _has_mark(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or belongs to another user
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")
