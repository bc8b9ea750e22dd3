"""The log of a pod as a client asks for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import NamedTuple

from aiohttp import web

from kproxy.apiserver.http.access import Line, PodAccess
from kproxy.apiserver.http.descriptors import while_connected
from kproxy.apiserver.http.streams import Query
from kproxy.controlplane.plane import Cause, Refused
from kproxy.store import ObjectKey

_NS = 1_000_000_000
_MOST_WAITING = 10_000  # lines for a client that reads slowly; then it is cut off


class Options(NamedTuple):
    """PodLogOptions. `since_ns`: lines from then on, since 1970. None: not limited."""

    follow: bool = False
    timestamps: bool = False
    since_ns: int = 0
    tail: int | None = None
    limit_bytes: int | None = None


def options(query: Query) -> Options:
    """Return the options of a query. Raises Refused as the API server does."""
    since = _number(query, "sinceSeconds", least=1)
    moment = first(query, "sinceTime")
    since_ns = time.time_ns() - since * _NS if since is not None else 0
    if moment:
        if since is not None:
            raise _invalid("sinceTime", moment, "at most one of `sinceTime` or `sinceSeconds`")
        try:
            since_ns = int(datetime.fromisoformat(moment).timestamp() * _NS)
        except ValueError:
            raise Refused(
                f"parsing time {moment!r} failed", status=400, reason="BadRequest"
            ) from None
    return Options(
        follow=truth(query, "follow"),
        timestamps=truth(query, "timestamps"),
        since_ns=since_ns,
        tail=_number(query, "tailLines", least=0),
        limit_bytes=_number(query, "limitBytes", least=1),
    )


async def send_log(
    request: web.BaseRequest, access: PodAccess, pod: ObjectKey, asked: Options
) -> web.StreamResponse:
    """Answer with a pod's log. Raises KproxyError before anything is sent."""
    if not asked.follow:
        lines = _selected(await asyncio.to_thread(access.log, pod), asked)
        body = b"".join(_text(line, asked) for line in lines)[: asked.limit_bytes]
        return web.Response(body=body, content_type="text/plain")
    async with _Followed(access, pod) as followed:
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        await while_connected(request, _send_all(answer, followed, asked))
    return answer


def truth(query: Query, name: str) -> bool:
    """Return a boolean parameter as the API server reads it: all but these is true."""
    values = [value for key, value in query if key == name]
    return bool(values) and values[0].lower() not in ("false", "0")


async def _send_all(answer: web.StreamResponse, followed: _Followed, asked: Options) -> None:
    left = asked.limit_bytes
    async with aclosing(followed.lines(asked)) as lines:
        async for line in lines:
            text = _text(line, asked)[:left]
            await answer.write(text)
            if left is not None:
                left -= len(text)
                if not left:
                    return


class _Followed:
    """The lines of a log, those to come as well."""

    def __init__(self, access: PodAccess, pod: ObjectKey) -> None:
        self._access = access
        self._pod = pod
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[Line | None] = asyncio.Queue()
        self._former: Sequence[Line] = ()

    async def __aenter__(self) -> _Followed:
        self._former = await asyncio.to_thread(self._access.follow_log, self._pod, self._come)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._access.leave_log, self._pod, self._come)

    async def lines(self, asked: Options) -> AsyncGenerator[Line, None]:
        """Yield lines until the pod ends, or far more have come than were read."""
        for line in _selected(self._former, asked):
            yield line
        while self._waiting.qsize() < _MOST_WAITING and (coming := await self._waiting.get()):
            yield coming

    def _come(self, line: Line | None) -> None:
        self._loop.call_soon_threadsafe(self._waiting.put_nowait, line)


def _selected(lines: Sequence[Line], asked: Options) -> Sequence[Line]:
    lines = [each for each in lines if each.time_ns >= asked.since_ns]
    if asked.tail is None:
        return lines
    return lines[-asked.tail :] if asked.tail else []


def _text(line: Line, asked: Options) -> bytes:
    stamp = ""
    if asked.timestamps:
        seconds, rest = divmod(line.time_ns, _NS)
        stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z "
    return f"{stamp}{line.text}\n".encode()


def first(query: Query, name: str) -> str:
    """Return the first value of a parameter; "" if there is none."""
    return next((value for key, value in query if key == name), "")


def _number(query: Query, name: str, *, least: int) -> int | None:
    text = first(query, name)
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        words = f'strconv.ParseInt: parsing "{text}": invalid syntax'
        raise Refused(words, status=400, reason="BadRequest") from None
    if number < least:
        raise _invalid(name, text, f"must be greater than or equal to {least}")
    return number


def _invalid(field: str, value: str, words: str) -> Refused:
    said = f"Invalid value: {value}: {words}"
    return Refused(
        f'PodLogOptions "" is invalid: {field}: {said}',
        status=422,
        reason="Invalid",
        kind="PodLogOptions",
        causes=(Cause("FieldValueInvalid", field, said),),
    )
