"""A server that stops closes every connection, whatever state it is in."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

import pytest
from aiohttp import web

from kproxy.apiserver.http.connections import Connections
from tests.kubernetes.certificates import Authority

HEAD = b"Host: x\r\n"
ASKED = {  # the server answers and closes all but the first
    "stays": b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n",
    "is closed": b"GET / HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n",
    "of HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "speaks something else": b"rubbish\r\n\r\n",
}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    pair = Authority(tmp_path_factory.mktemp("end")).issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


async def hello(_: web.BaseRequest) -> web.Response:
    return web.Response(text="hello")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def answered(address: tuple[str, int], asked: bytes) -> ssl.SSLSocket:
    """Return a connection whose client does not say that it has seen the end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_socket(socket.create_connection(address))
    client.sendall(asked)
    assert client.recv(100)
    return client


@pytest.mark.parametrize("asked", ASKED.values(), ids=[*ASKED])
def test_a_connection_that_has_been_answered(asked: bytes, tls: ssl.SSLContext) -> None:
    async def left_open() -> int:
        before = descriptors()
        connections = Connections(web.Server(hello), tls)
        listening = socket.create_server(("127.0.0.1", 0))
        connections.listen(listening)
        with await asyncio.to_thread(answered, listening.getsockname(), asked):
            await connections.close()
            return descriptors() - before - 1  # the client's own

    assert asyncio.run(left_open()) == 0


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("is_tls", [True, False])
def test_connections_that_have_just_come(turns: int, is_tls: bool, tls: ssl.SSLContext) -> None:
    """Accepted, or about to be, or in their handshakes, after so many turns of the loop."""

    async def left_open() -> int:
        before = descriptors()
        connections = Connections(web.Server(hello), tls if is_tls else None)
        listening = socket.create_server(("127.0.0.1", 0))
        address = listening.getsockname()
        clients = [socket.create_connection(address) for _ in range(3)]
        connections.listen(listening)
        for _ in range(turns):
            await asyncio.sleep(0)
        await connections.close()
        left = descriptors() - before - len(clients)
        for each in clients:
            each.close()
        return left

    assert asyncio.run(left_open()) == 0
