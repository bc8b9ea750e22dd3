"""The contract of those who serve the streams of pods: logs, commands, ports."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from kproxy.store import ObjectKey

Query = tuple[tuple[str, str], ...]


class Streams(Protocol):
    """Answers requests for streams, in the loop of the server.

    `pod` existed when the request came; `query` is decoded. A refusal is raised as Refused before
    anything was sent. A client that goes away cancels the call.
    """

    async def exec(
        self, request: web.BaseRequest, pod: ObjectKey, query: Query
    ) -> web.StreamResponse: ...

    async def attach(
        self, request: web.BaseRequest, pod: ObjectKey, query: Query
    ) -> web.StreamResponse: ...

    async def log(
        self, request: web.BaseRequest, pod: ObjectKey, query: Query
    ) -> web.StreamResponse: ...

    async def port_forward(
        self, request: web.BaseRequest, pod: ObjectKey, query: Query
    ) -> web.StreamResponse: ...
