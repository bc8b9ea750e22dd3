"""Records of the names that labs published, so that the next lab removes those of killed labs.

A record is written to /run/kproxy/labs/<pid>-<lab>.json before the first name is published. Its
process is dead if the pid does not exist or belongs to a process started at another time. Only
names that still stand for the recorded namespaces are removed: all else under /run/netns is not
ours. The resolv.conf of a name (`kproxy.lab.netns_files`) is removed with the name. Anonymous
namespaces need none of this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import DecodeError, Struct
from msgspec import json as msgspec_json

from kproxy.errors import BadInput
from kproxy.kernel import netns
from kproxy.kernel.netns import Namespace
from kproxy.lab import netns_files
from kproxy.typed import decoded

RECORDS = Path("/run/kproxy/labs")


class Record(Struct, frozen=True, kw_only=True):
    """The published names of one lab: `namespaces` is name -> inode, `cookies` name -> cookie.

    An inode's number is soon that of another namespace, perhaps of the same name.

    `started` is the start of its process, in clock ticks since boot. `pid_namespace` is where the
    pid is valid: the labs of another container cannot be checked from here.
    """

    pid: int
    started: int
    pid_namespace: str
    namespaces: Mapping[str, int]
    cookies: Mapping[str, int] = {}


def record(lab: str, namespaces: Mapping[str, Namespace]) -> Path:
    """Record that this process is about to publish these names; return the file, for `forget`."""
    path = RECORDS / f"{os.getpid()}-{lab}.json"
    own = Record(
        pid=os.getpid(),
        started=started_at(os.getpid()),
        pid_namespace=_pid_namespace(),
        namespaces={name: each.inode for name, each in namespaces.items()},
        cookies={name: each.cookie for name, each in namespaces.items()},
    )
    unfinished = path.with_suffix(".part")
    while True:
        try:
            RECORDS.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(msgspec_json.encode(own))
            break
        except FileNotFoundError:  # another lab ended and removed the empty folder
            continue
    unfinished.rename(path)
    return path


def forget(path: Path) -> None:
    """Remove the record of names that were removed, and its folders if they are empty."""
    path.unlink(missing_ok=True)
    for folder in (RECORDS, RECORDS.parent):
        try:
            folder.rmdir()
        except OSError:  # not empty
            return


def find() -> list[str]:
    """Return the names that dead labs left under /run/netns. Nothing changes."""
    return [name for _, found in _dead() for name in found.namespaces if _is_leftover(name, found)]


def sweep() -> list[str]:
    """Remove the names that dead labs left under /run/netns, and return them."""
    removed: list[str] = []
    for path, found in _dead():
        for name in found.namespaces:
            is_leftover = _is_leftover(name, found)
            if is_leftover or not (netns.RUN_DIR / name).exists():
                netns_files.remove_resolv_conf(name)
            if is_leftover:
                netns.remove_published(name)
                removed.append(name)
        forget(path)
    return removed


def started_at(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # Field 22; the second, the name in parentheses, may hold spaces and parentheses.
    return int(text.rpartition(")")[2].split()[19])


def _dead() -> Iterator[tuple[Path, Record]]:
    """Yield the records of labs whose process has ended."""
    for path in _records():
        try:
            if path.stat().st_uid != os.geteuid():  # of a user whose names are not ours to remove
                continue
            found = decoded(path.read_bytes(), Record)
        except FileNotFoundError:  # another process was quicker
            continue
        except DecodeError:  # not written by us
            continue
        if found.pid_namespace == _pid_namespace() and started_at(found.pid) != found.started:
            yield path, found


def _records() -> list[Path]:
    try:
        return sorted(path for path in RECORDS.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return []


def _is_leftover(name: str, found: Record) -> bool:
    """Tell whether a name is that of the recorded namespace, or the file of a publication or a
    removal that was interrupted.
    """
    try:
        status = (netns.RUN_DIR / name).stat()
    except FileNotFoundError:
        return False
    if status.st_dev != os.stat("/proc/self/ns/net").st_dev:
        return netns.is_unmounted(status)
    if status.st_ino != found.namespaces[name]:
        return False
    try:
        with Namespace.open(name) as there:
            return found.cookies.get(name, 0) in (0, there.cookie)
    except BadInput:  # it has gone meanwhile
        return False


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
