"""Network namespaces as values: create, enter, publish, close.

A namespace lives as long as something holds it: a descriptor, a thread in it, a socket made in it,
or a name under /run/netns. Anonymous ones have no name, so they end with this process, even if it
is killed. Entering concerns the calling thread only: what it opens or starts meanwhile (sockets,
threads, child processes) stays in the namespace, and other threads are not affected.

`/proc/net` is a trap: it shows the namespace of the process, not of the thread. Use
`/proc/thread-self/net`. `/proc/sys/net` shows the thread's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from kproxy.errors import BadInput, KernelRefused, NamespaceBusy, Unsupported
from kproxy.kernel.privilege import WITHOUT_ROOT

RUN_DIR = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED, _MNT_DETACH = 0x1000, 0x4000, 0x100000, 2
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h
_HERE = "/proc/thread-self/ns/net"
# The mode of the file that a namespace is about to be mounted on. It tells ours from others: `ip
# netns add` makes its own with mode 0, container runtimes with what their umask leaves of 0666.
_UNMOUNTED_MODE = 0o400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


class Namespace:
    """One network namespace, held by a descriptor until `close`. `label` is for messages only."""

    def __init__(self, descriptor: int, label: str) -> None:
        """Take over `descriptor`. Use `create`, `open` or `current` instead."""
        self._descriptor = descriptor
        self._published: list[str] = []
        self.label = label
        self.inode = os.fstat(descriptor).st_ino  # identity, as in `net:[4026531840]`

    @classmethod
    def create(cls, name: str = "") -> Self:
        """Create a namespace that nothing but this object holds; its `lo` is down.

        `name` is a label for messages, not a name under /run/netns: see `publish`.
        Raises Unsupported without the privilege.
        """
        before = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.unshare(_CLONE_NEWNET):
                raise _failure("create a network namespace")
            try:
                return cls(os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC), name or "anonymous")
            finally:
                _return_to(before)
        finally:
            os.close(before)

    @classmethod
    def open(cls, name: str) -> Self:
        """Open the existing namespace /run/netns/`name`. Raises BadInput if there is none."""
        path = _path(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            known = ", ".join(published_names()) or "none"
            raise BadInput([f"no network namespace called {name!r}; there are: {known}"]) from None
        except PermissionError:
            descriptor = -1
        if descriptor < 0 or not _is_namespace(descriptor):
            if descriptor >= 0:
                os.close(descriptor)
            raise BadInput([f"{path} is not a network namespace"], remedy=f"ip netns delete {name}")
        return cls(descriptor, name)

    @classmethod
    def current(cls) -> Self:
        """Open the namespace the calling thread is in."""
        return cls(os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC), "current")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread into this namespace for the duration of the block.

        Blocks may be nested, also in the same namespace. A block that cannot return aborts the
        process: every later change would go to the wrong namespace.
        """
        before = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(self.fileno(), _CLONE_NEWNET):
                raise _failure(f"enter network namespace {self.label}")
            try:
                yield
            finally:
                _return_to(before)
        finally:
            os.close(before)

    def run(self, func: Callable[[], _T]) -> _T:
        """Return the result of `func` called inside."""
        with self.entered():
            return func()

    def fileno(self) -> int:
        """Return the descriptor, for netlink requests that name a namespace by one."""
        if self._descriptor < 0:
            raise ValueError(f"network namespace {self.label} is closed")
        return self._descriptor

    @cached_property
    def cookie(self) -> int:
        """The number that the kernel gives to no other namespace until it starts again, unlike the
        inode's; 0 if it has none (before Linux 5.14).
        """
        with self.entered(), socket.socket(socket.AF_UNIX) as inside:
            try:
                found = inside.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
            except OSError:
                return 0
        return int.from_bytes(found, sys.byteorder)

    def publish(self, name: str) -> None:
        """Make it visible as /run/netns/`name` to `ip netns`, until `unpublish` or `close`.

        The name outlives a killed process, so the caller must record it somewhere.
        Raises NamespaceBusy, naming the processes that hold it, if the name is taken.
        """
        path = _path(name)
        _prepare_run_dir()
        try:
            flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(path, flags, _UNMOUNTED_MODE))
        except FileExistsError:
            raise _taken(name, path) from None
        try:
            _mount(f"/proc/thread-self/fd/{self.fileno()}", path, _MS_BIND)
        except BaseException:
            path.unlink()
            raise
        self._published.append(name)

    def unpublish(self) -> None:
        """Remove all names that `publish` gave."""
        while self._published:
            remove_published(self._published[-1])
            self._published.pop()

    def close(self) -> None:
        """Remove its names and close the descriptor. Harmless when repeated."""
        if self._descriptor < 0:
            return
        self.unpublish()
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            finally:  # a warning may be an error
                self.close()

    def __repr__(self) -> str:
        return f"<Namespace {self.label} net:[{self.inode}]>"


def published_names() -> list[str]:
    """Return all names under /run/netns, also those of other programs."""
    return sorted(path.name for path in RUN_DIR.iterdir()) if RUN_DIR.is_dir() else []


def is_unmounted(status: os.stat_result) -> bool:
    """Tell whether a file under /run/netns is one that `publish` made, not yet mounted on."""
    return stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == _UNMOUNTED_MODE


def remove_published(name: str) -> None:
    """Remove the name /run/netns/`name`, if it exists. The namespace itself may stay in use."""
    path = _path(name)
    if _libc.umount2(os.fsencode(path), _MNT_DETACH) and ctypes.get_errno() not in (
        errno.EINVAL,  # a plain file: its publisher died between the two steps
        errno.ENOENT,
    ):
        raise _failure(f"unmount {path}")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno != errno.EBUSY:  # another process has published the name again by now
            raise


def _return_to(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        reason = os.strerror(ctypes.get_errno())
        os.write(2, f"kproxy: cannot return to the original network namespace: {reason}\n".encode())
        os.abort()


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        rule = "1 to 63 letters, digits, '-', '_', '.', the first a letter or digit"
        raise BadInput([f"{name!r} cannot be the name of a network namespace: {rule}"])
    return RUN_DIR / name


def _is_namespace(descriptor: int) -> bool:
    return os.readlink(f"/proc/thread-self/fd/{descriptor}").startswith(
        ("net:[", str(RUN_DIR))
    ) and (os.fstat(descriptor).st_dev == os.stat(_HERE).st_dev)


def _prepare_run_dir() -> None:
    """Make it a shared mount as `ip netns add` does: then other mount namespaces see removals."""
    RUN_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        _mount("", RUN_DIR, _MS_SHARED | _MS_REC)
    except KernelRefused:  # not a mount point yet
        _mount(str(RUN_DIR), RUN_DIR, _MS_BIND | _MS_REC)
        _mount("", RUN_DIR, _MS_SHARED | _MS_REC)


def _mount(source: str, target: Path, flags: int) -> None:
    if _libc.mount(
        source.encode(), os.fsencode(target), b"none", ctypes.c_ulong(flags), ctypes.c_void_p()
    ):
        raise _failure(f"mount {source or 'shared'} at {target}")


def _taken(name: str, path: Path) -> NamespaceBusy:
    inode = path.stat().st_ino
    holders = [pid for pid in _processes() if _holds(pid, inode)]
    if holders:
        who = ", ".join(f"{pid} ({_command(pid)})" for pid in holders)
        return NamespaceBusy(
            f"network namespace {name} exists already; held by process {who}", pid=holders[0]
        )
    return NamespaceBusy(
        f"network namespace {name} exists already; no process holds it",
        pid=0,
        remedy=f"if it is not needed any more: ip netns delete {name}",
    )


def _processes() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _holds(pid: int, inode: int) -> bool:
    """Tell whether the process is in the namespace or has it open. False if it has exited."""
    wanted = f"net:[{inode}]"
    try:
        if os.readlink(f"/proc/{pid}/ns/net") == wanted:
            return True
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return any(_link(f"/proc/{pid}/fd/{each}") == wanted for each in descriptors)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "exited"


def _failure(what: str) -> Unsupported | KernelRefused:
    code = ctypes.get_errno()
    message = f"cannot {what}: {os.strerror(code)}"
    if code in (errno.EPERM, errno.EACCES):
        return Unsupported(
            message,
            remedy="run as root; in a container with --privileged, "
            "or with the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN" + WITHOUT_ROOT,
        )
    return KernelRefused(message)
