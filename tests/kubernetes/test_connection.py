"""Requests: what is sent, what comes back, and what happens if it does not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from kproxy.errors import AccessRefused, BadInput, Unreachable
from kproxy.kubernetes.connection import Connection
from tests.kubernetes.api_server import CUT, ApiServer, Proxy, Request, answer, chunk
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import SECRET, TOKEN, document, said, write

USER = {"token": TOKEN}
Connect = Callable[..., Connection]


def greet(_request: Request) -> Iterable[bytes]:
    return answer(b'{"kind": "Status"}', Retry_After="3")


def asks_for(token: str) -> Callable[[Request], Iterable[bytes]]:
    def handle(request: Request) -> Iterable[bytes]:
        good = request.headers.get("authorization") == f"Bearer {token}"
        return answer(status=200 if good else 401)

    return handle


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Makes connections, each with a kubeconfig of the given cluster and user."""
    made: list[Connection] = []

    def connect(cluster: dict[str, Any], user: dict[str, Any] | None = None) -> Connection:
        made.append(Connection(write(tmp_path, document(cluster, user or USER))))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def ask(connection: Connection, timeout_s: float = 30) -> int:
    return connection.get("/version", {}, timeout_s=timeout_s).status


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


# What is renewed while kproxy runs.


def test_another_token_in_the_kubeconfig(connect: Connect, tmp_path: Path) -> None:
    with ApiServer(greet) as server:
        connection = connect({"server": server.url})
        ask(connection)
        write(tmp_path, document({"server": server.url}, {"token": f"{TOKEN}-2"}))
        ask(connection)
        assert server.tokens == [f"Bearer {TOKEN}", f"Bearer {TOKEN}-2"]


def test_a_token_file(connect: Connect, tmp_path: Path) -> None:
    """Its path begins at the kubeconfig's folder, and it comes before `token`, as in client-go."""
    (tmp_path / "token").write_text(f"{TOKEN}-1\n")
    with ApiServer(greet) as server:
        connection = connect({"server": server.url}, {"tokenFile": "token", "token": "none"})
        ask(connection)
        ask(connection)
        (tmp_path / "token").write_text(f"{TOKEN}-02\n")
        ask(connection)
        assert server.tokens == [*[f"Bearer {TOKEN}-1"] * 2, f"Bearer {TOKEN}-02"]


def test_another_client_certificate(
    connect: Connect, tmp_path: Path, authority: Authority, server_pair: Pair
) -> None:
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"

    def put(pair: Pair) -> None:
        certificate.write_bytes(pair.certificate.read_bytes())
        key.write_bytes(pair.key.read_bytes())

    put(authority.issue("first"))
    user = {"client-certificate": "client.pem", "client-key": "client.key"}
    with ApiServer(greet, server_pair, authority) as server:
        cluster = {"server": server.url, "certificate-authority": str(authority.certificate)}
        connection = connect(cluster, user)
        ask(connection)
        put(authority.issue("second"))
        ask(connection)
        assert [each.client for each in server.requests] == ["first", "second"]


def test_a_wrong_file_changes_nothing(
    connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ApiServer(greet) as server:
        connection = connect({"server": server.url})
        caplog.clear()
        path = write(tmp_path, f"users: [{SECRET}")
        ask(connection)
        ask(connection)
        assert server.tokens == [f"Bearer {TOKEN}"] * 2
        assert [each.getMessage() for each in caplog.records if each.name == "kproxy"] == [
            f"the former credentials stay in use: {path}: is not valid YAML at line 1, column 18"
        ]


def test_a_refused_token_is_read_again_once(connect: Connect, tmp_path: Path) -> None:
    """Here the file has another token, but looks as before: by its date, size and inode."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}-1")
    connection = connect({"server": "http://127.0.0.1:1"}, {"tokenFile": "token"})
    with ApiServer(asks_for(f"{TOKEN}-2")) as server:
        write(tmp_path, document({"server": server.url}, {"tokenFile": "token"}))
        with pytest.raises(AccessRefused) as caught:
            ask(connection)
        assert said(caught.value) == (
            f"{server.url}: 401 Unauthorized: credentials refused, from {tmp_path}/kubeconfig,"
            " context 'x'"
        )
        assert server.tokens == [f"Bearer {TOKEN}-1"] * 2

        before = token.stat()
        with token.open("r+") as file:
            file.write(f"{TOKEN}-2")
        os.utime(token, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert ask(connection) == 200
        assert server.tokens[2:] == [f"Bearer {TOKEN}-1", f"Bearer {TOKEN}-2"]


def test_a_refused_stream_asks_again_once(connect: Connect, tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plug-in"}}
    (tmp_path / "plug-in").write_text(
        "#!/bin/sh\necho run >>runs\n"
        'echo "{\\"apiVersion\\": \\"client.authentication.k8s.io/v1\\", \\"kind\\":'
        ' \\"ExecCredential\\", \\"status\\": {\\"token\\": \\"$(grep -c run runs)\\"}}"\n'
    )
    (tmp_path / "plug-in").chmod(0o755)
    with ApiServer(asks_for("2")) as server:
        connection = connect({"server": server.url}, user)
        with connection.stream("/", {}, silence_s=30) as stream:
            assert (stream.status, stream.read()) == (200, b"{}")
        assert server.tokens == ["Bearer 1", "Bearer 2"]

    with ApiServer(asks_for("none")) as server:
        connection = connect({"server": server.url}, user)
        with pytest.raises(AccessRefused):
            connection.stream("/", {}, silence_s=30)
        assert server.tokens == ["Bearer 3", "Bearer 4"]


def test_a_refusal_says_why_nothing_newer_is_there(connect: Connect, tmp_path: Path) -> None:
    with ApiServer(asks_for("another")) as server:
        connection = connect({"server": server.url})
        (tmp_path / "kubeconfig").unlink()
        with pytest.raises(AccessRefused) as caught:
            ask(connection)
        refused, why = caught.value.problems
        assert refused == (
            f"{server.url}: 401 Unauthorized: credentials refused, from {tmp_path}/kubeconfig,"
            " context 'x'"
        )
        assert why == f"{tmp_path}/kubeconfig: no such file"
        assert server.tokens == [f"Bearer {TOKEN}"]


# A server that is not there, or does not speak.


def unreachable(connection: Connection, timeout_s: float = 30) -> str:
    with pytest.raises(Unreachable) as caught:
        ask(connection, timeout_s)
    return said(caught.value)


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

    monkeypatch.setattr(socket.socket, "connect", note)
    with ApiServer(greet) as server:
        ask(connect({"server": server.url}))
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


# Proxies.


def test_a_proxy(connect: Connect, authority: Authority) -> None:
    pair = authority.issue("proxied", "DNS:api.invalid")
    with Proxy() as proxy, ApiServer(greet, pair) as server:
        url = f"https://api.invalid:{server.port}"
        cluster = {"server": url, "certificate-authority": str(authority.certificate)}
        connection = connect(cluster | {"proxy-url": f"http://{proxy.address}"})
        assert ask(connection) == 200
        with connection.stream("/", {}, silence_s=30) as stream:
            assert stream.status == 200
        assert proxy.tunnels == [f"api.invalid:{server.port}"] * 2
        assert "proxy-authorization" not in server.requests[0].headers


def test_a_proxy_with_a_password(connect: Connect, authority: Authority, server_pair: Pair) -> None:
    with Proxy("Basic bWU6aHVzaC1odXNoL3g=") as proxy, ApiServer(greet, server_pair) as server:
        cluster = {"server": server.url, "certificate-authority": str(authority.certificate)}
        proxy_url = f"http://me:{SECRET}%2Fx@{proxy.address}"
        assert ask(connect(cluster | {"proxy-url": proxy_url})) == 200
        assert unreachable(connect(cluster | {"proxy-url": proxy_url.replace("me", "you")})) == (
            f"{server.url}: through the proxy {proxy.address}: Tunnel connection failed: 407 Proxy"
            " Authentication Required"
        )


def test_a_proxy_that_is_not_there(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    cluster = {"server": "https://api.invalid", "proxy-url": f"http://me:{SECRET}@{address}"}
    assert unreachable(connect(cluster)) == (
        f"https://api.invalid: through the proxy {address}: connection refused"
    )


def test_proxies_of_the_environment(
    connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Go: for the scheme of the server, but not for loopback or what NO_PROXY names."""
    pair = authority.issue("by-name", "DNS:api.invalid,DNS:localhost")
    with Proxy() as proxy, ApiServer(greet, pair) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        monkeypatch.setenv("ALL_PROXY", f"socks5://me:{SECRET}@127.0.0.1:1")
        authorities = {"certificate-authority": str(authority.certificate)}
        named = authorities | {"server": f"https://api.invalid:{server.port}"}
        local = authorities | {"server": f"https://localhost:{server.port}"}
        assert ask(connect(named)) == 200
        assert len(proxy.tunnels) == 1
        assert ask(connect(local)) == 200
        assert len(proxy.tunnels) == 1
        monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,.invalid")
        assert "its name cannot be resolved" in unreachable(connect(named))
        assert ask(connect(named | {"proxy-url": f"http://{proxy.address}"})) == 200
        assert len(proxy.tunnels) == 2


# The service account of a Pod.


def test_a_service_account(tmp_path: Path, authority: Authority, server_pair: Pair) -> None:
    """The kubelet renews the token by putting another folder in place."""
    for number in (1, 2):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "token").write_text(f"{TOKEN}-{number}")
        (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
    account = tmp_path / "account"
    account.symlink_to(tmp_path / "1")
    with ApiServer(greet, server_pair) as server:
        environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(server.port),
        }
        connection = Connection("", service_account=account, environment=environment)
        assert connection.url == server.url
        ask(connection)
        account.unlink()
        account.symlink_to(tmp_path / "2")
        ask(connection)
        connection.close()
        assert server.tokens == [f"Bearer {TOKEN}-1", f"Bearer {TOKEN}-2"]

        environment["KUBERNETES_SERVICE_HOST"] = "10.96.0.1"
        connection = Connection(
            "", master=server.url, service_account=account, environment=environment
        )
        ask(connection)
        connection.close()
        assert server.tokens[2:] == [f"Bearer {TOKEN}-2"]


def test_a_service_account_of_ipv6(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "ca.crt").write_bytes(authority.certificate.read_bytes())
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    connection = Connection("", service_account=tmp_path, environment=environment)
    assert connection.url == "https://[fd00::1]:443"


def test_no_pod_and_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        Connection("", service_account=tmp_path, environment={})
    assert said(caught.value) == (
        "no API server is configured, and this is no Pod: KUBERNETES_SERVICE_HOST and"
        " KUBERNETES_SERVICE_PORT are not set"
    )


@pytest.mark.parametrize(
    ("token", "authorities", "reason"),
    [
        (None, None, "Service token file does not exist."),
        ("", None, "Token file exists but empty."),
        (TOKEN, None, "Service certification file does not exist."),
        (TOKEN, "", "Cert file exists but empty."),
        (TOKEN, "x", "is not a certificate in PEM format"),
    ],
)
def test_a_wrong_service_account(
    tmp_path: Path, token: str | None, authorities: str | None, reason: str
) -> None:
    for name, content in (("token", token), ("ca.crt", authorities)):
        if content is not None:
            (tmp_path / name).write_text(content)
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(BadInput) as caught:
        Connection("", service_account=tmp_path, environment=environment)
    assert said(caught.value) == (
        f"{tmp_path}: the service account of this Pod cannot be used: {reason}"
    )


def test_master_alone(tmp_path: Path) -> None:
    """As client-go: a server without credentials."""
    with ApiServer(greet) as server:
        connection = Connection("", master=server.url, service_account=tmp_path, environment={})
        ask(connection)
        connection.close()
        assert server.tokens == [""]
    with pytest.raises(BadInput) as caught:
        Connection("", master="192.168.10.2", service_account=tmp_path, environment={})
    assert said(caught.value) == (
        "--master: is not a URL that begins with https:// or http:// and a host"
    )


def test_renewing_happens_once_for_all_threads(connect: Connect, tmp_path: Path) -> None:
    """All are refused at the same time, and one of them reads the configuration again."""
    everybody = threading.Barrier(4)
    (tmp_path / "token").write_text(f"{TOKEN}-1")

    def handle(request: Request) -> Iterable[bytes]:
        if request.headers["authorization"] == f"Bearer {TOKEN}-1":
            everybody.wait(30)
            return answer(status=401)
        return answer()

    reads: list[str] = []
    with ApiServer(handle) as server, ThreadPoolExecutor(4) as threads:
        connection = connect({"server": server.url}, {"tokenFile": "token"})
        read = connection._credentials._read

        def counted() -> Any:
            reads.append("read")
            (tmp_path / "token").write_text(f"{TOKEN}-2")
            return read()

        connection._credentials._read = counted
        assert [*threads.map(lambda _: ask(connection), range(4))] == [200] * 4
    assert reads == ["read"]
