"""One request and its answer over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import logging
import random
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.web import HTTPRequestEntityTooLarge
from msgspec.structs import replace
from multidict import CIMultiDict

from kproxy.apiserver.bodies import MOST_BYTES, too_large
from kproxy.apiserver.core import ApiServer
from kproxy.apiserver.http.answer_head import NO_CACHE, answer_head
from kproxy.apiserver.http.connections import Connections
from kproxy.apiserver.http.streams import Streams
from kproxy.apiserver.http.write_thread import WriteThread
from kproxy.apiserver.negotiation import takes_gzip
from kproxy.apiserver.request import (
    ANONYMOUS,
    Answer,
    Request,
    Upgrade,
    User,
    Watch,
    Work,
    query_of,
)
from kproxy.apiserver.status import UNAUTHORIZED, refusal
from kproxy.apiserver.watch import Watcher
from kproxy.controlplane.plane import Refused

_BODY_S = 30.0  # until a body has arrived
_SEND_S = 60.0  # until a client has taken an answer, or a piece of a watch
_BOOKMARK_EACH_S = 60.0
_WATCH_S = (1800.0, 3600.0)  # if the client does not say
_MOST_COPIED_BYTES = 64 << 10
_BEARER = "bearer "
_PLAIN_BYTES = 128 << 10  # larger answers are compressed for who takes that, as by the API server
_GZIP_LEVEL = 1

_logger = logging.getLogger("kproxy.apiserver")


def owner(tokens: Mapping[str, User], given: str) -> User | None:
    """Return whose a token is, None if it is nobody's; how long that takes tells nothing of it."""
    text, found = given.encode(errors="replace"), None
    for token, user in [*tokens.items()]:
        if hmac.compare_digest(text, token.encode()):
            found = user
    return found


class Exchange:
    """Hands requests to the core, and sends what it answers."""

    connections: Connections

    def __init__(
        self,
        core: ApiServer,
        tokens: Mapping[str, User],
        writes: WriteThread,
        streams: Streams | None,
    ) -> None:
        self._core = core
        self._tokens = tokens  # of service accounts, more come while the server runs
        self._writes = writes
        self._streams = streams
        self._watchers: set[Watcher] = set()

    def end_watches(self) -> None:
        """End all watches, as a server that shuts down does."""
        for each in self._watchers:
            each.close()

    def request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
        """Make a request of aiohttp whose body is bounded."""
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=MOST_BYTES
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        self.connections.busy(request.protocol)
        try:
            return await self._answered(request)
        except Refused as refused:
            return await self._send(request, refusal(refused))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            _logger.exception("a request for %s has failed", request.path)
            failed = "an internal error of the API server has been logged"
            broken = Refused(failed, status=500, reason="InternalError")
            return await self._send(request, refusal(broken))
        finally:
            self.connections.idle(request.protocol)

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        told = Request(
            method=request.method,
            path=path,
            query=query_of(query),
            headers={name.lower(): value for name, value in request.headers.items()},
            user=self._user(request.headers.get("Authorization")),
        )
        if not self._core.admits(told):  # before anything of theirs is read
            raise UNAUTHORIZED
        outcome = self._core.handle(replace(told, body=await self._body(request)))
        if isinstance(outcome, Work):
            outcome = await self._writes.run(outcome)
        match outcome:
            case Answer():
                return await self._send(request, outcome)
            case Watch():
                return await self._watch(request, outcome)
            case Upgrade():
                return await self._stream(request, outcome)

    async def _body(self, request: web.BaseRequest) -> bytes:
        if not request.can_read_body:
            return b""
        if (request.content_length or 0) > MOST_BYTES:
            raise too_large()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.content.is_eof():  # it came with the head, as small ones do
            return request.content.read_nowait()
        try:
            async with asyncio.timeout(_BODY_S):
                return await request.read()
        except HTTPRequestEntityTooLarge:
            raise too_large() from None
        except TimeoutError:
            message = "Timeout: the body of the request did not arrive in time"
            raise Refused(message, status=408, reason="Timeout") from None

    def _user(self, authorization: str | None) -> User | None:
        if authorization is None:
            return ANONYMOUS
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return None
        return owner(self._tokens, authorization[len(_BEARER) :].strip())

    async def _send(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        accepted = request.headers.get("Accept-Encoding", "")
        if len(answer.body) > _PLAIN_BYTES and takes_gzip(accepted):
            answer = await _compressed(answer)
        transport, protocol = request.transport, request.protocol
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionResetError("the client has gone")
        head = answer_head(answer, request.version, keep_alive=request.keep_alive)
        body = b"" if request.method == "HEAD" else answer.body
        if len(body) > _MOST_COPIED_BYTES:
            transport.writelines((head, body))
        else:
            transport.write(head + body)
        if protocol.writing_paused:
            try:
                async with asyncio.timeout(_SEND_S):
                    await request.writer.drain()
            except TimeoutError:
                _cut(request)
        return _SENT[request.keep_alive]

    async def _watch(self, request: web.BaseRequest, watch: Watch) -> web.StreamResponse:
        headers = CIMultiDict(watch.headers)
        headers.update({"Content-Type": watch.content_type, "Cache-Control": NO_CACHE})
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        watcher, more = watch.watcher, asyncio.Event()
        self._watchers.add(watcher)

        def wake() -> None:
            more.set()
            if watcher.dropped:
                _cut(request)

        watcher.wake = wake
        loop = asyncio.get_running_loop()
        end = loop.time() + (watch.timeout_s or random.uniform(*_WATCH_S))
        mark = loop.time() + _BOOKMARK_EACH_S
        try:
            await response.prepare(request)
            while True:
                more.clear()
                while piece := watcher.take():
                    async with asyncio.timeout(_SEND_S):
                        await response.write(piece)
                if watcher.ended or loop.time() >= end:
                    break
                try:
                    async with asyncio.timeout_at(min(end, mark)):
                        await more.wait()
                except TimeoutError:
                    if loop.time() >= mark:
                        mark += _BOOKMARK_EACH_S
                        self._core.catch_up()
                        watcher.mark(self._core.revision)
            await response.write_eof()
        except TimeoutError:
            _cut(request)
        except ConnectionError:
            _logger.debug("a client has left its watch of %s", request.path)
        finally:
            self._watchers.discard(watcher)
            watcher.close()
        return response

    async def _stream(self, request: web.BaseRequest, asked: Upgrade) -> web.StreamResponse:
        if self._streams is None:
            message = f"{asked.stream} is not served here: there are no running pods"
            raise Refused(message, status=501, reason="NotImplemented")
        serve = {
            "attach": self._streams.attach,
            "exec": self._streams.exec,
            "log": self._streams.log,
            "portforward": self._streams.port_forward,
        }[asked.stream]
        return await serve(request, asked.key, asked.query)


class _Sent(web.StreamResponse):
    """An answer that is sent already, as aiohttp wants to be told of it.

    Its own answers take three times as long to make and to send as these few lines.
    """

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        pass

    async def write_eof(self, data: bytes = b"") -> None:
        pass


# Nothing is noted in them: all requests share these two.
_SENT = (_Sent(keep_alive=False), _Sent(keep_alive=True))


async def _compressed(answer: Answer) -> Answer:
    body = await asyncio.to_thread(gzip.compress, answer.body, _GZIP_LEVEL)
    more = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
    return answer._replace(body=body, headers=(*answer.headers, *more))


def _cut(request: web.BaseRequest) -> None:
    """End a connection at once: what was to be sent is lost."""
    if request.transport is not None:
        request.transport.abort()
