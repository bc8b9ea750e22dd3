"""Decodes manifests into objects, fills in defaults and checks them.

Faults of a manifest are not raised: each becomes a line
`file:document: field: problem`. Documents count from 1, an item of a list is
`file:document.items[3]`, and the field is spelled as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from kproxy.api.conflicts import Found, report_conflicts
from kproxy.api.deployment_rules import check_deployment
from kproxy.api.documents import Item, ListKind, RawObject, items_of, plain, wrong_version
from kproxy.api.endpoint_rules import check_endpoint_slice, check_endpoints
from kproxy.api.ingress_rules import check_ingress
from kproxy.api.node_rules import check_node
from kproxy.api.pod_rules import check_pod
from kproxy.api.problems import Problem, Report, shown
from kproxy.api.service_cidr_rules import check_service_cidr
from kproxy.api.service_rules import check_service
from kproxy.api.structure import build
from kproxy.api.types import (
    Deployment,
    Endpoints,
    EndpointSlice,
    Ingress,
    KubernetesObject,
    Node,
    Pod,
    Service,
    ServiceCIDR,
)

SUFFIXES = (".yaml", ".yml", ".json")


class Skipped(NamedTuple):
    """An object of a kind that was not asked for. `notice` is the one that names this kind."""

    kind: str
    namespace: str
    name: str
    notice: str


class Decoded(Struct, frozen=True):
    """The objects of several manifests, and their problems.

    `objects` are those without a fault; if there are `problems`, others are missing.
    `notices` tell the user what may surprise, and which kinds were `skipped`.
    """

    objects: tuple[KubernetesObject, ...] = ()
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


class _Kind(NamedTuple):
    api_version: str
    type: type[Any]
    check: Callable[[Any, Report], KubernetesObject]
    decoder: msgspec.json.Decoder[Any]


def _kind(api_version: str, kind: type[Any], check: Callable[[Any, Report], Any]) -> _Kind:
    return _Kind(api_version, kind, check, msgspec.json.Decoder(kind))


_KINDS = {
    "Service": _kind("v1", Service, check_service),
    "EndpointSlice": _kind("discovery.k8s.io/v1", EndpointSlice, check_endpoint_slice),
    "Endpoints": _kind("v1", Endpoints, check_endpoints),
    "ServiceCIDR": _kind("networking.k8s.io/v1", ServiceCIDR, check_service_cidr),
    "Ingress": _kind("networking.k8s.io/v1", Ingress, check_ingress),
    "Node": _kind("v1", Node, check_node),
    "Pod": _kind("v1", Pod, check_pod),
    "Deployment": _kind("apps/v1", Deployment, check_deployment),
}
KINDS = frozenset(_KINDS)
PROXY_KINDS = KINDS - {"Pod", "Deployment"}  # only labs run these, and cannot run all of them
_LISTS = {"List": ListKind("v1")} | {
    f"{name}List": ListKind(kind.api_version, name) for name, kind in _KINDS.items()
}


def decode(text: str | bytes, where: str) -> Decoded:
    """Return the objects of one manifest: YAML documents or JSON. `where` is its name."""
    return decode_texts({where: text}, KINDS)


def decode_texts(texts: Mapping[str, str | bytes], kinds: frozenset[str] = PROXY_KINDS) -> Decoded:
    """Return the objects of several manifests by name, checked also against each other.

    Kinds not in `kinds` are skipped with a notice; by default, those a service proxy does not need.
    """
    reader = _Reader(kinds)
    for where, text in texts.items():
        reader.read(text, where)
    return reader.decoded()


def load(paths: Iterable[str | Path]) -> Decoded:
    """Return the objects of files and of folders (of the manifests directly in them, by name).

    A file that cannot be read is a problem like any other. A file named twice is read once.
    """
    reader = _Reader(KINDS)
    for path in dict.fromkeys(Path(path) for path in paths):
        try:
            files = manifest_files(path) if path.is_dir() else [path]
        except OSError as error:
            reader.refuse(path, error)
            continue
        if not files:
            reader.note(f"{path}: no {', '.join('*' + each for each in SUFFIXES)} in this folder")
        for file in files:
            reader.read_file(file)
    return reader.decoded()


def manifest_files(folder: Path) -> list[Path]:
    """Return the manifests directly in a folder by name, without hidden ones. Raises OSError."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix in SUFFIXES and not file.name.startswith(".") and not file.is_dir()
    )


class _Reader:
    """Collects the objects of several files."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self._kinds = kinds
        self._files: set[Path] = set()
        self._found: list[Found] = []
        self._skipped: list[Skipped] = []
        self._notices: list[str] = []

    def read_file(self, file: Path) -> None:
        if file in self._files:
            return
        self._files.add(file)
        try:
            text = file.read_bytes()
        except (OSError, ValueError) as error:
            self.refuse(file, error)
        else:
            self.read(text, str(file))

    def read(self, text: str | bytes, where: str) -> None:
        for item in items_of(text, where, _LISTS):
            if item.value is None:
                self._found.append(Found(item.where, Report(item.problems)))
            elif isinstance(item.kind, str) and item.kind and item.kind not in self._kinds:
                self._skip(item)
            else:
                self._found.append(_judge(item, item.value))

    def refuse(self, path: Path, error: OSError | ValueError) -> None:
        if isinstance(error, FileNotFoundError):
            text = "no such file or folder"
        else:
            text = getattr(error, "strerror", None) or str(error)
        self._found.append(Found(str(path), Report([Problem("", text)])))

    def note(self, text: str) -> None:
        self._notices.append(text)

    def decoded(self) -> Decoded:
        report_conflicts(self._found)
        return Decoded(
            tuple(each.obj for each in self._found if each.obj and not each.report.problems),
            tuple(line.at(each.where) for each in self._found for line in each.report.problems),
            (
                *self._notices,
                *(line.at(each.where) for each in self._found for line in each.report.notices),
            ),
            tuple(self._skipped),
        )

    def _skip(self, item: Item) -> None:
        """Skip an object of another kind with its faults, but report faults of the text itself."""
        notice = next((each.notice for each in self._skipped if each.kind == item.kind), "")
        if not notice:
            name = item.kind if item.kind.isidentifier() else shown(item.kind)
            notice = f"{item.where}: kind {name} is not used by a service proxy; skipped"
            self.note(notice)
        self._skipped.append(Skipped(item.kind, *_namespace_and_name(item.value), notice))
        if item.problems:
            self._found.append(Found(item.where, Report(item.problems)))


def _namespace_and_name(value: RawObject | None) -> tuple[str, str]:
    """Return an object's namespace ("default" if it has none) and name, without checking them."""
    whole = plain(value) if value is not None else {}
    metadata = whole.get("metadata") if isinstance(whole, dict) else None
    found = metadata if isinstance(metadata, dict) else {}
    return str(found.get("namespace") or "default"), str(found.get("name") or "")


def _judge(item: Item, value: dict[str, Any] | Raw) -> Found:
    """Decode and check one object; a kind that is unknown or missing is reported."""
    if not isinstance(item.kind, str) or item.kind not in _KINDS:
        text = f"expected a string, got {shown(item.kind)}" if item.kind else "missing"
        return Found(item.where, Report([*item.problems, Problem("kind", text)]))
    kind = _KINDS[item.kind]
    if item.api_version != kind.api_version:
        problem = wrong_version(item.api_version, kind.api_version)
        return Found(item.where, Report([*item.problems, problem]))
    obj, malformed = _decode(value, kind)
    report = Report([*item.problems, *malformed])
    return Found(item.where, report, kind.check(obj, report))


def _decode(value: dict[str, Any] | Raw, kind: _Kind) -> tuple[Any, list[Problem]]:
    try:
        if isinstance(value, Raw):
            return kind.decoder.decode(value), []
        return msgspec.convert(value, kind.type), []
    except msgspec.ValidationError:
        return build(plain(value), kind.type)
