"""Who trusts whom: authorities, names and client certificates, with a real server on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kproxy.errors import AccessRefused, BadInput
from kproxy.kubernetes.connection import Connection
from kproxy.kubernetes.tls import MemoryFiles
from tests.kubernetes.api_server import ApiServer, Request, answer
from tests.kubernetes.certificates import Authority, Pair, encoded
from tests.kubernetes.kubeconfigs import SECRET, TOKEN, document, said, write

USER = {"token": TOKEN}


def ask(folder: Path, cluster: dict[str, Any], user: dict[str, Any] | None = None) -> int:
    connection = Connection(write(folder, document(cluster, user or USER)))
    try:
        return connection.get("/version", {}, timeout_s=30).status
    finally:
        connection.close()


def greet(_request: Request) -> Any:
    return answer()


def test_authority_in_a_file(tmp_path: Path, authority: Authority, server_pair: Pair) -> None:
    with ApiServer(greet, server_pair) as server:
        cluster = {"server": server.url, "certificate-authority": str(authority.certificate)}
        assert ask(tmp_path, cluster) == 200


def test_authority_beside_the_kubeconfig(
    tmp_path: Path, authority: Authority, server_pair: Pair
) -> None:
    (tmp_path / "ca.crt").write_bytes(authority.certificate.read_bytes())
    with ApiServer(greet, server_pair) as server:
        assert ask(tmp_path, {"server": server.url, "certificate-authority": "ca.crt"}) == 200


def test_authority_as_data(tmp_path: Path, authority: Authority, server_pair: Pair) -> None:
    data = encoded(authority.certificate)
    with ApiServer(greet, server_pair) as server:
        assert ask(tmp_path, {"server": server.url, "certificate-authority-data": data}) == 200
        assert server.tokens == [f"Bearer {TOKEN}"]


def test_the_certificate_of_a_server_may_be_its_authority(
    tmp_path: Path, server_pair: Pair
) -> None:
    """As with Go: no chain up to a self-signed certificate is needed."""
    with ApiServer(greet, server_pair) as server:
        data = encoded(server_pair.certificate)
        assert ask(tmp_path, {"server": server.url, "certificate-authority-data": data}) == 200


def refusal(folder: Path, cluster: dict[str, Any], user: dict[str, Any] | None = None) -> str:
    with pytest.raises(AccessRefused) as caught:
        ask(folder, cluster, user)
    return said(caught.value)


def test_another_authority(tmp_path: Path, stranger: Authority, server_pair: Pair) -> None:
    with ApiServer(greet, server_pair) as server:
        cluster = {"server": server.url, "certificate-authority": str(stranger.certificate)}
        assert refusal(tmp_path, cluster) == (
            f"{server.url}: its certificate is not accepted: unable to get local issuer certificate"
        )
        assert server.requests == []


def test_the_authorities_of_the_system(tmp_path: Path, server_pair: Pair) -> None:
    with ApiServer(greet, server_pair) as server:
        assert "its certificate is not accepted" in refusal(tmp_path, {"server": server.url})
        assert server.requests == []


def test_an_expired_certificate(tmp_path: Path, authority: Authority) -> None:
    with ApiServer(greet, authority.issue("expired", days=-1)) as server:
        cluster = {"server": server.url, "certificate-authority": str(authority.certificate)}
        assert refusal(tmp_path, cluster) == (
            f"{server.url}: its certificate is not accepted: certificate has expired"
        )
        assert server.requests == []


def test_a_certificate_of_another_host(tmp_path: Path, authority: Authority) -> None:
    with ApiServer(greet, authority.issue("named", "DNS:api.example")) as server:
        cluster = {"server": server.url, "certificate-authority": str(authority.certificate)}
        assert refusal(tmp_path, cluster).startswith(
            f"{server.url}: its certificate is not accepted: IP address mismatch"
        )
        assert ask(tmp_path, cluster | {"tls-server-name": "api.example"}) == 200
        (request,) = server.requests
        assert request.server_name == "api.example"


def test_no_verification(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with ApiServer(greet, authority.issue("any", "DNS:api.example", days=-1)) as server:
        assert ask(tmp_path, {"server": server.url, "insecure-skip-tls-verify": True}) == 200
        assert [each.getMessage() for each in caplog.records if each.name == "kproxy"] == [
            f"{server.url}: its certificate is not verified (insecure-skip-tls-verify)"
        ]


def test_a_server_without_tls(tmp_path: Path) -> None:
    with ApiServer(greet) as server:
        url = server.url.replace("http:", "https:")
        assert refusal(tmp_path, {"server": url}) == (
            f"{url}: what answers there does not speak TLS"
        )


@pytest.mark.parametrize("spelling", ["files", "data"])
def test_a_client_certificate(
    tmp_path: Path, authority: Authority, server_pair: Pair, client_pair: Pair, spelling: str
) -> None:
    user = {
        "files": {
            "client-certificate": str(client_pair.certificate),
            "client-key": str(client_pair.key),
        },
        "data": {
            "client-certificate-data": encoded(client_pair.certificate),
            "client-key-data": encoded(client_pair.key),
        },
    }[spelling]
    cluster = {"certificate-authority": str(authority.certificate)}
    with ApiServer(greet, server_pair, authority, clients_need_one=True) as server:
        assert ask(tmp_path, cluster | {"server": server.url}, user) == 200
        (request,) = server.requests
        assert (request.client, server.tokens) == ("kproxy", [""])


def test_a_client_certificate_that_the_server_wants(
    tmp_path: Path, authority: Authority, server_pair: Pair
) -> None:
    cluster = {"certificate-authority": str(authority.certificate)}
    with ApiServer(greet, server_pair, authority, clients_need_one=True) as server:
        said_ = refusal(tmp_path, cluster | {"server": server.url})
        assert said_ == f"{server.url}: TLS failed: tlsv13 alert certificate required"


def test_the_key_of_another_certificate(
    tmp_path: Path, server_pair: Pair, client_pair: Pair
) -> None:
    user = {
        "client-certificate": str(client_pair.certificate),
        "client-key": str(server_pair.key),
    }
    path = write(tmp_path, document({"server": "https://127.0.0.1:1"}, user))
    with pytest.raises(BadInput) as caught:
        Connection(path)
    assert said(caught.value) == (
        f"{path}: client-certificate or client-key: the key is not that of the certificate"
    )


def test_an_encrypted_key(tmp_path: Path, client_pair: Pair) -> None:
    """OpenSSL would ask for the password on the terminal, and wait."""
    subprocess.run(
        [
            *("openssl", "ec", "-in", client_pair.key, "-out", tmp_path / "locked.key"),
            *("-aes128", "-passout", f"pass:{SECRET}"),
        ],
        check=True,
        capture_output=True,
    )
    user = {"client-certificate": str(client_pair.certificate), "client-key": "locked.key"}
    path = write(tmp_path, document({"server": "https://127.0.0.1:1"}, user))
    with pytest.raises(BadInput) as caught:
        Connection(path)
    assert said(caught.value) == f"{path}: client-key: is encrypted"


def test_memory_files_end() -> None:
    with MemoryFiles() as memory:
        path = Path(memory.add(b"contents"))
        assert path.read_bytes() == b"contents"
        assert path.is_file()
        open_now = os.listdir("/proc/self/fd")
    assert path.name in open_now
    assert not (path.exists() and path.read_bytes() == b"contents")


def test_nothing_is_left_by_a_process_that_is_killed(
    tmp_path: Path, authority: Authority, client_pair: Pair
) -> None:
    """Killed while the certificates are loaded, when a temporary file would be there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    user = {
        "client-certificate-data": encoded(client_pair.certificate),
        "client-key-data": encoded(client_pair.key),
    }
    cluster = {
        "server": "https://127.0.0.1:1",
        "certificate-authority-data": encoded(authority.certificate),
    }
    program = (
        "import os, signal, sys\n"
        "from kproxy.kubernetes import credentials\n"
        "credentials.context = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "credentials.from_kubeconfig(credentials.Path(sys.argv[1]))\n"
    )
    path = write(tmp_path, document(cluster, user))
    done = subprocess.run(
        [sys.executable, "-c", program, path],
        env={**os.environ, "TMPDIR": str(folder)},
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL
    assert [*folder.iterdir()] == []
