"""Reading and writing descriptors that do not block, and noticing a client that has gone."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from aiohttp import web

CHUNK_BYTES = 32768
_KEEPALIVE = {socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}  # seconds

_T = TypeVar("_T")


async def readable(descriptor: int) -> None:
    """Return when a descriptor can be read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


async def writable(descriptor: int) -> None:
    """Return when a descriptor can be written."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)


async def chunks(descriptor: int) -> AsyncIterator[bytes]:
    """Yield what can be read until the end: of the input, or of a terminal (EIO)."""
    while True:
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            await readable(descriptor)
            continue
        except OSError:
            return
        if not data:
            return
        yield data
        await asyncio.sleep(0)  # others may have something to do


async def write_all(descriptor: int, data: bytes) -> bool:
    """Write all of `data`; return False if nobody reads it any more."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            await writable(descriptor)
        except OSError:
            return False
    return True


async def while_connected(request: web.BaseRequest, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of `work`, which is cancelled when the client closes its connection, even
    if nothing is read from it or written to it then.

    Raises ConnectionResetError if it does.
    """
    if request.transport is None:
        work.close()
        raise ConnectionResetError("the client has gone")
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_closed_by_peer(request.transport))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ConnectionResetError("the client has gone")
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.wait({task, gone})


async def _closed_by_peer(transport: asyncio.Transport) -> None:
    # A poller of its own: that of the loop tells of a closed connection only who reads from it.
    # The end of a client comes after all that it has sent. If that is more than fits in while
    # nobody takes it, its kernel gives up in a minute or two, and keepalive finds that out.
    sock = transport.get_extra_info("socket")
    for option, value in _KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    with select.epoll() as poller:
        poller.register(sock.fileno(), select.EPOLLRDHUP | select.EPOLLHUP)
        await readable(poller.fileno())
