"""Streams over one connection: opened, read and written side by side, refused, broken off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

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
from kproxy.apiserver.http.spdy_session import SpdySession, SpdyStream


class Client:
    """The far end of a session, in memory: a carrier whose two directions tests see."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._sent: asyncio.Queue[bytes] = asyncio.Queue()
        self._encoder, self._decoder = Encoder(), Decoder()

    def send(self, *frames: Frame) -> None:
        self._sent.put_nowait(b"".join(map(self._encoder.encode, frames)))

    def close(self) -> None:
        self._sent.put_nowait(b"")

    @property
    def untaken(self) -> int:
        """How many messages the session has not read yet."""
        return self._sent.qsize()

    async def read(self) -> bytes:
        return await self._sent.get()

    async def write(self, data: bytes) -> None:
        self.frames += self._decoder.feed(data)


def play(scene: Callable[[Client, SpdySession], Awaitable[None]]) -> None:
    async def run() -> None:
        client = Client()
        session = SpdySession(client)
        running = asyncio.ensure_future(session.run())
        await scene(client, session)
        client.close()
        await running

    asyncio.run(run())


async def accepted(session: SpdySession) -> SpdyStream:
    stream = await session.accept()
    assert stream
    return stream


def test_a_stream_is_answered_and_carries_data_both_ways() -> None:
    async def scene(client: Client, session: SpdySession) -> None:
        client.send(SynStream(1, {"streamtype": "stdin"}), Data(1, b"in"), Data(1, b"", fin=True))
        stream = await accepted(session)
        assert stream.headers == {"streamtype": "stdin"}
        assert [await stream.read(), await stream.read()] == [b"in", b""]
        await stream.write(b"out")
        await stream.finish()
        assert client.frames == [SynReply(1, {}), Data(1, b"out"), Data(1, b"", fin=True)]
        assert stream.over

    play(scene)


def test_long_data_is_sent_in_pieces() -> None:
    async def scene(client: Client, session: SpdySession) -> None:
        client.send(SynStream(1, {}))
        data = bytes(100_000)
        await (await accepted(session)).write(data)
        pieces = [frame.data for frame in client.frames if isinstance(frame, Data)]
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) <= 32768

    play(scene)


def test_pings_of_the_client_are_answered_and_no_others() -> None:
    async def scene(client: Client, session: SpdySession) -> None:
        client.send(Ping(1), Ping(2), Ping(3), SynStream(1, {}))
        await accepted(session)
        assert client.frames[:2] == [Ping(1), Ping(3)]

    play(scene)


def test_numbers_must_be_odd_and_grow() -> None:
    async def scene(client: Client, session: SpdySession) -> None:
        client.send(SynStream(5, {}), SynStream(3, {}), SynStream(6, {}), SynStream(7, {}))
        assert [(await accepted(session)).number for _ in range(2)] == [5, 7]
        assert client.frames[1:3] == [RstStream(3, 1), RstStream(6, 1)]

    play(scene)


def test_too_many_streams_are_refused_until_some_have_ended() -> None:
    async def scene(client: Client, session: SpdySession) -> None:
        client.send(*(SynStream(2 * i + 1, {}) for i in range(1025)))
        first = await accepted(session)
        while RstStream(2049, 3) not in client.frames:
            await session.accept()
        await first.reset()
        client.send(SynStream(2051, {}))
        while (await accepted(session)).number != 2051:
            pass

    play(scene)


def test_who_reads_slowly_stops_the_client() -> None:
    async def scene(client: Client, session: SpdySession) -> None:
        client.send(SynStream(1, {}))
        stream = await accepted(session)
        for _ in range(50):
            client.send(Data(1, bytes(32768)))
        client.send(Data(1, b"", fin=True))
        await asyncio.wait_for(first_read(stream), 10)
        assert client.untaken > 30
        total = 32768
        while data := await stream.read():
            total += len(data)
        assert total == 50 * 32768

    async def first_read(stream: SpdyStream) -> None:
        assert await stream.read()

    play(scene)


def test_a_reset_is_an_error_for_who_reads_or_writes() -> None:
    async def scene(client: Client, session: SpdySession) -> None:
        client.send(SynStream(1, {}))
        stream = await accepted(session)
        reading = asyncio.ensure_future(stream.read())
        client.send(RstStream(1, 5))
        with pytest.raises(ConnectionResetError):
            await reading
        with pytest.raises(ConnectionResetError):
            await stream.write(b"x")
        await stream.finish()  # harmless
        assert client.frames == [SynReply(1, {})]

    play(scene)


def test_the_end_of_the_connection_is_the_end_of_all() -> None:
    async def scene(client: Client, session: SpdySession) -> None:
        client.send(SynStream(1, {}))
        stream = await accepted(session)
        client.close()
        assert await session.accept() is None
        with pytest.raises(ConnectionResetError):
            await stream.read()

    play(scene)
