"""An API on a loopback address."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kproxy.apiserver.http.server import HttpsServer, tls_context
from tests.apiserver.memory_plane import MemoryPlane
from tests.apiserver.served import TOKENS, Served
from tests.kubernetes.certificates import Authority, Pair


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def pair(authority: Authority) -> Pair:
    return authority.issue("server")


@pytest.fixture
def served(authority: Authority, pair: Pair) -> Iterator[Served]:
    plane = MemoryPlane()
    tls = tls_context(pair.certificate, pair.key)
    with HttpsServer(plane, tokens=TOKENS, tls=tls) as server, ExitStack() as opened:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server.start([listening])
        yield Served(plane, server, port, authority.certificate, opened)
