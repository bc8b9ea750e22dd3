"""The HTTP server and what keeps it listening, over real sockets in a namespace of their own."""

from __future__ import annotations

import gc
import http.client
import logging
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import sysctl
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.loop.http import Request, Response
from kproxy.loop.reactor import Connection
from kproxy.serve import HttpServer
from kproxy.serve.node_servers import NodeServer, NodeServers
from kproxy.serve.status_pages import plain
from netns_tests.run.running import until

PORT = 8080
LARGE = bytes(range(256)) * (1 << 15)  # 8 MiB: more than any send buffer here


@pytest.fixture(autouse=True)
def _node() -> Iterator[None]:
    with Namespace.create() as namespace, namespace.entered():
        run(["ip", "link", "set", "lo", "up"])
        yield


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    with closing(HttpServer()) as server:
        yield server


def answer(request: Request) -> Response:
    return plain(200, f"{request.method} {request.target} {request.body.decode()}".strip())


def ask(address: str, *, method: str = "GET", body: str | None = None) -> str:
    connection = http.client.HTTPConnection(address, PORT, timeout=30)
    with closing(connection):
        connection.request(method, "/x", body)
        return connection.getresponse().read().decode()


def listens(address: str) -> bool:
    with socket.socket(Family.IPV4.socket_family) as client:
        return client.connect_ex((address, PORT)) == 0


def test_a_large_answer_arrives_as_a_whole_however_slowly_it_is_read(
    http_server: HttpServer,
) -> None:
    whole = Response(status=200, headers=(), body=LARGE)
    http_server.listen(Family.IPV4, "", PORT, lambda _request: whole)
    with socket.socket() as client:
        client.settimeout(30)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", PORT))
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        received = bytearray()
        while data := client.recv(65536):
            received += data
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(LARGE)}".encode() in head
    assert body == LARGE


def test_others_are_answered_while_a_client_does_not_read(http_server: HttpServer) -> None:
    pages = {"/large": Response(status=200, headers=(), body=LARGE), "/x": plain(200, "small")}
    http_server.listen(Family.IPV4, "", PORT, lambda request: pages[request.target])
    with socket.create_connection(("127.0.0.1", PORT), timeout=30) as silent:
        silent.send(b"GET /large HTTP/1.0\r\n\r\n")
        assert silent.recv(1)
        assert ask("127.0.0.1") == "small"


@pytest.mark.parametrize("both", [False, True])
def test_one_socket_may_serve_both_families(http_server: HttpServer, both: bool) -> None:
    http_server.listen(Family.IPV6, "", PORT, answer, both_families=both)
    assert ask("::1") == "GET /x"
    assert listens("127.0.0.1") is both
    if both:
        assert ask("127.0.0.1") == "GET /x"


def test_bodies_are_read_where_they_are_wanted(http_server: HttpServer) -> None:
    http_server.listen(Family.IPV4, "127.0.0.1", PORT, answer, bodies=True)
    http_server.listen(Family.IPV4, "127.0.0.2", PORT, answer)
    assert ask("127.0.0.1", method="PUT", body="b" * 5000) == f"PUT /x {'b' * 5000}"
    assert ask("127.0.0.1") == "GET /x"
    assert ask("127.0.0.2", method="PUT", body="body") == "PUT /x"


def flood(client: socket.socket) -> None:
    while True:
        client.sendall(b"x" * 65536)


def test_a_body_without_end_is_not_read_to_the_end(http_server: HttpServer) -> None:
    http_server.listen(Family.IPV4, "", PORT, answer, bodies=True)
    with socket.create_connection(("127.0.0.1", PORT), timeout=30) as client:
        client.send(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            flood(client)


def test_nothing_of_a_request_stays_until_python_looks_for_cycles(
    http_server: HttpServer,
) -> None:
    """A proxy lets Python look for them so rarely that each scrape would cost its whole text."""
    http_server.listen(Family.IPV4, "", PORT, answer)
    gc.collect()
    others = _connections()  # whatever other tests of this process hold on to
    gc.disable()
    try:
        for _ in range(5):
            assert ask("127.0.0.1") == "GET /x"
        until("no connection is left", lambda: len(_connections()) <= len(others))
    finally:
        gc.enable()


def _connections() -> list[object]:
    """Return all there are. Objects are not asked for their class: some libraries are lazy."""
    return [each for each in gc.get_objects() if type(each) is Connection]


def server(address: str = "0.0.0.0") -> NodeServer:
    return NodeServer(
        name="health server",
        field="healthzBindAddress",
        address=f"{address}:{PORT}",
        reason="FailedToStartProxierHealthcheck",
        respond=answer,
    )


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "[::]"])
def test_a_wildcard_of_either_family_is_for_both(http_server: HttpServer, wildcard: str) -> None:
    with NodeServers(http_server, [server(wildcard)], hard_fail=True):
        assert ask("127.0.0.1") == ask("::1") == "GET /x"
    assert not listens("127.0.0.1")


def test_a_wildcard_on_a_node_whose_ipv6_is_switched_off(http_server: HttpServer) -> None:
    sysctl.write("net/ipv6/conf/all/disable_ipv6", 1)
    with NodeServers(http_server, [server()], hard_fail=True):
        assert ask("127.0.0.1") == "GET /x"


def test_an_address_is_for_itself(http_server: HttpServer) -> None:
    with NodeServers(http_server, [server("127.0.0.2")], hard_fail=True):
        assert ask("127.0.0.2") == "GET /x"
        assert not listens("127.0.0.1")


def test_a_port_that_is_taken_is_tried_again_until_it_is_free(
    http_server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kproxy")
    other = socket.create_server(("127.0.0.1", PORT))
    with other, NodeServers(http_server, [server("127.0.0.1")], hard_fail=False, retry_s=0.01):
        until("a second attempt", lambda: len(caplog.messages) == 1)
        other.close()
        until("it listens", lambda: len(caplog.messages) == 2)
        assert ask("127.0.0.1") == "GET /x"
    taken = f"the health server cannot listen on 127.0.0.1:{PORT}: Address already in use"
    assert caplog.messages == [
        f"{taken}; trying again every 0.01 s",
        f"the health server listens on 127.0.0.1:{PORT} now",
    ]
    assert not listens("127.0.0.1")


def test_attempts_end_with_the_block(http_server: HttpServer) -> None:
    with (
        socket.create_server(("127.0.0.1", PORT)),
        NodeServers(http_server, [server("127.0.0.1")], hard_fail=False, retry_s=60),
    ):
        pass
    assert not listens("127.0.0.1")


def test_a_failure_may_end_the_process_after_an_event(http_server: HttpServer) -> None:
    heard: list[tuple[str, str]] = []
    fine = NodeServer(
        name="metrics server",
        field="metricsBindAddress",
        address="127.0.0.1:8081",
        reason="FailedToStartMetricServer",
        respond=answer,
    )
    servers = NodeServers(
        http_server,
        [fine, server("127.0.0.1")],
        hard_fail=True,
        on_event=lambda reason, note: heard.append((reason, note)),
    )
    note = f"the health server cannot listen on 127.0.0.1:{PORT}: Address already in use"
    with (
        socket.create_server(("127.0.0.1", PORT)),
        pytest.raises(KernelRefused, match=note) as caught,
        servers,
    ):
        pass
    assert "healthzBindAddress" in caught.value.remedy
    assert heard == [("FailedToStartProxierHealthcheck", note)]
    with socket.create_server(("127.0.0.1", 8081)):  # the other one was closed again
        pass
