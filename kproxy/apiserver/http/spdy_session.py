"""Streams over one connection that carries SPDY frames; the side that accepts streams.

    Carrier (a hijacked connection, or messages of a WebSocket) <-> SpdySession <-> SpdyStream, ...

A stream whose reader is slow stops the reading of the whole connection once it holds
`_MOST_HELD_BYTES`, as it does in the kubelet: kubectl knows no other flow control.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from aiohttp import WSMsgType, web

from kproxy.apiserver.http import spdy
from kproxy.apiserver.http.descriptors import CHUNK_BYTES
from kproxy.apiserver.http.spdy import (
    Data,
    Decoder,
    Encoder,
    Frame,
    Ping,
    RstStream,
    SynReply,
    SynStream,
)

_MOST_HELD_BYTES = 1 << 18
_MOST_STREAMS = 1024
_GOODBYE_S = 5


class Carrier(Protocol):
    """Bytes in both directions."""

    async def read(self) -> bytes:
        """Return what was received; b"" at the end. Raises OSError."""

    async def write(self, data: bytes) -> None:
        """Send all in the order of the calls, and wait until there is room for more.

        Raises OSError.
        """


class SpdyStream:
    """One stream. It was accepted already."""

    def __init__(self, session: SpdySession, number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._received: deque[bytes] = deque()
        self._held = 0
        self._ended = self._broken = self._finished = False
        self._changed = asyncio.Condition()

    async def read(self) -> bytes:
        """Return what was received; b"" at the end. Raises ConnectionResetError."""
        async with self._changed:
            while not self._received and not self._ended and not self._broken:
                await self._changed.wait()
            if not self._received:
                if self._broken:
                    raise ConnectionResetError("the stream was reset")
                return b""
            data = self._received.popleft()
            self._held -= len(data)
            self._changed.notify_all()
            return data

    async def write(self, data: bytes) -> None:
        """Send all. Raises OSError if nobody takes it any more."""
        for start in range(0, len(data), CHUNK_BYTES):
            if self._broken or self._finished:
                raise ConnectionResetError("the stream has ended")
            await self._session.send(Data(self.number, data[start : start + CHUNK_BYTES]))

    async def finish(self) -> None:
        """Send the end. Harmless when repeated, or if nobody takes it any more."""
        if not self._finished and not self._broken:
            self._finished = True
            with suppress(OSError):
                await self._session.send(Data(self.number, b"", fin=True))
            self._session.forget_if_over(self)

    async def reset(self) -> None:
        """End both directions now."""
        if not self.over:
            with suppress(OSError):
                await self._session.send(RstStream(self.number, spdy.CANCEL))
        await self.break_off()

    @property
    def over(self) -> bool:
        """True after both sides have ended it."""
        return self._broken or (self._ended and self._finished)

    async def take(self, data: bytes, *, fin: bool) -> None:
        """Hold data until it is read, for the session."""
        async with self._changed:
            while self._held > _MOST_HELD_BYTES and not self._broken:
                await self._changed.wait()
            if data and not self._broken:
                self._received.append(data)
                self._held += len(data)
            self._ended = self._ended or fin
            self._changed.notify_all()
        self._session.forget_if_over(self)

    async def break_off(self) -> None:
        """Let readers and writers know that there will be no more, for the session."""
        async with self._changed:
            self._broken = True
            self._changed.notify_all()
        self._session.forget_if_over(self)


class SpdySession:
    """The streams that the other side opens. `run` must run as long as any of them is used."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._encoder = Encoder()
        self._streams: dict[int, SpdyStream] = {}
        self._opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._last = 0

    async def run(self) -> None:
        """Receive until the other side closes the connection. Raises BrokenSpdy, OSError."""
        decoder = Decoder()
        try:
            while data := await self._carrier.read():
                for frame in decoder.feed(data):
                    await self._receive(frame)
        finally:
            self._opened.put_nowait(None)
            for stream in [*self._streams.values()]:
                await stream.break_off()

    async def accept(self) -> SpdyStream | None:
        """Return the next stream that was opened; None at the end of the connection."""
        return await self._opened.get()

    async def send(self, frame: Frame) -> None:
        """Send a frame. Raises OSError."""
        await self._carrier.write(self._encoder.encode(frame))

    def forget_if_over(self, stream: SpdyStream) -> None:
        """Take note that a side has ended a stream."""
        if stream.over:
            self._streams.pop(stream.number, None)

    async def _receive(self, frame: Frame) -> None:
        match frame:
            case SynStream(number, headers, fin):
                await self._open(number, headers, fin=fin)
            case Data(number, data, fin):
                if stream := self._streams.get(number):
                    await stream.take(data, fin=fin)
            case RstStream(number, _):
                if stream := self._streams.get(number):
                    await stream.break_off()
            case Ping(number) if number % 2:
                await self.send(frame)
            case _:  # it needs no answer
                pass

    async def _open(self, number: int, headers: Mapping[str, str], *, fin: bool) -> None:
        if number % 2 == 0 or number <= self._last:
            await self.send(RstStream(number, spdy.PROTOCOL_ERROR))
            return
        self._last = number
        if len(self._streams) >= _MOST_STREAMS:
            await self.send(RstStream(number, spdy.REFUSED_STREAM))
            return
        stream = self._streams[number] = SpdyStream(self, number, headers)
        await self.send(SynReply(number, {}))
        if fin:
            await stream.take(b"", fin=True)
        self._opened.put_nowait(stream)

    async def say_goodbye(self, running: asyncio.Task[None]) -> None:
        """Wait until the other side, which was told everything, closes the connection: what is
        still under way would be lost otherwise. `running` is the task of `run`.
        """
        await asyncio.wait({running}, timeout=_GOODBYE_S)


class Hijacked(web.StreamResponse):
    """The response to a request whose connection has been taken over: nothing is sent."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class _Protocol(asyncio.StreamReaderProtocol):
    """Tells the HTTP server that the connection it has given away is closed."""

    def __init__(self, reader: asyncio.StreamReader, former: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._former = former

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._former.connection_lost(exc)


class HijackedConnection:
    """The connection of a request, taken over from the HTTP server."""

    def __init__(self, request: web.BaseRequest, answer: bytes) -> None:
        """Take it over and send `answer`, the head of a response. Raises ConnectionResetError."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._reader = asyncio.StreamReader()
        protocol = _Protocol(self._reader, transport.get_protocol())
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        loop = asyncio.get_running_loop()
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        self._writer.write(answer)
        if not transport.is_reading():
            transport.resume_reading()

    async def read(self) -> bytes:
        """Return what was received; b"" at the end."""
        return await self._reader.read(1 << 16)

    async def write(self, data: bytes) -> None:
        """Send all, and wait until there is room for more."""
        self._writer.write(data)
        await asyncio.sleep(0)  # so that a connection that has gone is told of, before more is sent
        await self._writer.drain()

    def close(self) -> None:
        """Close it after all that was written."""
        self._writer.close()


class WebSocketCarrier:
    """Bytes in binary messages of a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        """Return the next message; b"" at the end."""
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def write(self, data: bytes) -> None:
        """Send a message."""
        await self._socket.send_bytes(data)
