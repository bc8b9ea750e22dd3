"""Connections to ports of a pod, each over a pair of streams: one for data, one for an error.

The streams are those of SPDY, whose frames come over the connection itself, or in messages of a
WebSocket; they have the headers `streamType`, `port` and `requestID`, which joins a pair. Older
clients use pairs of channels of a WebSocket instead (`port_channels`).
Source: pkg/kubelet/cri-client streaming, portforward/httpstream.go
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from aiohttp import web

from kproxy.apiserver.http.channels import accept_spdy, refused_protocol
from kproxy.apiserver.http.descriptors import CHUNK_BYTES
from kproxy.apiserver.http.spdy_session import (
    Carrier,
    Hijacked,
    SpdySession,
    SpdyStream,
    WebSocketCarrier,
)
from kproxy.errors import KproxyError

_PROTOCOL = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
_LONGEST_MESSAGE = 1 << 20
_GOODBYE_S = 5

Connect = Callable[[int], socket.socket]


class Stream(Protocol):
    """One of a pair of streams. Writing raises OSError if the client is gone."""

    async def read(self) -> bytes:
        """Return what the client has sent; nothing at the end."""

    async def write(self, data: bytes) -> None: ...

    async def finish(self) -> None:
        """Let the client know that nothing more comes."""

    async def reset(self) -> None:
        """Let the client know that the stream is of no use any more."""


async def over_web_socket(
    request: web.BaseRequest, pod: str, connect: Connect
) -> web.StreamResponse:
    """Serve connections over SPDY in a WebSocket, until the client closes it. Raises Refused."""
    names = offered_protocols(request)
    if TUNNEL not in names:
        raise refused_protocol(names, (TUNNEL,))
    answer = web.WebSocketResponse(
        protocols=(TUNNEL,), max_msg_size=_LONGEST_MESSAGE, compress=False, timeout=_GOODBYE_S
    )
    await answer.prepare(request)
    await serve(WebSocketCarrier(answer), pod, connect)
    await answer.close()
    return answer


def offered_protocols(request: web.BaseRequest) -> list[str]:
    """Return the protocols that a client offers for its WebSocket."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    return [name for each in offered.split(",") if (name := each.strip())]


async def over_spdy(request: web.BaseRequest, pod: str, connect: Connect) -> web.StreamResponse:
    """Serve connections over SPDY/3.1, until the client closes it. Raises Refused."""
    connection = accept_spdy(request, (_PROTOCOL,))
    try:
        await serve(connection, pod, connect)
    finally:
        connection.close()
    return Hijacked()


async def serve(carrier: Carrier, pod: str, connect: Connect) -> None:
    """Serve pairs of streams until the client closes the connection. `pod`: a name for errors."""
    session = SpdySession(carrier)
    running = asyncio.ensure_future(session.run())
    halves: dict[str, SpdyStream] = {}
    forwarding: set[asyncio.Task[None]] = set()
    try:
        while stream := await session.accept():
            name = stream.headers.get("requestid", "")
            former = halves.pop(name, None)
            if former is None or former.over:
                halves[name] = stream
                continue
            pair = {each.headers.get("streamtype", ""): each for each in (former, stream)}
            if set(pair) != {"data", "error"}:
                for each in (former, stream):
                    await each.reset()
                continue
            data, error = pair["data"], pair["error"]
            task = asyncio.ensure_future(forward(data, error, pod, connect, _port(data)))
            forwarding.add(task)
            task.add_done_callback(forwarding.discard)
    finally:
        running.cancel()
        for task in forwarding:
            task.cancel()
        await asyncio.gather(running, *forwarding, return_exceptions=True)


async def forward(data: Stream, error: Stream, pod: str, connect: Connect, port: int) -> None:
    """Connect to a port of a pod and carry what both sides say, until both have ended.

    `pod`: a name for errors, which the client is told.
    """
    try:
        sock = await _connected(connect, port)
    except (OSError, KproxyError) as problem:
        with suppress(OSError):
            await error.write(_words(pod, port, problem).encode())
        await error.finish()
        await data.reset()
        return
    with sock:
        outward = asyncio.ensure_future(_from_pod(sock, data))
        inward = asyncio.ensure_future(_to_pod(data, sock))
        try:
            await asyncio.gather(outward, inward)
        except OSError:
            await data.reset()
        finally:
            for each in (outward, inward):
                each.cancel()
            await asyncio.gather(outward, inward, return_exceptions=True)
            await error.finish()


def _port(stream: SpdyStream) -> int:
    try:
        return int(stream.headers.get("port", ""))
    except ValueError:
        return 0


async def _connected(connect: Connect, port: int) -> socket.socket:
    """Connect in a thread; if this is cancelled meanwhile, the connection is closed."""
    connecting = asyncio.ensure_future(asyncio.to_thread(connect, port))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(_close_if_connected)
        raise


def _close_if_connected(connecting: asyncio.Future[socket.socket]) -> None:
    if not connecting.cancelled() and not connecting.exception():
        connecting.result().close()


async def _from_pod(sock: socket.socket, stream: Stream) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(sock, CHUNK_BYTES):
        await stream.write(data)
    await stream.finish()


async def _to_pod(stream: Stream, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await stream.read():
        await loop.sock_sendall(sock, data)
    with suppress(OSError):  # the pod has closed it before
        sock.shutdown(socket.SHUT_WR)


def _words(pod: str, port: int, problem: OSError | KproxyError) -> str:
    """Return what the kubelet tells the client of a port that cannot be reached."""
    said = (problem.strerror if isinstance(problem, OSError) else "") or str(problem)
    inside = f"failed to connect to localhost:{port} inside namespace"
    return f"error forwarding port {port} to pod {pod}: {inside}: {said[:1].lower()}{said[1:]}"
