"""The shell of the API: sockets, TLS, tokens, and clients that mean no good."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest
from aiohttp.web import RequestHandler
from msgspec.json import decode, encode

from kproxy.apiserver import watch
from kproxy.apiserver.http import connections, exchange
from kproxy.apiserver.http.server import HttpsServer
from kproxy.apiserver.request import User
from tests.apiserver.asking import SERVICES, service
from tests.apiserver.memory_plane import MemoryPlane
from tests.apiserver.served import PATIENCE_S, TOKEN, TOKENS, Served, answer, asked


def test_an_object_is_created_and_read_over_one_connection(served: Served) -> None:
    client = served.connection()
    status, made = answer(client, "POST", SERVICES, service("web"))
    assert status == 201
    status, read = answer(client, "GET", f"{SERVICES}/web")
    assert (status, read) == (200, made)
    assert answer(client, "DELETE", f"{SERVICES}/web")[0] == 200
    assert answer(client, "GET", f"{SERVICES}/web")[0] == 404


def test_head_is_answered_as_get_without_a_body(served: Served) -> None:
    client = served.connection()
    _, made = answer(client, "POST", SERVICES, service("web"))
    response = asked(client, "HEAD", f"{SERVICES}/web")
    assert (response.status, response.read()) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0
    assert answer(client, "GET", f"{SERVICES}/web") == (200, made)  # on the same connection


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_ends_if_the_client_wants_it(served: Served, version: str) -> None:
    with served.socket() as client:
        told = f"GET /version HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"
        client.sendall(told.encode())
        text = b"".join(iter(lambda: client.recv(1 << 16), b""))
    head, _, body = text.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/{version} 200 OK\r\n".encode())
    assert decode(body)["major"] == "1"


def test_requests_may_be_sent_before_the_answers_are_read(served: Served) -> None:
    head = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    names = [f"web-{number}" for number in range(20)]
    with served.socket() as client:
        for name in names:
            body = encode(service(name))
            told = f"POST {SERVICES} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n"
            client.sendall(told.encode() + body)
        client.sendall(f"GET /version HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
        text = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert text.count(b"HTTP/1.1 201 Created\r\n") == len(names)
    places = [text.index(f'"name":"{name}"'.encode()) for name in names]
    assert places == sorted(places)


def test_a_token_may_come_later() -> None:
    tokens = dict(TOKENS)
    with HttpsServer(MemoryPlane(), tokens=tokens) as server:
        bound = socket.create_server(("127.0.0.1", 0))
        client = HTTPConnection("127.0.0.1", bound.getsockname()[1], timeout=PATIENCE_S)
        server.start([bound])
        given = {"Authorization": "Bearer of-a-pod"}
        assert answer(client, "GET", SERVICES, **given)[0] == 401
        tokens["of-a-pod"] = User("system:serviceaccount:default:default")
        assert answer(client, "GET", SERVICES, **given)[0] == 200
        client.close()


def test_a_watch_tells_of_changes_and_ends_in_time(served: Served) -> None:
    client = served.connection()
    watching = served.ask("GET", f"{SERVICES}?watch=true&timeoutSeconds=3600")
    answer(client, "POST", SERVICES, service("web"))
    assert decode(watching.readline())["type"] == "ADDED"
    answer(client, "DELETE", f"{SERVICES}/web")
    assert decode(watching.readline())["type"] == "DELETED"
    ending = served.ask("GET", f"{SERVICES}?watch=true&timeoutSeconds=1")
    assert ending.read() == b""


LARGE = service("large", externalName="x" * (128 << 10))


@pytest.mark.parametrize(
    ("name", "accepted", "compressed"),
    [
        ("large", "gzip", True),
        ("large", "br, gzip", True),
        ("large", "gzip;q=0", False),
        ("large", "identity", False),
        ("large", "", False),
        ("small", "gzip", False),
    ],
)
def test_what_is_large_is_compressed_for_who_takes_it(
    served: Served, name: str, accepted: str, compressed: bool
) -> None:
    for each in (LARGE, service("small")):
        served.plane.create(each)
    client = served.connection()
    told = asked(client, "GET", f"{SERVICES}/{name}", **{"Accept-Encoding": accepted})
    body = told.read()
    assert (told.headers["Content-Encoding"] == "gzip") is compressed
    assert ("Accept-Encoding" in (told.headers["Vary"] or "")) is compressed
    document = decode(gzip.decompress(body) if compressed else body)
    assert document["metadata"]["name"] == name
    assert (len(body) < len(document["spec"].get("externalName", ""))) is compressed


def test_a_watch_is_not_compressed(served: Served) -> None:
    served.plane.create(LARGE)
    path = f"{SERVICES}?watch=true"
    watching = asked(served.connection(), "GET", path, **{"Accept-Encoding": "gzip"})
    assert watching.headers["Content-Encoding"] is None
    assert decode(watching.readline())["object"]["metadata"]["name"] == "large"
    watching.close()


def test_a_write_of_the_control_plane_itself_is_told(served: Served) -> None:
    watching = served.ask("GET", f"{SERVICES}?watch=true")
    served.plane.create(service("web"))
    assert decode(watching.readline())["object"]["metadata"]["name"] == "web"


def test_bookmarks_come_by_themselves(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_BOOKMARK_EACH_S", 0.01)
    watching = served.ask("GET", f"{SERVICES}?watch=true&allowWatchBookmarks=true")
    assert decode(watching.readline())["type"] == "BOOKMARK"


@pytest.mark.parametrize(
    "authorization", ["Bearer wrong", f"Basic {TOKEN}", "Bearer", "", "Bearer \xff\xe9"]
)
def test_without_the_token_there_is_nothing(served: Served, authorization: str) -> None:
    client = served.connection()
    for path in ("/api", "/apis", SERVICES, f"{SERVICES}?watch=true", "/version", "/nothing"):
        status, body = answer(client, "GET", path, Authorization=authorization)
        assert status == 401
        assert body["message"] == "Unauthorized"
        assert "details" not in body


@pytest.mark.parametrize("authorization", ["", "Authorization: Bearer wrong\r\n"])
@pytest.mark.parametrize("length", [10, 100 << 20])
def test_without_the_token_no_body_is_awaited(
    served: Served, authorization: str, length: int
) -> None:
    with served.socket() as client:
        client.sendall(
            f"POST {SERVICES} HTTP/1.1\r\nHost: x\r\n{authorization}Expect: 100-continue\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("path", ["/version", "/healthz", "/livez", "/readyz"])
def test_health_and_version_are_for_everybody(served: Served, path: str) -> None:
    client = served.connection()
    client.request("GET", path)
    assert client.getresponse().status == 200


def test_a_large_body_is_refused_unread(served: Served) -> None:
    client = served.connection()
    status, body = answer(client, "POST", SERVICES, b"{" + b" " * (4 << 20))
    assert (status, body["reason"]) == (413, "RequestEntityTooLarge")
    chunks = (b" " * 65536 for _ in range(100))
    client = served.connection()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client.request("POST", SERVICES, body=chunks, headers=headers, encode_chunked=True)
    assert client.getresponse().status == 413
    assert answer(served.connection(), "GET", SERVICES)[0] == 200


def test_a_client_that_waits_for_a_word_before_it_sends(served: Served) -> None:
    body = encode(service("web"))
    with served.socket() as client:
        client.sendall(
            f"POST {SERVICES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(body)
        assert client.recv(100).startswith(b"HTTP/1.1 201")


GARBAGE = [
    b"\x00" * 100 + b"\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nx\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: x\r\n" % number for number in range(500)) + b"\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused(served: Served, garbage: bytes) -> None:
    with served.socket() as client:
        client.sendall(garbage)
        assert client.recv(100).startswith(b"HTTP/1.0 400") or client.recv(1) == b""
    assert answer(served.connection(), "GET", SERVICES)[0] == 200


@pytest.mark.parametrize("end", [b"\x01", b"\x00", b"x" * 70_000, b"\r\n folded", b"\r\nx y: z"])
def test_what_is_no_request_is_not_logged(
    served: Served, end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It may hold a token."""
    with served.socket() as client:
        client.sendall(
            f"GET {SERVICES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}".encode()
            + end
            + b"\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.0 400")
    assert caplog.records == []


def test_what_is_no_tls_is_not_answered(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE_S) as client:
        client.sendall(b"GET /version HTTP/1.1\r\n\r\n")
        assert client.recv(100) == b""


def test_silent_connections_are_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 0.01)
    with served.socket() as client:
        client.sendall(b"GET /version HTT")
        assert cut(client)


def test_a_body_that_does_not_arrive(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_BODY_S", 0.01)
    with served.socket() as client:
        client.sendall(
            f"POST {SERVICES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Length: 9\r\n\r\n{".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_of_too_many_connections_the_oldest_silent_one_is_cut() -> None:
    with (
        HttpsServer(MemoryPlane(), tokens=TOKENS, most_connections=20) as server,
        ExitStack() as opened,
    ):
        listening = socket.create_server(("127.0.0.1", 0))
        address = listening.getsockname()
        server.start([listening])
        clients = [
            opened.enter_context(socket.create_connection(address, PATIENCE_S)) for _ in range(60)
        ]
        assert cut(clients[0])
        clients[-1].sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert clients[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_a_watcher_that_never_reads_is_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MOST_WAITING_BYTES", 200_000)
    client = served.connection()
    body = service("web", externalName="x" * 100_000)
    answer(client, "POST", SERVICES, body)
    with served.socket() as slow:
        slow.sendall(
            f"GET {SERVICES}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}"
            "\r\n\r\n".encode()
        )
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        for number in range(200):
            body["metadata"]["labels"] = {"number": str(number)}
            assert answer(client, "PUT", f"{SERVICES}/web", body)[0] == 200
        assert cut(slow)


def test_a_stream_of_a_pod_needs_somebody_who_serves_it(served: Served) -> None:
    client = served.connection()
    pods = "/api/v1/namespaces/default/pods"
    assert answer(client, "GET", f"{pods}/p/log")[0] == 404
    spec = {"containers": [{"name": "c", "image": "i"}]}
    answer(client, "POST", pods, {"metadata": {"name": "p"}, "spec": spec})
    status, body = answer(client, "GET", f"{pods}/p/log")
    assert (status, body["kind"]) == (501, "Status")


def test_a_fault_of_the_control_plane_is_an_internal_error(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(served.plane, "create", broken)
    client = served.connection()
    status, body = answer(client, "POST", SERVICES, service("web"))
    assert (status, body["reason"]) == (500, "InternalError")
    assert "broken" in caplog.text
    assert answer(client, "GET", SERVICES)[0] == 200


def test_a_closed_server_leaves_no_connection(
    served: Served, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    watching = served.ask("GET", f"{SERVICES}?watch=true")
    served.server.close()
    assert watching.readline() == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port), PATIENCE_S)
    served.plane.create(service("web"))  # it need not know that nobody follows any more
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def cut(client: socket.socket | ssl.SSLSocket) -> bool:
    """Read until the other side ends the connection; tell that it did."""
    try:
        while client.recv(1 << 20):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def test_nor_one_that_it_has_closed_and_the_client_has_not(served: Served) -> None:
    client = served.socket()
    client.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(1 << 16)
    (connection,) = served.server._exchange.connections._server.connections
    told = asyncio.run_coroutine_threadsafe(_closed(connection), served.server._loop)
    its_socket = told.result(PATIENCE_S)
    served.server.close()
    assert its_socket.fileno() < 0


async def _closed(connection: RequestHandler) -> socket.socket:
    """Close a connection as at the end of its time; the client has not answered yet."""
    assert connection.transport
    its_socket: socket.socket = connection.transport.get_extra_info("socket")
    connection.force_close()
    return its_socket
