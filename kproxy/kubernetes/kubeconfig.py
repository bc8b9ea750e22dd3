"""A kubeconfig: reads one file, checks its shape, and picks cluster and user of current-context.

Only shapes are checked here, before the client library sees the file: at a wrong one it fails with
any exception. No text made here has a value of the file in it but the names of its entries.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from kproxy.errors import BadInput
from kproxy.typed import converted

_CREATE = "create it, or name another file with --kubeconfig"
_CORRECT = "correct the file; `kubectl config view --kubeconfig FILE` shows it without secrets"


class Exec(Struct):
    """The plug-in that gives credentials: users[].user.exec."""

    class Variable(Struct):
        name: str
        value: str = ""

    command: str
    api_version: str = msgspec.field(name="apiVersion")
    args: list[str] | None = None
    env: list[Variable] | None = None
    install_hint: str | None = msgspec.field(name="installHint", default=None)
    provide_cluster_info: bool | None = msgspec.field(name="provideClusterInfo", default=None)


class Cluster(Struct, rename="kebab"):
    server: str | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    extensions: list[dict[str, Any]] | None = None


class User(Struct, rename="kebab"):
    """Credentials. `as_user` and its kin would act as somebody else."""

    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(name="tokenFile", default=None)
    username: str | None = None
    password: str | None = None
    plugin: Exec | None = msgspec.field(name="exec", default=None)
    auth_provider: dict[str, Any] | None = None
    as_user: str | None = msgspec.field(name="as", default=None)
    as_uid: str | None = None
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None


class _Context(Struct):
    cluster: str | None = None
    user: str | None = None


class _NamedContext(Struct):
    name: str
    context: _Context | None = None


class _NamedCluster(Struct):
    name: str
    cluster: Cluster | None = None


class _NamedUser(Struct):
    name: str
    user: User | None = None


class _File(Struct, rename="kebab"):
    current_context: str | None = None
    contexts: list[_NamedContext] | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None


class Kubeconfig(Struct, frozen=True):
    """One context of a file. `raw_cluster`: its cluster as the file has it.

    Relative paths in it begin at `folder`.
    """

    path: Path
    context: str
    cluster: Cluster
    user: User
    user_name: str
    raw_cluster: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.path.absolute().parent

    def __repr__(self) -> str:  # never the user
        return f"Kubeconfig({str(self.path)!r}, context={self.context!r})"

    def wrong(self, text: str, *, remedy: str = _CORRECT) -> BadInput:
        return BadInput([f"{self.path}: {text}"], remedy=remedy)

    def contents(self, field: str, name: str) -> bytes:
        """Return what is in a file that a field names. Raises BadInput."""
        path = self.folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise self.wrong(f"{field}: {path}: {(error.strerror or '').lower()}") from None


def read_kubeconfig(path: Path) -> Kubeconfig:
    """Return the current context of a file. Raises BadInput with one line."""
    document = _document(path)
    file = _converted(path, document)
    name = file.current_context or ""
    wrong = _Wrong(path)
    if not name:
        names = ", ".join(each.name for each in file.contexts or ())
        raise wrong(
            f"no current-context; its contexts: {names or 'none'}",
            remedy="choose one: kubectl config use-context NAME --kubeconfig FILE",
        )
    context = wrong.only("contexts", name, file.contexts, "current-context").context or _Context()
    within = f"context {name!r}"
    if not context.cluster:
        raise wrong(f"{within} names no cluster")
    cluster = wrong.only("clusters", context.cluster, file.clusters, within).cluster
    user = None
    if context.user:
        user = wrong.only("users", context.user, file.users, within).user
    raw = next(each for each in document["clusters"] if each["name"] == context.cluster)
    found = Kubeconfig(
        path,
        name,
        cluster or Cluster(),
        user or User(),
        context.user or "",
        raw.get("cluster") or {},
    )
    _check(found)
    return found


def one_line(error: Exception) -> str:
    """Return an error's text as one line."""
    return " ".join(str(error).split()) or type(error).__name__


class _Wrong:
    """Makes the errors of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, text: str, *, remedy: str = _CORRECT) -> BadInput:
        return BadInput([f"{self._path}: {text}"], remedy=remedy)

    def only(self, field: str, name: str, entries: list[Any] | None, asked_by: str) -> Any:
        """Return the one entry of that name."""
        found = [each for each in entries or () if each.name == name]
        if not found:
            raise self(f"{asked_by} names {name!r}, which is not in {field}")
        if len(found) > 1:
            raise self(f"{field} has {len(found)} entries of the name {name!r}")
        return found[0]


def _document(path: Path) -> dict[str, Any]:
    import yaml

    wrong = _Wrong(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise wrong("no such file", remedy=_CREATE) from None
    except IsADirectoryError:
        raise wrong("is a folder, not a kubeconfig", remedy="name a file in it") from None
    except PermissionError:
        raise wrong(
            "cannot be read: permission denied", remedy="run as its owner, or change its mode"
        ) from None
    except UnicodeDecodeError:
        raise wrong("is not text in UTF-8") from None
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}") from None
    try:
        document = _first(text)
    except yaml.MarkedYAMLError as error:
        # Not the error's own text: it quotes the line, which may be that of a token.
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise wrong(f"is not valid YAML{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise wrong("is not valid YAML") from None
    if document is None:
        raise wrong("is empty")
    if not isinstance(document, dict):
        raise wrong(f"holds no kubeconfig: a mapping is expected, not a {_kind(document)}")
    return document


def _first(text: str) -> Any:
    """Return what the first document holds, as client-go does; JSON may be indented by tabs.

    Raises yaml.YAMLError, ValueError or RecursionError.
    """
    import yaml

    try:
        return json.loads(text)
    except ValueError:
        return next(yaml.safe_load_all(text), None)


def _converted(path: Path, document: dict[str, Any]) -> _File:
    try:
        return converted(document, _File)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$.") or "the file"
        text = re.sub(r" \| null|`", "", text).lower()
        raise _Wrong(path)(f"{field}: {text}") from None


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "list"
    return "text" if isinstance(value, str) else "number or date"


def _check(found: Kubeconfig) -> None:
    """Refuse what would be ignored though it decides who kproxy is, or what the server may be."""
    cluster, user = found.cluster, found.user
    if user.auth_provider is not None:
        raise found.wrong(
            f"user {found.user_name!r}: auth-provider is not supported",
            remedy="use a credential plug-in (exec) instead, as kubectl does since 1.26",
        )
    if user.as_user or user.as_uid or user.as_groups or user.as_user_extra:
        raise found.wrong(
            f"user {found.user_name!r}: impersonation (`as` ...) is not supported",
            remedy="give kproxy a user of its own",
        )
    if bool(user.client_certificate or user.client_certificate_data) != bool(
        user.client_key or user.client_key_data
    ):
        raise found.wrong(
            f"user {found.user_name!r}: a client certificate needs its key, and a key its"
            " certificate"
        )
    if cluster.insecure_skip_tls_verify and (
        cluster.certificate_authority or cluster.certificate_authority_data
    ):
        raise found.wrong(
            "insecure-skip-tls-verify and a certificate authority exclude each other",
            remedy="remove insecure-skip-tls-verify",
        )
    if user.plugin and not re.fullmatch(
        r"client\.authentication\.k8s\.io/(?:v1|v1beta1)", user.plugin.api_version
    ):
        raise found.wrong(
            f"user {found.user_name!r}: exec.apiVersion is neither"
            " client.authentication.k8s.io/v1 nor v1beta1"
        )


def spelled(part: Struct) -> dict[str, Any]:
    """Return the fields of a part that are set, named as in a file."""
    values = cast(dict[str, Any], msgspec.to_builtins(part))
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
