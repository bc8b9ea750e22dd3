"""Credential plug-ins: what they give is used, and if they fail, their reason is said."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kproxy.errors import AccessRefused, BadInput, KproxyError
from kproxy.kubernetes.connection import Connection
from kproxy.kubernetes.credentials import Credentials, from_kubeconfig
from kproxy.kubernetes.plugin import hide
from tests.kubernetes.api_server import ApiServer, Request, answer
from tests.kubernetes.certificates import Authority, Pair, encoded
from tests.kubernetes.kubeconfigs import SECRET, TOKEN, document, said, write

API = "client.authentication.k8s.io/"
NOWHERE = {"server": "http://127.0.0.1:1"}
COUNTS = 'echo run >>runs\ncat "$(dirname "$0")/answer"\n'


def greet(_request: Request) -> Iterable[bytes]:
    return answer()


def install(folder: Path, script: str) -> dict[str, Any]:
    """Make a plug-in and return the user's field for it."""
    program = folder / "plug-in"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    return {"exec": {"apiVersion": f"{API}v1", "command": "./plug-in", "interactiveMode": "Never"}}


def credential(version: str = "v1", **status: Any) -> str:
    return json.dumps({"apiVersion": API + version, "kind": "ExecCredential", "status": status})


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_token(tmp_path: Path, version: str) -> None:
    user = install(tmp_path, COUNTS)
    user["exec"]["apiVersion"] = API + version
    (tmp_path / "answer").write_text(credential(version, token=TOKEN))
    with ApiServer(greet) as server:
        connection = Connection(write(tmp_path, document({"server": server.url}, user)))
        connection.get("/version", {}, timeout_s=30)
        connection.get("/version", {}, timeout_s=30)
        connection.close()
        assert server.tokens == [f"Bearer {TOKEN}"] * 2
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_certificate(
    tmp_path: Path, authority: Authority, server_pair: Pair, client_pair: Pair, version: str
) -> None:
    user = install(tmp_path, COUNTS)
    user["exec"]["apiVersion"] = API + version
    (tmp_path / "answer").write_text(
        credential(
            version,
            clientCertificateData=client_pair.certificate.read_text(),
            clientKeyData=client_pair.key.read_text(),
        )
    )
    with ApiServer(greet, server_pair, authority) as server:
        cluster = {"server": server.url, "certificate-authority": str(authority.certificate)}
        connection = Connection(write(tmp_path, document(cluster, user)))
        connection.get("/version", {}, timeout_s=30)
        connection.close()
        assert [each.client for each in server.requests] == ["kproxy"]


def test_what_has_expired_is_asked_for_again(tmp_path: Path) -> None:
    user = install(tmp_path, COUNTS)
    path = Path(write(tmp_path, document(NOWHERE, user)))
    until = {"expirationTimestamp": "2026-03-01T12:00:00Z"}
    noon = 1772366400.0
    now = [noon - 60]
    (tmp_path / "answer").write_text(credential(token=f"{TOKEN}-1", **until))
    credentials = Credentials(lambda: from_kubeconfig(path), wall_clock=lambda: now[0])
    (tmp_path / "answer").write_text(credential(token=f"{TOKEN}-2"))
    assert credentials.current().authorization == f"Bearer {TOKEN}-1"
    now[0] = noon
    assert credentials.current().authorization == f"Bearer {TOKEN}-2"
    now[0] = noon + 1e9
    assert credentials.current().authorization == f"Bearer {TOKEN}-2"
    assert (tmp_path / "runs").read_text() == "run\n" * 2


def test_it_fails_when_asked_again(tmp_path: Path) -> None:
    """Credentials that have expired are not used for want of better ones."""
    user = install(tmp_path, COUNTS)
    path = Path(write(tmp_path, document(NOWHERE, user)))
    (tmp_path / "answer").write_text(
        credential(token=TOKEN, expirationTimestamp="2026-03-01T12:00:00Z")
    )
    credentials = Credentials(lambda: from_kubeconfig(path), wall_clock=lambda: 2e9)
    (tmp_path / "answer").unlink()
    with pytest.raises(AccessRefused):
        credentials.current()


def test_what_it_is_told(tmp_path: Path, authority: Authority) -> None:
    """With provideClusterInfo: the cluster, its authority as data, and its own settings of it."""
    user = install(
        tmp_path, f"echo \"$KUBERNETES_EXEC_INFO\" >told\necho '{credential(token=TOKEN)}'"
    )
    user["exec"]["provideClusterInfo"] = True
    user["exec"]["env"] = [{"name": "ANY", "value": SECRET}]
    cluster = {
        "server": "https://127.0.0.1:1",
        "certificate-authority": str(authority.certificate),
        "tls-server-name": "api",
        "extensions": [{"name": f"{API}exec", "extension": {"audience": "it"}}],
    }
    from_kubeconfig(Path(write(tmp_path, document(cluster, user))))
    assert json.loads((tmp_path / "told").read_text()) == {
        "apiVersion": f"{API}v1",
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {
                "server": "https://127.0.0.1:1",
                "certificate-authority-data": encoded(authority.certificate),
                "tls-server-name": "api",
                "config": {"audience": "it"},
            },
        },
    }


FAILING = {  # script -> the reason
    f"echo 'no session for {SECRET}: log in' >&2\nexit 3": (
        "exit status 3. no session for (hidden): log in"
    ),
    "exit 4": "exit status 4",
    f"echo {SECRET}": "failed to decode process output: Expecting value: line 1 column 1 (char 0)",
    "echo 7": "its output is not an ExecCredential",
    "printf '\\377'": "its output is not an ExecCredential",
    "echo '{}'": "malformed response. missing key 'apiVersion'",
    f"echo '{credential('v1beta1', token=TOKEN)}'": (
        f"plugin api version {API}v1beta1 does not match {API}v1"
    ),
    f"echo '{credential()}'": "it gives neither a token nor a client certificate with its key",
    f"echo '{credential(clientCertificateData=SECRET)}'": (
        "it gives neither a token nor a client certificate with its key"
    ),
    f"echo '{credential(token=[SECRET])}'": (
        "its status is wrong: Expected `str | null`, got `array` - at `$.token`"
    ),
    f"echo '{credential(token=TOKEN, expirationTimestamp='soon')}'": (
        "its status is wrong: Invalid RFC3339 encoded datetime - at `$.expirationTimestamp`"
    ),
    "exit 124": "it was still running after 60 s, or exit status 124",
}


@pytest.mark.parametrize("script", FAILING)
def test_it_fails(tmp_path: Path, script: str) -> None:
    user = install(tmp_path, script)
    user["exec"]["env"] = [{"name": "PASSWORD", "value": SECRET}]
    path = write(tmp_path, document(NOWHERE, user))
    with pytest.raises(AccessRefused) as caught:
        Connection(path)
    assert said(caught.value) == (
        f"{path}: the credential plug-in './plug-in' failed: {FAILING[script]}"
    )


def test_it_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kproxy.kubernetes.plugin._WAIT_S", 1)
    path = write(tmp_path, document(NOWHERE, install(tmp_path, "exec sleep 3600")))
    with pytest.raises(AccessRefused) as caught:
        Connection(path)
    assert said(caught.value) == (
        f"{path}: the credential plug-in './plug-in' failed: it was still running after 1 s, or"
        " exit status 124"
    )


def test_it_is_not_installed(tmp_path: Path) -> None:
    user = install(tmp_path, "")
    user["exec"] |= {"command": "kproxy-no-such-program", "installHint": "get it\nthere"}
    path = write(tmp_path, document(NOWHERE, user))
    with pytest.raises(BadInput) as caught:
        Connection(path)
    assert said(caught.value) == (
        f"{path}: the credential plug-in 'kproxy-no-such-program' is not installed, or not"
        " executable"
    )
    assert caught.value.remedy == "get it there"


def test_it_is_not_executable(tmp_path: Path) -> None:
    user = install(tmp_path, "")
    (tmp_path / "plug-in").chmod(0o644)
    with pytest.raises(KproxyError, match="not executable"):
        Connection(write(tmp_path, document(NOWHERE, user)))


def test_a_token_of_the_user_comes_first(tmp_path: Path) -> None:
    user = install(tmp_path, "exit 1") | {"token": TOKEN}
    settings = from_kubeconfig(Path(write(tmp_path, document(NOWHERE, user))))
    assert settings.authorization == f"Bearer {TOKEN}"


def test_secrets_are_hidden() -> None:
    token = "eyJhbGciOi.eyJpc3M.c2lnbmF0dXJl"
    assert hide(f"bad {token} and\n Bearer abc, me", ["me"]) == (
        "bad (hidden) and Bearer (hidden) (hidden)"
    )
    key = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"
    assert hide(f"a {key} b", []) == "a (hidden) b"
    assert hide("x" * 301, []) == "x" * 300 + "..."
