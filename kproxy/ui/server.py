"""The page's server: its files, which tell nothing, and with the token the lab."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from socket import socket
from typing import Any, Protocol

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from kproxy.errors import BadInput, KproxyError, Unreachable
from kproxy.ui import guard
from kproxy.ui.model import Model

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_LOOK_EACH_S = 2.0  # at what the lab does not tell by itself: its proxies' health, its memory
_ALIVE_S = 15.0  # between lines to a browser
_LONGEST_BYTES = 64 << 10  # of a question
_GOODBYE_S = 1.0
_ASKS = ("trace", "rules", "policy", "mode")

_logger = logging.getLogger("kproxy.ui")
# What is no request is answered with what is wrong with it. It may hold the token.
_logger.addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LabLine(Protocol):
    """The way to a lab's process. Its methods block; they are called in threads of their own."""

    def ask(self, request: Mapping[str, Any], /) -> Mapping[str, Any]:
        """Return the lab's answer. Raises KproxyError."""

    def lines(self, request: Mapping[str, Any], /) -> Iterator[Mapping[str, Any]]:
        """Yield what the lab sends, until it ends. Raises KproxyError."""


class PageServer:
    """Serves the page of one lab, until the lab ends or `close` is called."""

    def __init__(self, lab: LabLine, token: str) -> None:
        self._lab = lab
        self._token = token
        self._model = Model()
        self._files = page_files()
        self._told, self._ended = asyncio.Event(), asyncio.Event()
        self._looking = asyncio.Event()
        self._failure: KproxyError | None = None
        self._measuring = 0  # the number of the measurement that is running
        self._again = False
        self._port = 0

    async def serve(self, sockets: Sequence[socket]) -> None:
        """Serve on sockets of loopback, all of one port; return when the lab has ended.

        Raises KproxyError if the lab cannot tell what it is made of.
        """
        self._port = sockets[0].getsockname()[1]
        app = web.Application(middlewares=[self._guarded], client_max_size=_LONGEST_BYTES)
        app.router.add_get("/live", self._live)
        app.router.add_post("/measure", self._measure)
        app.router.add_post("/ask/{what}", self._ask)
        app.router.add_get("/{file:[a-z.]*}", self._file)
        runner = web.AppRunner(app, access_log=None, logger=_logger, shutdown_timeout=_GOODBYE_S)
        await runner.setup()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._follow, args=(loop,), daemon=True, name="kproxy-lab").start()
        looking = loop.create_task(self._look())
        try:
            for each in sockets:
                await web.SockSite(runner, each).start()
            await self._ended.wait()
            if self._failure:
                raise self._failure
            await asyncio.sleep(_GOODBYE_S)  # that browsers hear of it
        finally:
            looking.cancel()
            await runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = guard.foreign(request.headers, self._port)
        if refusal is None and request.match_info.handler != self._file:
            refusal = guard.without_token(request.headers, self._token)
        if refusal:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
            answer: web.StreamResponse = web.Response(
                status=refusal.status, text=refusal.text, headers=headers
            )
        else:
            try:
                answer = await handler(request)
            except web.HTTPException as error:
                answer = web.Response(status=error.status, text=f"{error.reason}\n")
        if not answer.prepared:
            answer.headers.update(guard.security_headers())
        return answer

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["file"] or "index.html"
        if name not in self._files:
            raise web.HTTPNotFound
        kind = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=self._files[name], content_type=kind, charset="utf-8")

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """Send every change as a line of JSON: first all there is, once the lab has told it."""
        await self._told.wait()
        news = asyncio.Event()
        answer = web.StreamResponse(headers=guard.security_headers())
        answer.content_type = "application/x-ndjson"
        await answer.prepare(request)
        view = self._model.view(news.set)
        news.set()
        try:
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), _ALIVE_S)
                news.clear()
                await answer.write(_line(view.take()))
            await answer.write(_line(view.take()))  # that the lab has gone
        except ConnectionResetError:  # the browser has
            pass
        finally:
            self._model.drop(view)
        return answer

    async def _ask(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        if what not in _ASKS:
            raise web.HTTPNotFound
        values = await _body(request)
        try:
            found = await asyncio.to_thread(self._lab.ask, values | {"do": what})
        except KproxyError as error:
            problems = error.problems if isinstance(error, BadInput) else str(error).splitlines()
            found = {"problems": [*problems], "remedy": error.remedy}
        if what == "mode":
            self._looking.set()  # it is another one now
        return web.json_response(dict(found))

    async def _measure(self, _: web.Request) -> web.Response:
        """Begin to measure, or once more after what is being measured: it may have begun before
        what its reader has just changed. The page is told cell by cell. Answers with its number.
        """
        if self._measuring:
            self._again = True
            return web.json_response({"number": self._measuring + 1}, status=202)
        self._begin()
        return web.json_response({"number": self._measuring}, status=202)

    def _begin(self) -> None:
        self._again = False
        self._measuring = self._model.measured_times + 1
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._fill, args=(loop,), daemon=True).start()

    def _filled(self) -> None:
        self._measuring = 0
        if self._again:
            self._begin()

    async def _look(self) -> None:
        while True:
            with suppress(KproxyError):
                self._show(await asyncio.to_thread(self._lab.ask, {"do": "status"}))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._looking.wait(), _LOOK_EACH_S)
            self._looking.clear()

    def _show(self, status: Mapping[str, Any]) -> None:
        shown = (
            "name",
            "state",
            "mode",
            "modes",
            "options",
            "unusedOptions",
            "version",
            "emulates",
            "kernel",
            "network",
            "source",
        )
        changes: dict[str, Any] = {
            f"proxy/{each['name']}": {"healthy": each["healthy"]}
            for each in status["nodes"]
            if "healthy" in each
        }
        self._model.set(
            changes | {"lab": {key: status[key] for key in shown} | {"api": status["api"]}}
        )

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be the thread that hears the lab. One that was too late is told again from the start."""
        try:
            while True:
                for line in self._lab.lines({"do": "follow"}):
                    if line:
                        loop.call_soon_threadsafe(self._take, line)
                self._lab.ask({"do": "status"})  # still there?
        except Unreachable:
            pass
        except KproxyError as error:
            self._failure = error
        with suppress(RuntimeError):  # the loop is closed: the server has ended first
            loop.call_soon_threadsafe(self._end)

    def _take(self, line: Mapping[str, Any]) -> None:
        self._model.told(line)
        if "documents" in line:
            self._told.set()

    def _end(self) -> None:
        self._model.set({"lab": self._model.entities.get("lab", {}) | {"state": "gone"}})
        self._told.set()
        self._ended.set()

    def _fill(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be the thread that hears of a measurement."""

        def told(line: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(self._model.measured, line)

        with suppress(RuntimeError):  # the loop is closed: the server has ended first
            try:
                for line in self._lab.lines({"do": "measure"}):
                    told(line)
                told({"done": True})  # also if the lab has ended meanwhile
            except KproxyError as error:
                told({"error": str(error)})
            loop.call_soon_threadsafe(self._filled)


def page_files() -> dict[str, bytes]:
    """Return the files of the page by name."""
    folder = files("kproxy.ui") / "page"
    return {
        each.name: each.read_bytes()
        for each in folder.iterdir()
        if each.name.rpartition(".")[2] in _TYPES
    }


async def _body(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    try:
        values = json.loads(await request.read())
    except ValueError:
        raise web.HTTPBadRequest from None
    if not isinstance(values, dict):
        raise web.HTTPBadRequest
    return values


def _line(changes: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(changes) + b"\n"
