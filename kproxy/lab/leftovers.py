"""Names that labs published, so that the next lab removes those of labs that were killed.

A record lies in /run/kproxy/labs/<pid>-<lab>.json before the first name is published. Its
process is dead if the pid is gone or belongs to a process started at another time. Only names that
still stand for the recorded namespaces are removed: what else is under /run/netns is not ours. With
a name goes its resolv.conf (`kproxy.lab.netns_files`), which is there no longer than the name.
Anonymous namespaces need none of this.
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
    """`started`: of the process, in clock ticks since boot; `namespaces`: name -> inode.

    `pid_namespace`: where the pid counts. Labs of another container are not ours to judge.
    """

    pid: int
    started: int
    pid_namespace: str
    namespaces: Mapping[str, int]


def record(lab: str, namespaces: Mapping[str, int]) -> Path:
    """Write down that this process is about to publish these; the file is to be `forget`-ed."""
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
        except FileNotFoundError:  # another lab went down and took the empty folder away
            continue
    unfinished.rename(path)
    return path


def forget(path: Path) -> None:
    """The names of a record are gone: remove it, and its folders if nobody else needs them."""
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
        except FileNotFoundError:  # somebody else was quicker
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
    """The recorded namespace, or the file of a publication or a removal that was cut short."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    is_namespace = status.st_dev == os.stat("/proc/self/ns/net").st_dev
    return status.st_ino == inode if is_namespace else netns.is_unmounted(status)


def _started(pid: int) -> int:
    """0 if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # Field 22; the second, the name in parentheses, may hold spaces and parentheses.
    return int(text.rpartition(")")[2].split()[19])


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
