"""The network namespaces of this machine: this one, named ones, and those of processes."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from typing import NamedTuple

from kproxy.errors import BadInput, KproxyError
from kproxy.kernel.netns import Namespace, published_names

_ENVIRONMENT_BYTES = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")


class Found(NamedTuple):
    """Namespaces by name, the calling thread's first; to be closed. And what could not be opened,
    a line for each, with the reason.
    """

    namespaces: dict[str, Namespace]
    problems: tuple[str, ...]


def this_and(names: Iterable[str]) -> Found:
    """Open the calling thread's namespace and those under /run/netns with these names.

    Raises BadInput for a name that there is not.
    """
    collected = _Collected()
    with ExitStack() as undo:
        undo.callback(collected.close)
        for name in names:
            collected.add(name, Namespace.open(name))
        undo.pop_all()
    return collected.found()


def all_namespaces() -> Found:
    """Open the calling thread's namespace, all under /run/netns, and those that processes are in.

    A pod's has the name that its containers have as HOSTNAME; another one that under /run/netns,
    or that of a process and its number.
    """
    collected = _Collected()
    pods = _of_processes()
    for name in published_names():
        try:
            opened = Namespace.open(name)
        except BadInput as error:  # the name of one that has gone
            collected.problems += error.problems
            continue
        except (KproxyError, OSError) as error:
            collected.problems.append(f"{name}: {error}")
            continue
        collected.add(_pod_name(pods.get(opened.inode, ())) or name, opened)
    for inode, processes in pods.items():
        if inode not in collected.inodes:
            _add_process(collected, processes)
    return collected.found()


class _Collected:
    """Namespaces, each once."""

    def __init__(self) -> None:
        here = Namespace.current()
        self.inodes = {here.inode}
        self.problems: list[str] = []
        self._here = here
        self._others: dict[str, Namespace] = {}
        self._name = ""

    def add(self, name: str, namespace: Namespace) -> None:
        if namespace.inode in self.inodes:
            if namespace.inode == self._here.inode:
                self._name = self._name or name
            namespace.close()
            return
        self.inodes.add(namespace.inode)
        unique = name if name not in self._others else f"{name}-{namespace.inode}"
        namespace.label = unique
        self._others[unique] = namespace

    def close(self) -> None:
        for each in (self._here, *self._others.values()):
            each.close()

    def found(self) -> Found:
        name = self._name or socket.gethostname()
        if name in self._others:
            name = f"{name}-{self._here.inode}"
        return Found({name: self._here, **self._others}, tuple(self.problems))


def _of_processes() -> dict[int, list[int]]:
    """Return processes by the inode of their namespace."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                inode = os.stat(f"/proc/{entry}/ns/net").st_ino
            except OSError:  # it has exited
                continue
            found.setdefault(inode, []).append(int(entry))
    return found


def _add_process(collected: _Collected, processes: list[int]) -> None:
    for process in processes:
        try:
            descriptor = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
                command = file.read().strip()
        except OSError as error:
            problem = f"process {process}: {error.strerror}"
            continue
        name = _pod_name(processes) or f"{command}-{process}"
        collected.add(name, Namespace(descriptor, name))
        return
    if os.path.exists(f"/proc/{processes[-1]}"):
        collected.problems.append(problem)


def _pod_name(processes: Iterable[int]) -> str:
    """Return what the first of these processes that has it calls its host, "" for this one."""
    for process in processes:
        try:
            with open(f"/proc/{process}/environ", "rb") as file:
                environment = file.read(_ENVIRONMENT_BYTES)
        except OSError:
            continue
        for each in environment.split(b"\0"):
            name = each.removeprefix(b"HOSTNAME=").decode(errors="replace")
            if each.startswith(b"HOSTNAME=") and _NAME.fullmatch(name):
                return name if name != socket.gethostname() else ""
    return ""
