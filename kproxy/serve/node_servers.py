"""Keeps the servers of a node listening: the health server and the metrics server.

Source: kube-proxy v1.36 cmd/kube-proxy/app/server.go (serveHealthz, serveMetrics)
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

from msgspec import Struct

from kproxy.address import Family, family_of_parsed, split_host_port
from kproxy.api.addresses import parse_ip
from kproxy.errors import KernelRefused
from kproxy.loop.http import Request, Response
from kproxy.serve.server import HttpServer, Listener

RETRY_S = 5.0

log = logging.getLogger("kproxy")


class NodeServer(Struct, frozen=True, kw_only=True):
    """A server of a node: where it listens, and what it answers.

    `address`: a valid `IP:port`, from `field` of the configuration. `reason`: that of the event
    with which kube-proxy reports that it cannot listen.
    """

    name: str
    field: str
    address: str
    reason: str
    respond: Callable[[Request], Response]
    bodies: bool = False


class NodeServers:
    """The servers of one node, in the namespace of the thread that opens them. A context manager.

    One that cannot listen is tried again every 5 s. With `hard_fail` that is an error instead,
    which `on_event` hears first, with a reason and a note.
    """

    def __init__(
        self,
        http: HttpServer,
        servers: Sequence[NodeServer],
        *,
        hard_fail: bool,
        on_event: Callable[[str, str], object] = lambda _reason, _note: None,
        retry_s: float = RETRY_S,
    ) -> None:
        self._http = http
        self._missing = [*servers]
        self._hard_fail = hard_fail
        self._on_event = on_event
        self._retry_s = retry_s
        self._listeners: list[Listener] = []
        self._stopped = threading.Event()
        self._retrying: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Listen. Raises KernelRefused if a server cannot, with `hard_fail`."""
        with ExitStack() as undo:
            undo.callback(self._close)
            self._open_missing()
            undo.pop_all()
        if self._missing:
            # A thread that is started in a namespace stays there, and so do its sockets.
            self._retrying = threading.Thread(target=self._retry, name="kproxy-listen", daemon=True)
            self._retrying.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._stopped.set()
        if self._retrying:
            self._retrying.join()
        while self._listeners:
            self._listeners.pop().close()

    def _open_missing(self) -> None:
        for server in [*self._missing]:
            try:
                listener = _listen(self._http, server)
            except OSError as error:
                self._report(server, error)
                continue
            self._listeners.append(listener)
            self._missing.remove(server)
            log.debug("%s: listening on %s", server.name, server.address)

    def _report(self, server: NodeServer, error: OSError) -> None:
        reason = os.strerror(error.errno) if error.errno else str(error)
        problem = f"the {server.name} cannot listen on {server.address}: {reason}"
        if self._hard_fail:
            self._on_event(server.reason, problem)
            raise KernelRefused(
                problem,
                remedy=f"free the port (ss -lntp), set {server.field}, or set bindAddressHardFail"
                " to false",
            )
        if not self._retrying:  # named once, not at every attempt
            log.error("%s; trying again every %g s", problem, self._retry_s)

    def _retry(self) -> None:
        while self._missing and not self._stopped.wait(self._retry_s):
            before = [*self._missing]
            self._open_missing()
            for server in before:
                if server not in self._missing:
                    log.info("the %s listens on %s now", server.name, server.address)


def _listen(http: HttpServer, server: NodeServer) -> Listener:
    """Listen at an address. A wildcard of either family is for both, as Go does it."""
    host, port = split_host_port(server.address) or ("", "")
    address = parse_ip(host)
    if address is None:
        raise OSError(errno.EADDRNOTAVAIL, f"{server.address} is not an address")
    listen = partial(http.listen, respond=server.respond, bodies=server.bodies)
    if not address.is_unspecified:
        return listen(family_of_parsed(address), str(address), int(port))
    try:
        return listen(Family.IPV6, "", int(port), both_families=True)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        return listen(Family.IPV4, "", int(port))
