"""The API server's checks of ConfigMaps and Secrets.

Source: pkg/apis/core/validation/validation.go (ValidateConfigMap, ValidateSecret and their updates)
and apimachinery pkg/util/validation (IsConfigMapKey) of Kubernetes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kproxy.controlplane.field_errors import forbidden, invalid, required, too_long
from kproxy.controlplane.plane import Json

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_MOST_KEY = 253
_MOST_BYTES = 1 << 20
_NO_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', "
    " or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_FIXED = "field is immutable when `immutable` is set"
_OWNER = "kubernetes.io/service-account.name"
_NEEDED = {  # type of a Secret -> keys that it needs
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_EITHER = ("username", "password")  # one of them is enough
_SSH_KEY = "ssh-privatekey"
_TEXTS = {"ConfigMap": ("data", "binaryData"), "Secret": ("data",)}


def config_problems(document: Json, former: Json | None) -> Iterator[str]:
    """Yield the problems of a ConfigMap or Secret with its defaults, which replaces `former`; none
    of any other kind.
    """
    if document["kind"] not in _TEXTS:
        return
    is_secret = document["kind"] == "Secret"
    if former:
        yield from _changes(document, former)
    size = 0
    for field in _TEXTS[document["kind"]]:
        for key, value in _texts(document, field).items():
            yield from (invalid(f"{field}[{key}]", key, told) for told in key_problems(key))
            encoded = is_secret or field == "binaryData"
            size += len(value) * 3 // 4 if encoded else len(value.encode())
            if field == "data" and key in _texts(document, "binaryData"):
                told = "duplicate of key present in binaryData"
                yield invalid(f"data[{key}]", key, told)
    if size > _MOST_BYTES:
        yield too_long("data" if is_secret else "[]", _MOST_BYTES)
    if is_secret:
        yield from _lacking(document)


def key_problems(key: str) -> Iterator[str]:
    """Yield what is wrong with a key of a ConfigMap or Secret."""
    if len(key) > _MOST_KEY:
        yield f"must be no more than {_MOST_KEY} characters"
    if not _KEY.fullmatch(key):
        yield _NO_KEY
    if key in (".", ".."):
        yield f"must not be '{key}'"
    elif key.startswith(".."):
        yield "must not start with '..'"


def _changes(document: Json, former: Json) -> Iterator[str]:
    kind, now = document.get("type"), former.get("type")
    if document["kind"] == "Secret" and kind != now:
        yield invalid("type", kind, "field is immutable")
    if not former.get("immutable"):
        return
    if not document.get("immutable"):
        yield forbidden("immutable", _FIXED)
    for field in _TEXTS[document["kind"]]:
        if _texts(document, field) != _texts(former, field):
            yield forbidden(field, _FIXED)


def _lacking(document: Json) -> Iterator[str]:
    """Yield what a Secret of its type needs and has not."""
    data, kind = _texts(document, "data"), document.get("type") or ""
    yield from (required(f"data[{key}]") for key in _NEEDED.get(kind, ()) if key not in data)
    match kind:
        case "kubernetes.io/basic-auth" if not any(key in data for key in _EITHER):
            yield from (required(f"data[{key}]") for key in _EITHER)
        case "kubernetes.io/ssh-auth" if not data.get(_SSH_KEY):
            yield required(f"data[{_SSH_KEY}]")
        case "kubernetes.io/service-account-token":
            if not (document["metadata"].get("annotations") or {}).get(_OWNER):
                yield required(f"metadata.annotations[{_OWNER}]")


def _texts(document: Json, field: str) -> dict[str, str]:
    found: Any = document.get(field)
    return found if isinstance(found, dict) else {}
