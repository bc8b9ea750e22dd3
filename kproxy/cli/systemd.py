"""Tells a service manager over its socket: sd_notify(3), in the form that kproxy needs.

A datagram of `NAME=value` lines to the socket in $NOTIFY_SOCKET is all of the protocol. It is less
code than what a library for it needs around it: sdnotify hides failures, cysystemd is built against
libsystemd, and neither takes the variables away from child processes. The socket is connected once,
before the proxy enters the network namespace of `--netns`, where an abstract one is out of reach.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

_SOCKET, _WATCHDOG_S, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"

log = logging.getLogger("kproxy")


class ServiceManager:
    """The manager that has started this process, if it wants to hear from it. A context manager:
    within it the manager is connected. Its beginning may log, so the log must have its form.

    `watchdog_s`: it expects a message of the watchdog at least that often; 0 if it expects none.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0, problem: str = "") -> None:
        """`address`: a path, or a name behind `@`; "" if nobody listens. `problem` is logged."""
        self.watchdog_s = watchdog_s
        self._address = address
        self._socket: socket.socket | None = None
        self._connected = False
        self._problem = problem  # that was reported last

    def tell(self, *lines: str) -> None:
        """Send lines such as `READY=1`. A failure is logged; the next message is tried again."""
        if self._socket is None:
            return
        try:
            if not self._connected:
                abstract = self._address[:1] == "@"
                self._socket.connect(f"\0{self._address[1:]}" if abstract else self._address)
                self._connected = True
            if lines:
                self._socket.send("\n".join(lines).encode())
        except OSError as error:
            self._connected = False
            self._report(error)
        else:
            self._problem = ""

    def __enter__(self) -> ServiceManager:
        if self._problem:
            log.warning("%s", self._problem)
        if self._address[:1] in ("/", "@"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)  # one that does not read must not hold up a proxy
            self.tell()
        elif self._address:
            log.warning("$%s: only Unix sockets are known, not %s", _SOCKET, self._address)
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _report(self, error: OSError) -> None:
        problem = error.strerror or str(error)
        if problem != self._problem:
            self._problem = problem
            log.warning("cannot tell the service manager ($%s): %s", _SOCKET, problem)


def take_manager(environment: MutableMapping[str, str] = os.environ) -> ServiceManager:
    """Return the manager that the environment names, and remove it there.

    So a child process, such as iptables-restore, cannot speak in this one's name.
    """
    address = environment.pop(_SOCKET, "")
    watchdog_us = environment.pop(_WATCHDOG_S, "")
    meant = environment.pop(_WATCHDOG_PID, str(os.getpid())) == str(os.getpid())
    try:
        watchdog_s = int(watchdog_us) / 1e6 if watchdog_us and meant else 0.0
    except ValueError:
        problem = f"${_WATCHDOG_S}: {watchdog_us!r} is not a number of microseconds"
        return ServiceManager(address, problem=problem)
    return ServiceManager(address, watchdog_s)
