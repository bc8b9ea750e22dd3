"""Credentials are renewed while kproxy runs: files that change, and a server that refuses them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kproxy.errors import AccessRefused
from tests.kubernetes.api_server import ApiServer, Request, answer
from tests.kubernetes.asking import Connect, ask, greet
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import SECRET, TOKEN, document, said, write

USER = {"token": TOKEN}


def asks_for(token: str) -> Callable[[Request], Iterable[bytes]]:
    def handle(request: Request) -> Iterable[bytes]:
        good = request.headers.get("authorization") == f"Bearer {token}"
        return answer(status=200 if good else 401)

    return handle


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
        with pytest.raises(AccessRefused) as caught:
            connection.stream("/", {}, silence_s=30)
        assert server.tokens == ["Bearer 3", "Bearer 4"]
        for _ in range(2):  # both connections are closed, also while the error is kept
            assert server.gone.acquire(timeout=30)
        assert caught.value.problems


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
