"""Accepts TCP connections, and copies bytes both ways, with half-closed connections as they are."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from contextlib import suppress

NO_ROOM = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
PAUSE_S = 0.5  # before another connection is accepted, if there is no room for one

_CHUNK_BYTES = 1 << 16


async def accept(sock: socket.socket) -> tuple[socket.socket, str]:
    """Return the next connection, which does not block, and the client's address.

    Raises OSError. `loop.sock_accept` would lose, and never close, what it accepts when it is
    cancelled.
    """
    while True:
        await _readable(sock)
        try:
            client, (address, *_) = sock.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client has given up
            continue
        client.setblocking(False)
        return client, address


async def relay(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes both ways until both sides have ended. The caller closes the sockets then.

    Raises ExceptionGroup if a side breaks; the rest of the other's bytes is not read.
    """
    _tune(one, other)
    async with asyncio.TaskGroup() as both:
        both.create_task(_pump(one, other))
        both.create_task(_pump(other, one))
    for sock in (one, other):
        reset_at_close(sock, False)


async def relay_each_way(one: socket.socket, other: socket.socket) -> None:
    """Do the same as `relay`, but a side that breaks counts as one that has ended."""
    _tune(one, other)
    await asyncio.gather(_pump_to_the_end(one, other), _pump_to_the_end(other, one))


def reset_at_close(sock: socket.socket, reset: bool = True) -> None:
    """Send RST when the socket is closed, or, without `reset`, end normally.

    RST tells the other side of a failure; an end of input would tell it of success. So it is set at
    first, and unset when both sides have ended.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))


def _tune(*socks: socket.socket) -> None:
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes one way, no faster than `target` takes them, and then the end of input."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _CHUNK_BYTES):
        await loop.sock_sendall(target, data)
    target.shutdown(socket.SHUT_WR)


async def _pump_to_the_end(source: socket.socket, target: socket.socket) -> None:
    try:
        await _pump(source, target)
    except OSError:
        with suppress(OSError):  # it may be the target that is broken
            target.shutdown(socket.SHUT_WR)


async def _readable(sock: socket.socket) -> None:
    """Wait for something to read or to accept, without reading or accepting it."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(sock, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock)
