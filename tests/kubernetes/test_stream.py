"""Streams: each piece when it comes, an end that is one, and an end from outside."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from kproxy.errors import Unreachable
from kproxy.kubernetes.connection import CHUNK_BYTES, Connection, Stream
from tests.kubernetes.api_server import CUT, ApiServer, Request, answer, chunk, chunked
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import TOKEN, document, said, write

HEAD = chunked(end=False)[0]
Handler = Callable[[ApiServer, Request], Iterable[bytes]]
Serve = Callable[[Handler], "Served"]


class Served:
    def __init__(self, server: ApiServer, connection: Connection) -> None:
        self.server = server
        self.connection = connection

    def stream(self, silence_s: float = 30) -> Stream:
        return self.connection.stream("/watch", {"watch": "true"}, silence_s=silence_s)


@pytest.fixture(params=["http", "https"])
def serve(
    request: pytest.FixtureRequest, tmp_path: Path, authority: Authority, server_pair: Pair
) -> Iterator[Serve]:
    """Serves streams of a handler, with and without TLS."""
    started: list[Served] = []

    def serve(handle: Handler) -> Served:
        pair = server_pair if request.param == "https" else None
        server = ApiServer(lambda asked: handle(server, asked), pair)
        server.__enter__()
        authorities = {"certificate-authority": str(authority.certificate)} if pair else {}
        cluster = {"server": server.url} | authorities
        path = write(tmp_path, document(cluster, {"token": TOKEN}))
        started.append(Served(server, Connection(path)))
        return started[-1]

    yield serve
    for each in started:
        each.connection.close()
        each.server.__exit__()


def test_pieces_come_one_by_one(serve: Serve) -> None:
    """The server sends an event only after the one before it has been read."""
    read = threading.Semaphore(0)

    def handle(_server: ApiServer, _request: Request) -> Iterable[bytes]:
        yield HEAD
        for piece in (b"first\n", b"second\n", b"third\n"):
            yield chunk(piece)
            assert read.acquire(timeout=30)
        yield chunk(b"")

    came = []
    with serve(handle).stream() as stream:
        assert stream.status == 200
        assert stream.headers == {"transfer-encoding": "chunked"}
        for piece in stream.chunks():
            came.append(piece)
            read.release()
    assert came == [b"first\n", b"second\n", b"third\n"]


def test_a_body_of_no_stated_length_comes_at_once(serve: Serve) -> None:
    """Servers of HTTP/1.0 send like that."""
    read = threading.Semaphore(0)

    def handle(_server: ApiServer, _request: Request) -> Iterable[bytes]:
        yield b"HTTP/1.0 200 OK\r\n\r\n"
        for piece in (b"first\n", b"second\n"):
            yield piece
            assert read.acquire(timeout=30)
        yield CUT

    came = []
    with serve(handle).stream() as stream:
        for piece in stream.chunks():
            came.append(piece)
            read.release()
    assert came == [b"first\n", b"second\n"]


def test_large_pieces_are_cut(serve: Serve) -> None:
    large = os.urandom(3 * CHUNK_BYTES + 5)
    with serve(lambda *_: chunked(large, b"end")).stream() as stream:
        pieces = [*stream.chunks()]
    assert b"".join(pieces) == large + b"end"
    assert max(map(len, pieces)) == CHUNK_BYTES


def test_many_small_pieces(serve: Serve) -> None:
    event = b'{"type": "ADDED"}\n'
    many = [HEAD, *[chunk(event) * 100] * 200, b"0\r\n\r\n"]
    with serve(lambda *_: many).stream() as stream:
        assert sum(map(len, stream.chunks())) == 20_000 * len(event)


@pytest.mark.parametrize(
    "body", [answer(b"refused", 422), chunked(b"ref", b"used")], ids=["length", "chunked"]
)
def test_the_rest_of_an_error(serve: Serve, body: Iterable[bytes]) -> None:
    with serve(lambda *_: body).stream() as stream:
        assert stream.read() == b"refused"
        assert stream.read() == b""


def test_each_stream_has_a_connection_of_its_own(serve: Serve) -> None:
    def handle(server: ApiServer, _request: Request) -> Iterable[bytes]:
        yield HEAD + chunk(b"event\n")
        server.over.wait(30)

    served = serve(handle)
    with served.stream() as first, served.stream() as second:
        assert next(first.chunks()) == next(second.chunks()) == b"event\n"
        assert served.server.connections == 2
    for _ in range(2):
        assert served.server.gone.acquire(blocking=False) is False
    served.server.over.set()


BROKEN = {
    "in a piece": HEAD + b"10\r\nhalf",
    "between pieces": HEAD + chunk(b"whole\n"),
    "in a length": HEAD + b"1",
    "before any": HEAD,
    "after a length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
}


@pytest.mark.parametrize("where", BROKEN)
def test_it_breaks_off(serve: Serve, where: str) -> None:
    served = serve(lambda *_: [BROKEN[where], CUT])
    with served.stream() as stream, pytest.raises(Unreachable) as caught:
        stream.read()
    assert said(caught.value) == (
        f"{served.server.url}: the connection ended in the middle of an answer"
    )


def test_nonsense_for_a_length(serve: Serve) -> None:
    served = serve(lambda *_: [HEAD + b"nonsense\r\n"])
    with served.stream() as stream, pytest.raises(Unreachable):
        stream.read()


def test_silence(serve: Serve) -> None:
    def handle(server: ApiServer, _request: Request) -> Iterable[bytes]:
        yield HEAD + chunk(b"event\n")
        server.over.wait(30)

    served = serve(handle)
    with served.stream(0.2) as stream, pytest.raises(Unreachable) as caught:
        stream.read()
    assert said(caught.value) == f"{served.server.url}: nothing came for 0.2 s"


@pytest.mark.parametrize("head", [HEAD, b"HTTP/1.0 200 OK\r\n\r\n"], ids=["chunked", "no length"])
def test_closed_by_another_thread(serve: Serve, head: bytes) -> None:
    """A thread that waits for the next event is woken, and its reading ends."""

    def handle(server: ApiServer, _request: Request) -> Iterable[bytes]:
        yield head + (chunk(b"event\n") if head == HEAD else b"event\n")
        server.over.wait(30)

    served = serve(handle)
    came: list[bytes] = []
    first = threading.Event()

    def read(stream: Stream) -> None:
        for piece in stream.chunks():
            came.append(piece)
            first.set()

    for _ in range(10):  # reading may be anywhere when it is closed
        first.clear()
        stream = served.stream(3600)
        reader = threading.Thread(target=read, args=[stream], daemon=True)
        closer = threading.Thread(target=stream.close, daemon=True)
        reader.start()
        assert first.wait(30)
        closer.start()
        for thread in (closer, reader):
            thread.join(30)
            assert not thread.is_alive()
        stream.close()
    assert came == [b"event\n"] * 10


def test_closed_before_it_is_read(serve: Serve) -> None:
    stream = serve(lambda *_: chunked(b"event\n")).stream()
    stream.close()
    assert [*stream.chunks()] == []


def test_closed_between_pieces(serve: Serve) -> None:
    with serve(lambda *_: chunked(b"one", b"two")).stream() as stream:
        pieces = stream.chunks()
        assert next(pieces) == b"one"
        stream.close()
        assert [*pieces] == []


def test_no_descriptor_is_kept(serve: Serve) -> None:
    served = serve(lambda *_: chunked(b"event\n"))
    served.stream().close()
    served.server.gone.acquire(timeout=30)
    before = own_sockets()
    for _ in range(20):
        with served.stream() as stream:
            stream.read()
        assert served.server.gone.acquire(timeout=30)
    assert own_sockets() <= before


def own_sockets() -> int:
    """Return the number of descriptors of this process that are sockets, the server's included."""
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            count += os.readlink(each).startswith("socket:")
        except FileNotFoundError:  # of the look itself
            continue
    return count
