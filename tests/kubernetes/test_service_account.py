"""The service account of a Pod, and a server without any credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.errors import BadInput
from kproxy.kubernetes.connection import Connection
from tests.kubernetes.api_server import ApiServer
from tests.kubernetes.asking import ask, greet
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import TOKEN, said


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
