"""Requests: what is sent, what comes back, and what happens if it does not."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.api_server import CUT, ApiServer, Request, answer, chunk
from tests.kubernetes.asking import Connect, ask, greet, unreachable
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import TOKEN, document, write

USER = {"token": TOKEN}


def test_a_request(connect: Connect) -> None:
    with ApiServer(greet) as server:
        connection = connect({"server": f"{server.url}/prefix/"})
        query = {"fieldSelector": "spec.clusterIP!=None", "limit": "500"}
        answered = connection.get("/api/v1/services", query, timeout_s=30)
        assert (answered.status, answered.body) == (200, b'{"kind": "Status"}')
        assert answered.headers["retry-after"] == "3"
        (request,) = server.requests
        assert (request.method, request.path) == ("GET", "/prefix/api/v1/services")
        assert request.query == query
        assert request.headers["accept"] == "application/json"
        assert request.headers["user-agent"] == f"kproxy/{version('kproxy')}"
        assert connection.url == f"{server.url}/prefix"


def test_a_body(connect: Connect) -> None:
    with ApiServer(greet) as server:
        connect({"server": server.url}).post("/apis/x", b'{"a": 1}', timeout_s=30)
        (request,) = server.requests
        assert (request.method, request.path, request.body) == ("POST", "/apis/x", b'{"a": 1}')
        assert request.headers["content-type"] == "application/json"


def test_redirects_are_not_followed(connect: Connect) -> None:
    with ApiServer(lambda _: answer(status=302, Location="/elsewhere")) as server:
        assert ask(connect({"server": server.url})) == 302
        assert len(server.requests) == 1


def test_errors_of_the_server_are_answers(connect: Connect) -> None:
    with ApiServer(lambda _: answer(b'{"reason": "Expired"}', 410)) as server:
        answered = connect({"server": server.url}).get("/", {}, timeout_s=30)
        assert (answered.status, answered.body) == (410, b'{"reason": "Expired"}')
        assert len(server.requests) == 1


def test_clear_text_is_warned_of_once(
    connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ApiServer(greet) as server:
        connection = connect({"server": server.url})
        ask(connection)
        write(tmp_path, document({"server": server.url}, USER, extra=1))
        ask(connection)
        connect({"server": server.url}, {"username": "me"})
        assert [each.getMessage() for each in caplog.records if each.name == "kproxy"] == [
            f"{server.url}: credentials are sent in clear text, without TLS"
        ]


def test_a_password(connect: Connect) -> None:
    with ApiServer(greet) as server:
        ask(connect({"server": server.url}, {"username": "me", "password": "pass"}))
        assert server.tokens == ["Basic bWU6cGFzcw=="]


def test_threads_share_a_connection(connect: Connect) -> None:
    with ApiServer(greet) as server, ThreadPoolExecutor(8) as threads:
        connection = connect({"server": server.url})
        assert [*threads.map(lambda _: ask(connection), range(100))] == [200] * 100
        assert server.connections <= 8


def test_nothing_listens(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert unreachable(connect({"server": url})) == f"{url}: connection refused"


def test_no_such_name(connect: Connect) -> None:
    text = unreachable(connect({"server": "http://kproxy.invalid"}))
    assert text.startswith("http://kproxy.invalid: its name cannot be resolved: ")


def silent(server: ApiServer) -> Iterable[bytes]:
    server.over.wait()
    return []


def test_no_answer_in_time(connect: Connect) -> None:
    with ApiServer(lambda _: silent(server)) as server:
        text = unreachable(connect({"server": server.url}), 0.2)
        assert text == f"{server.url}: nothing came for 0.2 s"


def test_half_an_answer_in_time(connect: Connect) -> None:
    def half(_request: Request) -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{}"
        server.over.wait()

    with ApiServer(half) as server:
        text = unreachable(connect({"server": server.url}), 0.2)
        assert text == f"{server.url}: nothing came for 0.2 s"


HALF = [
    b"",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"{}"),
    b"nonsense\r\n\r\n",
]


@pytest.mark.parametrize("received", HALF)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_half_an_answer(
    connect: Connect, authority: Authority, server_pair: Pair, received: bytes, tls: bool
) -> None:
    with ApiServer(lambda _: [received or CUT, CUT], server_pair if tls else None) as server:
        authorities = {"certificate-authority": str(authority.certificate)}
        text = unreachable(connect({"server": server.url} | (authorities if tls else {})))
        assert text == f"{server.url}: the connection ended in the middle of an answer"


def test_a_connection_that_was_kept_may_have_ended(connect: Connect) -> None:
    with ApiServer(lambda _: [*answer(), CUT]) as server:
        connection = connect({"server": server.url})
        for _ in range(3):
            assert ask(connection) == 200
            assert server.gone.acquire(timeout=30)
        assert server.connections == 3


def test_the_kernel_watches_over_a_connection(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, int]] = []
    request = socket.socket.connect

    def note(self: socket.socket, address: Any) -> None:
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT", "TCP_NODELAY")
        seen.append(
            {name: self.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}
            | {"SO_KEEPALIVE": self.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)}
        )
        request(self, address)

    with ApiServer(greet) as server:
        connection = connect({"server": server.url})
        monkeypatch.setattr(socket.socket, "connect", note)
        ask(connection)
    assert seen == [
        {
            "TCP_KEEPIDLE": 30,
            "TCP_KEEPINTVL": 10,
            "TCP_KEEPCNT": 3,
            "TCP_USER_TIMEOUT": 45000,
            "TCP_NODELAY": 1,
            "SO_KEEPALIVE": 1,
        }
    ]


def test_a_handshake_that_hangs(
    connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kproxy.kubernetes.connection.CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and says nothing
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        cluster = {"server": url, "certificate-authority": str(authority.certificate)}
        assert unreachable(connect(cluster)) == f"{url}: no connection in time"


def test_a_server_that_accepts_nothing(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kproxy.kubernetes.connection.CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):  # fills the queue
            url = f"http://127.0.0.1:{address[1]}"
            assert unreachable(connect({"server": url})) == f"{url}: no connection in time"
