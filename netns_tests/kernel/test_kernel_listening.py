"""The sockets that listen in a namespace, and no others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kproxy.address import socket_family
from kproxy.kernel.links import Links
from kproxy.kernel.listening import listening
from kproxy.kernel.netns import Namespace


@pytest.fixture(autouse=True)
def _own_namespace() -> Iterator[None]:
    with Namespace.create() as namespace, namespace.entered():
        with Links() as links:
            links.up("lo")
        yield


def bound(opened: ExitStack, kind: int, *place: str | int) -> socket.socket:
    made = opened.enter_context(socket.socket(socket_family(str(place[0])), kind))
    made.bind(place)
    return made


def test_what_listens() -> None:
    assert listening() == frozenset()
    with ExitStack() as opened:
        server = bound(opened, socket.SOCK_STREAM, "127.0.0.1", 80)
        bound(opened, socket.SOCK_STREAM, "127.0.0.1", 81)  # does not listen
        server.listen()
        client = opened.enter_context(socket.create_connection(("127.0.0.1", 80)))
        opened.enter_context(server.accept()[0])
        bound(opened, socket.SOCK_STREAM, "::", 82).listen()
        bound(opened, socket.SOCK_DGRAM, "::1", 53)
        bound(opened, socket.SOCK_DGRAM, "0.0.0.0", 54)
        bound(opened, socket.SOCK_DGRAM, "127.0.0.1", 55).connect(client.getpeername())
        with Namespace.create() as other:
            assert other.run(listening) == frozenset()
        assert listening() == {
            ("TCP", "127.0.0.1", 80),
            ("TCP", "::", 82),
            ("UDP", "::1", 53),
            ("UDP", "0.0.0.0", 54),
        }
    assert listening() == frozenset()
