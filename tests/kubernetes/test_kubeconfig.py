"""A kubeconfig is refused with one line: the file, what is wrong, and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kproxy.errors import BadInput
from kproxy.kubernetes.credentials import from_kubeconfig
from kproxy.kubernetes.kubeconfig import read_kubeconfig
from tests.kubernetes.kubeconfigs import SECRET, TOKEN, document, said, write

URL = {"server": "https://192.168.10.2:6443"}
USER = {"token": TOKEN}
PLUGIN = {"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}

WRONG: dict[str, tuple[dict[str, Any] | str, str]] = {  # what is wrong: the file -> its line
    "empty": ("", "is empty"),
    "a list": ("[]", "holds no kubeconfig: a mapping is expected, not a list"),
    "text": (SECRET, "holds no kubeconfig: a mapping is expected, not a text"),
    "no YAML": (f"users:\n- token: {SECRET}: x", "is not valid YAML at line 2, column 19"),
    "an alias": (f"token: *{SECRET}", "is not valid YAML at line 1, column 8"),
    "a tag": (f"token: !{SECRET} x", "is not valid YAML at line 1, column 8"),
    "nothing in it": ("kind: Config", "no current-context; its contexts: none"),
    "no current-context": (
        document(URL, USER, current_context=""),
        "no current-context; its contexts: x",
    ),
    "an unknown context": (
        document(URL, USER, current_context="y"),
        "current-context names 'y', which is not in contexts",
    ),
    "an unknown cluster": (
        document(URL, USER, clusters=None),
        "context 'x' names 'c', which is not in clusters",
    ),
    "an unknown user": (
        document(URL, USER, users=[]),
        "context 'x' names 'u', which is not in users",
    ),
    "two users": (
        document(URL, USER, users=[{"name": "u", "user": USER}] * 2),
        "users has 2 entries of the name 'u'",
    ),
    "a context without cluster": (
        document(URL, USER, contexts=[{"name": "x", "context": {"user": "u"}}]),
        "context 'x' names no cluster",
    ),
    "a number as token": (
        document(URL, {"token": 12}),
        "users[0].user.token: expected str, got int",
    ),
    "users as a mapping": (document(users={"u": USER}), "users: expected array, got object"),
    "no name": (
        document(URL, USER, users=[{"user": USER}]),
        "users[0]: object missing required field name",
    ),
    "text as a user": (
        document(URL, users=[{"name": "u", "user": SECRET}]),
        "users[0].user: expected object, got str",
    ),
    "a cluster without server": (document({}, USER), "context 'x': its cluster has no server"),
    "no cluster": (document(None, USER), "context 'x': its cluster has no server"),
    "a server without scheme": (
        document({"server": "192.168.10.2:6443"}, USER),
        "server: is not a URL that begins with https:// or http:// and a host",
    ),
    "a password in the server": (
        document({"server": f"https://me:{SECRET}@192.168.10.2"}, USER),
        "server: has more than scheme, host, port and path",
    ),
    "a port that is none": (
        document({"server": "https://192.168.10.2:x"}, USER),
        "server: is not a URL that begins with https:// or http:// and a host",
    ),
    "no base64": (
        document(URL | {"certificate-authority-data": "%%%"}, USER),
        "certificate-authority-data: is not valid base64",
    ),
    "no certificate": (
        document(URL | {"certificate-authority-data": "aHVzaA=="}, USER),
        "certificate-authority: is not a certificate in PEM format",
    ),
    "no client certificate": (
        document(URL, {"client-certificate-data": "aHVzaA==", "client-key-data": "aHVzaA=="}),
        "client-certificate or client-key: is not a certificate with a key in PEM format",
    ),
    "no key": (
        document(URL, {"client-certificate-data": "aHVzaA=="}),
        "user 'u': a client certificate needs its key, and a key its certificate",
    ),
    "an authority and none": (
        document(URL | {"certificate-authority": "x", "insecure-skip-tls-verify": True}, USER),
        "insecure-skip-tls-verify and a certificate authority exclude each other",
    ),
    "a token of two lines": (
        document(URL, {"token": f"{SECRET}\n{SECRET}"}),
        "token: is no token",
    ),
    "socks": (
        document(URL | {"proxy-url": f"socks5://me:{SECRET}@127.0.0.1:1080"}, USER),
        "proxy-url: not the URL of a proxy that speaks HTTP (socks5:// is not supported)",
    ),
    "an auth-provider": (
        document(URL, {"auth-provider": {"name": "oidc", "config": {"id-token": SECRET}}}),
        "user 'u': auth-provider is not supported",
    ),
    "impersonation": (
        document(URL, USER | {"as": "somebody"}),
        "user 'u': impersonation (`as` ...) is not supported",
    ),
    "a plug-in of an old API": (
        document(URL, {"exec": PLUGIN | {"apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
        "user 'u': exec.apiVersion is neither client.authentication.k8s.io/v1 nor v1beta1",
    ),
    "a plug-in without command": (
        document(URL, {"exec": {"apiVersion": PLUGIN["apiVersion"]}}),
        "users[0].user.exec: object missing required field command",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_one_line(tmp_path: Path, what: str) -> None:
    content, line = WRONG[what]
    path = write(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        from_kubeconfig(Path(path))
    assert said(caught.value) == f"{path}: {line}"


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("certificate-authority", "cluster"),
        ("client-certificate", "user"),
        ("tokenFile", "user"),
    ],
)
def test_a_missing_file_is_named_with_its_field(tmp_path: Path, field: str, part: str) -> None:
    cluster, user = dict(URL), dict[str, str]()
    fields = {field: "absent"} | ({"client-key": "absent"} if field == "client-certificate" else {})
    (cluster if part == "cluster" else user).update(fields)
    path = write(tmp_path, document(cluster, user))
    with pytest.raises(BadInput) as caught:
        from_kubeconfig(Path(path))
    assert said(caught.value).startswith(f"{path}: ")
    assert str(tmp_path / "absent") in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_kubeconfig(tmp_path / "absent")
    assert said(caught.value) == f"{tmp_path}/absent: no such file"


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_kubeconfig(tmp_path)
    assert said(caught.value) == f"{tmp_path}: is a folder, not a kubeconfig"


def test_the_first_document_counts(tmp_path: Path) -> None:
    first, other = (json.dumps(document(URL, USER, current_context=name)) for name in ("x", "y"))
    path = write(tmp_path, f"---\n{first}\n---\n{other}\n--- [\n")
    assert read_kubeconfig(Path(path)).context == "x"


def test_json_may_be_indented_by_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps(document(URL, USER), indent="\t"))
    assert read_kubeconfig(Path(path)).cluster.server == URL["server"]


def test_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput) as caught:
        read_kubeconfig(tmp_path / "binary")
    assert said(caught.value) == f"{tmp_path}/binary: is not text in UTF-8"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)  # root may read everything
    with pytest.raises(BadInput) as caught:
        read_kubeconfig(tmp_path / "closed")
    assert said(caught.value) == f"{tmp_path}/closed: cannot be read: permission denied"


def test_the_current_context_counts(tmp_path: Path) -> None:
    other = {"server": "https://192.168.10.3:6443", "tls-server-name": "api", "extra": 1}
    content = document(
        clusters=[{"name": "c", "cluster": URL}, {"name": "d", "cluster": other}],
        users=[{"name": "u", "user": {}}, {"name": "v", "user": USER}],
        contexts=[
            {"name": "x", "context": {"cluster": "c", "user": "u"}},
            {"name": "y", "context": {"cluster": "d", "user": "v", "namespace": "shop"}},
        ],
        current_context="y",
    )
    found = from_kubeconfig(Path(write(tmp_path, content)))
    assert found.url == "https://192.168.10.3:6443"
    assert found.server_name == "api"
    assert found.authorization == f"Bearer {TOKEN}"


def test_master_overrides_the_server(tmp_path: Path) -> None:
    path = Path(write(tmp_path, document(URL, USER)))
    assert from_kubeconfig(path, master="http://127.0.0.1:8080/").url == "http://127.0.0.1:8080"


WHOLE: Any = document(
    URL
    | {
        "certificate-authority": "absent",
        "certificate-authority-data": "",
        "insecure-skip-tls-verify": False,
        "tls-server-name": "api",
        "proxy-url": "http://127.0.0.1:3128",
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"a": 1}}],
    },
    {
        "token": TOKEN,
        "tokenFile": "absent",
        "client-certificate-data": "aHVzaA==",
        "client-key-data": "aHVzaA==",
        "username": "me",
        "password": SECRET,
        "exec": PLUGIN | {"args": ["a"], "env": [{"name": "A", "value": SECRET}]},
    },
)
VALUES = [None, True, 0, 1.5, "", "x", "/", "http://x", [], ["x"], [None], {}, {"x": "y"}]


Place = tuple[str | int, ...]


def places(value: Any, path: Place = ()) -> list[Place]:
    """Return where something stands in a document."""
    inside: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inside = [*value.items()]
    elif isinstance(value, list):
        inside = [*enumerate(value)]
    return [path, *(found for key, each in inside for found in places(each, (*path, key)))]


def replaced(whole: Any, place: Place, value: Any) -> Any:
    """Return a document with another value at a place, if that is still there."""
    if not place:
        return value
    key, rest = place[0], place[1:]
    if isinstance(whole, dict) and key in whole:
        return {**whole, key: replaced(whole[key], rest, value)}
    if isinstance(whole, list) and isinstance(key, int) and key < len(whole):
        return [*whole[:key], replaced(whole[key], rest, value), *whole[key + 1 :]]
    return whole


@given(st.lists(st.tuples(st.sampled_from(places(WHOLE)), st.sampled_from(VALUES)), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_refused(tmp_path: Path, changes: list[tuple[Place, Any]]) -> None:
    """Whatever stands where: BadInput is the only exception, and it has one line."""
    changed = WHOLE
    for place, value in changes:
        changed = replaced(changed, place, value)
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(changed))
    try:
        from_kubeconfig(path)
    except BadInput as error:
        said(error)


def test_the_library_is_not_imported_where_its_memory_would_stay(tmp_path: Path) -> None:
    kubeconfig = write(tmp_path, document({"server": "https://127.0.0.1:1"}, {"token": TOKEN}))
    script = (
        "import sys; from kproxy.kubernetes.connection import Connection\n"
        f"Connection({kubeconfig!r}); print('kubernetes' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr
