"""The streams of one command, as kubectl carries them: over a WebSocket or over SPDY.

WebSocket (`v5.channel.k8s.io`, `v4.channel.k8s.io`): binary messages, whose first byte is the
channel. `ff` and a channel is the end of that channel, in v5 only. SPDY/3.1: a stream for each
channel, which its header `streamType` names.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from kproxy.apiserver.http.spdy_session import (
    Hijacked,
    HijackedConnection,
    SpdySession,
    SpdyStream,
)
from kproxy.controlplane.plane import Json, Refused

_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_LONGEST_MESSAGE = 1 << 20  # kubectl's have 32 KiB
_LONGEST_RESIZE = 4096
_STREAMS_S = 30  # the kubelet's streamCreationTimeout
_GOODBYE_S = 5


class Channel(IntEnum):
    """The numbers of the streams in messages of a WebSocket; CLOSE ends the one that it names."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255


class Wanted(NamedTuple):
    """The streams that a client asks for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class Sink(Protocol):
    """Takes what a client sends."""

    async def stdin(self, data: bytes) -> None: ...

    async def end_of_stdin(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...


class Channels(Protocol):
    """The streams of one command, from the side of the command."""

    async def receive(self, sink: Sink) -> None:
        """Give `sink` all that the client sends, until it closes the connection. Raises OSError."""

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send to stdout or stderr. Raises OSError."""

    async def finish(self, status: Json) -> None:
        """Send the ends of the streams and the status, and wait for the client to go."""


Serve = Callable[[Channels], Awaitable[None]]


async def over_web_socket(
    request: web.BaseRequest, wanted: Wanted, serve: Serve
) -> web.StreamResponse:
    """Serve a command over a WebSocket. Raises Refused if the client speaks no protocol of ours."""
    offered = _listed(request, "Sec-WebSocket-Protocol")
    protocol = next((each for each in offered if each in (_V5, _V4)), "")
    if not protocol:
        raise refused_protocol(offered, (_V5, _V4))
    answer = web.WebSocketResponse(
        protocols=(protocol,),
        max_msg_size=_LONGEST_MESSAGE,
        compress=False,
        timeout=_GOODBYE_S,
    )
    await answer.prepare(request)
    channels = _WebSocketChannels(answer)
    # The kubelet tells clients in this way that all is set up.
    output = Channel.STDOUT if wanted.stdout else Channel.STDERR if wanted.stderr else Channel.ERROR
    await channels.send(output, b"")
    await serve(channels)
    return answer


async def over_spdy(request: web.BaseRequest, wanted: Wanted, serve: Serve) -> web.StreamResponse:
    """Serve a command over SPDY/3.1. Raises Refused if the client speaks no protocol of ours."""
    connection = accept_spdy(request, (_V4,))
    session = SpdySession(connection)
    running = asyncio.ensure_future(session.run())
    try:
        streams = await asyncio.wait_for(_expected(session, wanted), _STREAMS_S)
        if streams:
            await serve(_SpdyChannels(session, streams, running))
    except TimeoutError:
        pass  # it did not open its streams: nobody is there to be told
    finally:
        running.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # a client that does not speak SPDY is cut off
        connection.close()
    return Hijacked()


def accept_spdy(request: web.BaseRequest, known: Sequence[str]) -> HijackedConnection:
    """Answer the upgrade of a connection to SPDY/3.1 with the first protocol of the client's that
    is `known`, and take it over. Raises Refused.
    """
    offered = _listed(request, "X-Stream-Protocol-Version")
    protocol = next((each for each in offered if each in known), "")
    if not protocol:
        raise refused_protocol(offered, known)
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        f"X-Stream-Protocol-Version: {protocol}\r\n\r\n"
    )
    return HijackedConnection(request, head.encode())


def is_web_socket(request: web.BaseRequest) -> bool:
    """Tell which of the two a client asks for. Raises Refused if it asks for neither."""
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade == "websocket":
        return True
    if upgrade == "spdy/3.1":
        return False
    words = "Upgrade request required"
    raise Refused(words, status=400, reason="BadRequest")


def refused_protocol(offered: Sequence[str], known: Sequence[str]) -> Refused:
    """Return the refusal of a client that speaks no known protocol. It is answered with 403."""
    words = (
        f"unable to upgrade: unable to negotiate protocol: client supports [{' '.join(offered)}]"
    )
    return Refused(f"{words}, server accepts [{' '.join(known)}]", status=403, reason="Forbidden")


async def received(socket: web.WebSocketResponse) -> bytes | None:
    """Return the next message of a client; None if the connection is closed, or broken off.

    Clients may send text instead of bytes: the one of Python does, if it is given a string.
    """
    message = await socket.receive()
    match message.type:
        case WSMsgType.BINARY:
            return bytes(message.data)
        case WSMsgType.TEXT:
            return str(message.data).encode()
        case _:
            return None


class _WebSocketChannels:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def receive(self, sink: Sink) -> None:
        while True:
            data = await received(self._socket)
            if data is None:
                return
            match data[0] if data else -1:
                case Channel.STDIN if len(data) > 1:
                    await sink.stdin(data[1:])
                case Channel.RESIZE:
                    resize(sink, data[1:])
                case Channel.CLOSE if data[1:] == bytes([Channel.STDIN]):
                    await sink.end_of_stdin()

    async def send(self, channel: Channel, data: bytes) -> None:
        await self._socket.send_bytes(bytes([channel]) + data)

    async def finish(self, status: Json) -> None:
        with suppress(OSError):
            await self.send(Channel.ERROR, json.dumps(status).encode())
        await self._socket.close(code=WSCloseCode.OK)


class _SpdyChannels:
    def __init__(
        self,
        session: SpdySession,
        streams: Mapping[str, SpdyStream],
        running: asyncio.Task[None],
    ) -> None:
        self._session = session
        self._streams = streams
        self._running = running

    async def receive(self, sink: Sink) -> None:
        stdin = asyncio.ensure_future(self._receive_stdin(sink))
        sizes = asyncio.ensure_future(self._receive_sizes(sink))
        try:
            await asyncio.wait({self._running})
        finally:
            for each in (stdin, sizes):
                each.cancel()
            await asyncio.gather(stdin, sizes, return_exceptions=True)

    async def send(self, channel: Channel, data: bytes) -> None:
        await self._streams["stdout" if channel == Channel.STDOUT else "stderr"].write(data)

    async def finish(self, status: Json) -> None:
        with suppress(OSError):
            for name in ("stdout", "stderr"):
                if name in self._streams:
                    await self._streams[name].finish()
            await self._streams["error"].write(json.dumps(status).encode())
        for stream in self._streams.values():
            await stream.finish()
        await self._session.say_goodbye(self._running)

    async def _receive_stdin(self, sink: Sink) -> None:
        if "stdin" in self._streams:
            while data := await self._streams["stdin"].read():
                await sink.stdin(data)
            await sink.end_of_stdin()

    async def _receive_sizes(self, sink: Sink) -> None:
        if "resize" not in self._streams:
            return
        received = b""
        while data := await self._streams["resize"].read():
            *lines, received = (received + data).split(b"\n")
            for line in lines:
                resize(sink, line)
            if len(received) > _LONGEST_RESIZE:
                return


async def _expected(session: SpdySession, wanted: Wanted) -> dict[str, SpdyStream]:
    """Return the streams by type, as soon as all are there; none if the client closes before."""
    missing = {"error"}
    missing |= {each for each in ("stdin", "stdout", "stderr") if getattr(wanted, each)}
    if wanted.tty:
        missing.discard("stderr")
        missing.add("resize")
    streams: dict[str, SpdyStream] = {}
    while missing:
        stream = await session.accept()
        if stream is None:
            return {}
        kind = stream.headers.get("streamtype", "")
        if kind not in missing:
            await stream.reset()
            continue
        missing.remove(kind)
        streams[kind] = stream
    return streams


def resize(sink: Sink, text: bytes) -> None:
    """Take over the size of a client's terminal, {"Width": 80, "Height": 24}; ignore all else."""
    try:
        size = json.loads(text)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return
    if columns >= 0 and rows >= 0:
        sink.resize(columns, rows)


def _listed(request: web.BaseRequest, header: str) -> list[str]:
    """Return the values of a header that may be repeated, or a list."""
    lines = request.headers.getall(header, [])
    return [each.strip() for line in lines for each in line.split(",") if each.strip()]
