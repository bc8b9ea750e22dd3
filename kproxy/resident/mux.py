"""Many connections over one pair of pipes: how a guest's sockets are reached from its host.

A user-mode Linux guest has no network; all that leads there are the standard streams of the command
that runs in it. So both ends send frames: number of the stream, kind, length, that many bytes.

    OPEN    the host has a connection for a target of the guest, which is named
    DATA    some of its bytes
    END     no more bytes come from this end
    ABORT   the connection is broken
    SAY     a message to the other end, on stream 0

A connection whose reader is too slow is broken when `_MOST_WAITING` bytes wait for it: all others
share the pipe.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum

_HEAD = struct.Struct(">IBI")
_CHUNK = 1 << 14
_MOST_WAITING = 8 << 20

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Kind(IntEnum):
    """The kind of a frame."""

    OPEN, DATA, END, ABORT, SAY = range(5)


class _Stream:
    """One connection. Without a `writer` yet, what comes for it waits in `early`."""

    def __init__(self, writer: asyncio.StreamWriter | None = None) -> None:
        self.writer = writer
        self.early = bytearray()
        self.ended = asyncio.Event()  # by the other end
        self.broken = False

    def take(self, data: bytes) -> bool:
        """Pass on what has come; return whether its reader keeps up."""
        if not self.writer:
            self.early += data
            return len(self.early) <= _MOST_WAITING
        self.writer.write(data)
        return self.writer.transport.get_write_buffer_size() <= _MOST_WAITING

    def end(self) -> None:
        self.ended.set()
        if self.writer and not self.writer.is_closing():
            with suppress(OSError):  # its peer is gone
                self.writer.write_eof()

    def abort(self) -> None:
        self.broken = True
        self.ended.set()
        if self.writer:
            self.writer.transport.abort()

    def connected(self, writer: asyncio.StreamWriter) -> None:
        """Pass on what has come before there was a connection."""
        self.writer = writer
        if self.broken:
            writer.transport.abort()
            return
        writer.write(bytes(self.early))
        self.early.clear()
        if self.ended.is_set():
            self.end()


class Mux:
    """One end, in the loop of `run`."""

    def __init__(
        self, connect: Callable[[str], Awaitable[Ends]], hear: Callable[[bytes], object]
    ) -> None:
        """`connect` opens a target that the other end asks for, `hear` takes its messages."""
        self._connect, self._hear = connect, hear
        self._streams: dict[int, _Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last = 0
        self._out: asyncio.StreamWriter | None = None

    async def run(self, reads: int, writes: int) -> None:
        """Carry frames until the other end has ended. Takes over both descriptors."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        incoming, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reads, "rb", buffering=0)
        )
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(writes, "wb", buffering=0)
        )
        self._out = asyncio.StreamWriter(transport, protocol, None, loop)
        try:
            while True:
                number, kind, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
                payload = await reader.readexactly(length)
                self._take(number, Kind(kind), payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            incoming.close()
            transport.abort()
            for stream in self._streams.values():
                stream.abort()

    def finish(self) -> None:
        """Send nothing more: the other end reads the end of its input."""
        if self._out:
            self._out.close()

    async def accept(
        self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry a connection to a target of the other end, to its end."""
        self._last += 1
        number = self._last
        self._streams[number] = stream = _Stream(writer)
        await self._send(number, Kind.OPEN, target.encode())
        await self._pump(number, stream, reader)

    async def say(self, message: bytes) -> None:
        """Send a message to the other end."""
        await self._send(0, Kind.SAY, message)

    def _take(self, number: int, kind: Kind, payload: bytes) -> None:
        stream = self._streams.get(number)
        match kind:
            case Kind.SAY:
                self._hear(payload)
            case Kind.OPEN:
                self._streams[number] = stream = _Stream()
                self._start(self._open(number, stream, payload.decode()))
            case Kind.DATA if stream and not stream.take(payload):
                stream.abort()
                self._start(self._send(number, Kind.ABORT))
            case Kind.END if stream:
                stream.end()
            case Kind.ABORT if stream:
                stream.abort()

    async def _open(self, number: int, stream: _Stream, target: str) -> None:
        try:
            reader, writer = await self._connect(target)
        except OSError:
            del self._streams[number]
            await self._send(number, Kind.ABORT)
            return
        stream.connected(writer)
        await self._pump(number, stream, reader)

    async def _pump(self, number: int, stream: _Stream, reader: asyncio.StreamReader) -> None:
        """Send what a connection brings, and its end; return when both ends have ended."""
        try:
            while data := await reader.read(_CHUNK):
                await self._send(number, Kind.DATA, data)
            await self._send(number, Kind.END)
            await stream.ended.wait()
        except ConnectionError:
            await self._send(number, Kind.ABORT)
        finally:
            if stream.writer:
                stream.writer.close()
            self._streams.pop(number, None)

    async def _send(self, number: int, kind: Kind, payload: bytes = b"") -> None:
        if self._out and not self._out.is_closing():
            self._out.write(_HEAD.pack(number, kind, len(payload)) + payload)
            await self._out.drain()

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
