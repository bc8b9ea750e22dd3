"""An HTTPS server for the API, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from kproxy.apiserver.core import ApiServer
from kproxy.apiserver.http.connections import Connections
from kproxy.apiserver.http.exchange import Exchange, owner
from kproxy.apiserver.http.streams import Streams
from kproxy.apiserver.http.write_thread import WriteThread
from kproxy.apiserver.request import User
from kproxy.controlplane.plane import Plane

_KEEP_ALIVE_S = 90.0
_LINGER_S = 5.0  # a body that was refused is still read for so long, that the answer arrives
_MOST_HEADERS = 128
_LONGEST_LINE_BYTES = 64 << 10  # selectors and commands are part of it

_logger = logging.getLogger("kproxy.apiserver")
_logger.addHandler(logging.NullHandler())
_http_logger = _logger.getChild("http")
# What is no request is answered with what is wrong with it. It may hold a token, or anything.
_http_logger.addFilter(lambda record: not _is_malformed(record.exc_info))


def _is_malformed(raised: Any) -> bool:
    return bool(raised) and isinstance(raised[1], HttpProcessingError)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return how a server speaks TLS with a certificate and its key, both in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


class HttpsServer:
    """Serves the API of a control plane on sockets that listen; a context manager.

    `tokens` are bearer tokens and whose they are, and may grow; nobody else gets an answer but of
    health and version. Without `tls` it speaks plain HTTP, for tests.
    """

    def __init__(
        self,
        plane: Plane,
        *,
        tokens: Mapping[str, User],
        tls: ssl.SSLContext | None = None,
        streams: Streams | None = None,
        address: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        most_connections: int = 0,
    ) -> None:
        """`address` is what discovery tells of the server; `most_connections` 0: as many as the
        process's file descriptors suggest."""
        self._plane = plane
        self._tokens = tokens
        self._tls = tls
        self._streams = streams
        self._address = address
        self._clock = clock
        self._most = most_connections
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="kproxy-api", daemon=True)
        self._waking = False
        self._writes: WriteThread | None = None  # while it runs; it wakes the loop itself
        self.core = ApiServer(
            plane,
            clock=clock,
            address=address,
            wake=self._wake,
            identify=partial(owner, tokens),
        )

    def __enter__(self) -> HttpsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, sockets: Sequence[socket]) -> None:
        """Begin to serve on sockets that are bound to TCP addresses, in any network namespace."""
        self._thread.start()
        for each in sockets:
            self.listen(each)

    def listen(self, bound: socket) -> None:
        """Serve on one more socket; it belongs to the server from now on."""
        asyncio.run_coroutine_threadsafe(self._listen(bound), self._loop).result()

    def close(self) -> None:
        """End all connections, and return when nothing of the server is left."""
        if not self._thread.is_alive():  # not started, or closed already
            self._loop.close()
            self.core.close()
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        if self._writes:
            self._writes.close()
        self.core.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(_logged)
        self._loop.run_until_complete(self._begin())
        self._loop.run_forever()

    async def _begin(self) -> None:
        writes = self._writes = WriteThread(self._loop, self._plane.lock, self._catch_up)
        self._exchange = exchange = Exchange(self.core, self._tokens, writes, self._streams)
        server = web.Server(
            exchange.handle,
            request_factory=exchange.request,
            handler_cancellation=True,
            keepalive_timeout=_KEEP_ALIVE_S,
            lingering_time=_LINGER_S,
            max_line_size=_LONGEST_LINE_BYTES,
            max_field_size=_LONGEST_LINE_BYTES,
            max_headers=_MOST_HEADERS,
            access_log=None,
            logger=_http_logger,
        )
        exchange.connections = Connections(server, self._tls, self._most)

    async def _listen(self, bound: socket) -> None:
        self._exchange.connections.listen(bound)

    async def _close(self) -> None:
        self._exchange.end_watches()
        await self._exchange.connections.close()
        await self._loop.shutdown_default_executor()

    def _wake(self) -> None:
        """Have the loop take in what was written; called by whoever writes."""
        if not self._waking and not (self._writes and self._writes.is_current):
            self._waking = True
            with suppress(RuntimeError):  # the loop is closed meanwhile
                self._loop.call_soon_threadsafe(self._catch_up)

    def _catch_up(self) -> None:
        self._waking = False  # before: what is written from now on wakes again
        self.core.catch_up()


def _logged(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    _logger.debug("%s", context.get("message"))
