"""The life of the process of `run`, beside its syncs.

All of it happens in steps of the control loop, once a second: the configuration file is looked at,
the service manager is told. So a loop that hangs does not feed a watchdog, and no thread or
descriptor is needed for any of it.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kproxy.cli.systemd import ServiceManager
from kproxy.errors import ConfigurationChanged
from kproxy.garbage import give_back_memory

LOOK_INTERVAL_S = 1.0
GIVE_BACK_INTERVAL_S = 60.0

Stamp = tuple[int, int, int, int]  # device, inode, size, time of the last write in ns

log = logging.getLogger("kproxy")


class ConfigurationFile:
    """The file given with --config, and what it was when it was read.

    kube-proxy ends as soon as its file is written, also with what was there before. So do we, but a
    second after the last write, so that the next start reads all of it. A look tells a write by
    what it changes: which file it is, its size, or when it was written. That holds for the links of
    a ConfigMap and on every file system, and costs microseconds. `touch` counts as a write; reading
    the file or changing its mode does not.
    Source: kube-proxy v1.36 cmd/kube-proxy/app/options.go, initWatcher
    """

    def __init__(self, path: str) -> None:
        """`path`: "" if there is none. Must be called before the file is read."""
        self._path = path
        self._read = self._last = _stamp(path) if path else None
        self._missed = False

    def check(self) -> None:
        """Raise ConfigurationChanged if the file was written, and has come to rest.

        A file that is gone is no reason to end: without it there would be no next start.
        """
        if not self._path:
            return
        last, self._last = self._last, _stamp(self._path)
        if self._last is None:
            if not self._missed:
                log.warning("--config: %s is gone; what was read of it stays", self._path)
            self._missed = True
        elif self._last == last and self._last != self._read:
            raise ConfigurationChanged(
                f"the configuration file {self._path} was written",
                remedy="let the service manager start it again, as with kube-proxy; the rules are"
                " in force",
            )
        else:
            self._missed = False


class Life:
    """Does at each step of the control loop what the world around the process is owed."""

    def __init__(
        self, manager: ServiceManager, file: ConfigurationFile, status: Callable[[], str]
    ) -> None:
        """`status`: one line for the service manager, "" before the first sync that succeeded."""
        self._manager = manager
        self._file = file
        self._status = status
        self._told = ""  # the last status
        self._look_at = self._feed_at = self._give_back_at = 0.0

    def step(self, now: float) -> float:
        """Do what is due, and return when something will be. Raises ConfigurationChanged."""
        status = self._status()
        if status and not self._told:
            self._manager.tell("READY=1", f"STATUS={status}")
            self._told = status
        if self._manager.watchdog_s and now >= self._feed_at:
            self._manager.tell("WATCHDOG=1")
            self._feed_at = now + self._manager.watchdog_s / 2
        if now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL_S
            _take_hangup()
            self._file.check()
            if status != self._told:
                self._manager.tell(f"STATUS={status}")
                self._told = status
        if now >= self._give_back_at:  # milliseconds at most, far less if there is nothing
            self._give_back_at = now + GIVE_BACK_INTERVAL_S
            give_back_memory()
        return min(self._look_at, self._feed_at) if self._manager.watchdog_s else self._look_at


@contextmanager
def surviving_its_terminal() -> Iterator[None]:
    """Let SIGHUP wait during the block, for this process and its children; no step ends by it.

    A terminal that is closed must not end a proxy, nor a program that it has started.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # forgets one that is waiting
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGHUP, former)


def _take_hangup() -> None:
    if signal.sigtimedwait({signal.SIGHUP}, 0):
        log.info(
            "SIGHUP is ignored; the configuration is read again by a restart, which a write to its"
            " file causes, and manifests whenever they change"
        )


def _stamp(path: str) -> Stamp | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
