"""Records of the names that labs published, so that the next lab removes those of killed labs.

A record is written to /run/kproxy/labs/<pid>-<lab>.json before the first name is published. Its
process is dead if the pid does not exist or belongs to a process started at another time. Only
names that still stand for the recorded namespaces are removed: all else under /run/netns is not
ours. The resolv.conf of a name (`kproxy.lab.netns_files`) is removed with the name. Anonymous
namespaces need none of this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import DecodeError, Struct
from msgspec import json as msgspec_json

from kproxy.kernel import netns
from kproxy.lab import netns_files

RECORDS = Path("/run/kproxy/labs")


class Record(Struct, frozen=True, kw_only=True):
    """The published names of one lab: `namespaces` is name -> inode.

    `started` is the start of its process, in clock ticks since boot. `pid_namespace` is where the
    pid is valid: the labs of another container cannot be checked from here.
    """

    pid: int
    started: int
    pid_namespace: str
    namespaces: Mapping[str, int]


def record(lab: str, namespaces: Mapping[str, int]) -> Path:
    """Record that this process is about to publish these names; return the file, for `forget`."""
    path = RECORDS / f"{os.getpid()}-{lab}.json"
    own = Record(
        pid=os.getpid(),
        started=_started(os.getpid()),
        pid_namespace=_pid_namespace(),
        namespaces=namespaces,
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


def sweep() -> list[str]:
    """Remove the names that dead labs left under /run/netns, and return them."""
    removed: list[str] = []
    for path in _records():
        try:
            found = msgspec_json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:  # another process was quicker
            continue
        except DecodeError:  # not written by us
            continue
        if found.pid_namespace != _pid_namespace() or _started(found.pid) == found.started:
            continue
        for name, inode in found.namespaces.items():
            published = netns.RUN_DIR / name
            is_leftover = _is_leftover(published, inode)
            if is_leftover or not published.exists():
                netns_files.remove_resolv_conf(name)
            if is_leftover:
                netns.remove_published(name)
                removed.append(name)
        forget(path)
    return removed


def _records() -> list[Path]:
    try:
        return sorted(path for path in RECORDS.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return []


def _is_leftover(path: Path, inode: int) -> bool:
    """Tell whether a path is the recorded namespace, or the file of a publication or a removal that
    was interrupted.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    is_namespace = status.st_dev == os.stat("/proc/self/ns/net").st_dev
    return status.st_ino == inode if is_namespace else netns.is_unmounted(status)


def _started(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # Field 22; the second, the name in parentheses, may hold spaces and parentheses.
    return int(text.rpartition(")")[2].split()[19])


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
