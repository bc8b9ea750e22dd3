"""Served collections behind a mock of an API server (KMock), and faults to order."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

import kmock
from aiohttp.test_utils import RawTestServer

from kproxy.kubernetes.resources import ENDPOINT_SLICES, SERVICE_CIDRS, SERVICES, own_node
from tests.kubernetes.certificates import Pair
from tests.kubernetes.served import Answer, Served, status

PATIENCE_S = 60.0

_T = TypeVar("_T")

# What a request is answered with: as KMock has it.
Reply = Any
# Decides on the reply to a request with this query; `None` if it is none of its business.
Fault = Callable[[Served, dict[str, str]], Reply | None]


class Loop:
    """An asyncio loop in a thread, in which mocks answer. It ends with the process.

    Were it closed, connections that clients have not closed yet would be left in it.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="loop of mocks", daemon=True
        )
        self._thread.start()

    def run(self, task: Coroutine[Any, Any, _T]) -> _T:
        """Run a task in the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(PATIENCE_S)


class Mocked:
    """An API server that has Services, and empty collections of all else, until the end of `with`;
    but ServiceCIDRs are forbidden.

    Watches end after each batch of events. `pair`: speaks TLS with it.
    """

    def __init__(self, loop: Loop, services: Served, pair: Pair | None = None) -> None:
        self.services = services
        self.token = ""
        self.queries: list[dict[str, str]] = []
        self.faults: deque[Fault] = deque()
        self.clients: list[Callable[[], None]] = []  # called before the server ends, to close them
        self.url = ""
        self._others = {ENDPOINT_SLICES.path: Served(), own_node("").path: Served()}
        self._tls = _tls(pair) if pair else None
        self._loop = loop
        self._changed = asyncio.Event()
        self._over = asyncio.Event()  # no watch waits any longer
        self._closing = AsyncExitStack()

    def __enter__(self) -> Self:
        self._loop.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        for event in (self._over, self._changed):
            self._loop.loop.call_soon_threadsafe(event.set)
        for close in self.clients:
            close()
        self._loop.run(self._closing.aclose())

    def put(self, name: str, port: int = 80, **spec: Any) -> None:
        self.services.put(name, port, **spec)
        self._loop.loop.call_soon_threadsafe(self._changed.set)

    def remove(self, name: str) -> None:
        self.services.remove(name)
        self._loop.loop.call_soon_threadsafe(self._changed.set)

    async def _start(self) -> None:
        handler = await self._closing.enter_async_context(kmock.RawHandler())
        handler << self._reply  # to any request
        server = RawTestServer(handler, host="127.0.0.1")
        await server.start_server(ssl=self._tls)
        self._closing.push_async_callback(server.close)
        self.url = str(server.make_url("")).rstrip("/")

    async def _reply(self, request: kmock.Request) -> Reply:
        query = dict(request.params)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return refused(401, "Unauthorized")
        path = request.url.path
        if path == SERVICE_CIDRS.path:
            return refused(403, "Forbidden")
        if other := self._others.get(path):
            waits = "watch" in query and "sendInitialEvents" not in query
            return streamed(b"\n", self._over.wait) if waits else reply_of(other.answer(query))
        assert path == SERVICES.path, path
        self.queries.append(query)
        await self._news(query)
        if self.faults and (reply := self.faults[0](self.services, query)) is not None:
            self.faults.popleft()
            return reply
        return reply_of(self.services.answer(query))

    async def _news(self, query: dict[str, str]) -> None:
        """Wait until a watch has something to bring."""
        if "watch" not in query or "sendInitialEvents" in query:
            return
        while self.services.version <= int(query["resourceVersion"]) and not self._over.is_set():
            self._changed.clear()
            await self._changed.wait()


def reply_of(answer: Answer) -> Reply:
    return kmock.Response(status=answer.code, payload=answer.body, headers=answer.headers)


def refused(code: int, reason: str, **headers: str) -> Reply:
    body = json.dumps(status(code, reason, f"{reason}, on purpose")).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return kmock.Response(status=code, payload=body, headers=named)


def streamed(*pieces: Any) -> Reply:
    """Return an answer that is sent piece by piece; `cut` among them breaks it off."""
    return kmock.Response(status=200, payload=pieces)


async def cut(request: kmock.Request) -> None:
    """Break off the connection."""
    assert request._raw_request
    assert request._raw_request.transport
    request._raw_request.transport.abort()


async def soon() -> None:
    """Let what was written so far go out before the next piece."""
    await asyncio.sleep(0)


def _tls(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context
