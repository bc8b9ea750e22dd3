"""Decodes manifests into objects.

`decode` and `load` read what users submit to a control plane, as the API server does for kubectl:
field names and types must be right. What Services and their endpoints say is left as it is; the
control plane judges it. `decode_texts` and `as_read` return stored objects as kube-proxy reads
them: defaults are filled in, addresses made canonical, and what a proxy could not use is reported.

Faults of a manifest are not raised: each becomes a text
`file:line: Kind name: field: problem`. The line is that of the field, or of what is around it if
the file does not have it; the field is spelled as in Kubernetes. In a notice it is the line where
the object begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from kproxy.api.checks import in_namespace
from kproxy.api.conflicts import Found, object_name, report_conflicts
from kproxy.api.documents import (
    Item,
    ListKind,
    items_of,
    plain,
    text_of,
    wrong_version,
)
from kproxy.api.kinds import DOCUMENT_KINDS, is_of_others, misspelled
from kproxy.api.places import Lines, Place
from kproxy.api.problems import Problem, Report, shown
from kproxy.api.typed_kinds import KINDS, TYPED, decoded
from kproxy.api.types import (
    KubernetesObject,
)
from kproxy.typed import converted

SUFFIXES = (".yaml", ".yml", ".json")


class Skipped(Struct, frozen=True):
    """An object of a kind that was not asked for. `notice` is the one that names this kind.

    `document` is the whole object, if it is a submitted one of `DOCUMENT_KINDS` and has no problem.
    `whole` is what it says, whatever it is and unchecked; {} if it is no object.
    """

    kind: str
    namespace: str
    name: str
    notice: str
    document: dict[str, Any] | None = None
    whole: Mapping[str, Any] = {}

    @property
    def key(self) -> tuple[str, str, str]:
        """The kind, the namespace ("default" if it has none) and the name."""
        return (self.kind, self.namespace, self.name)


class Decoded(Struct, frozen=True):
    """The objects of several manifests, and their problems.

    `objects` are those without a fault; if there are `problems`, others are missing.
    `notices` tell the user what may surprise, and which kinds were `skipped`.
    """

    objects: tuple[KubernetesObject, ...] = ()
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


# Wholly by the control plane.
_ADMITTED = frozenset({"Service", "EndpointSlice", "Endpoints", "ServiceCIDR", "IPAddress"})
PROXY_KINDS = KINDS - {
    "Pod",
    "Deployment",
    "Ingress",
    "IPAddress",
}  # only labs have a use for these
_LISTS = {"List": ListKind("v1")} | {
    f"{name}List": ListKind(kind.api_version, name) for name, kind in TYPED.items()
}


def decode(text: str | bytes, where: str) -> Decoded:
    """Return the submitted objects of one manifest: YAML documents or JSON. `where` is its name."""
    reader = _Reader(KINDS, submitted=True)
    reader.read(text, where)
    return reader.decoded()


def decode_texts(texts: Mapping[str, str | bytes], kinds: frozenset[str] = PROXY_KINDS) -> Decoded:
    """Return the stored objects of several manifests by name, checked also against each other.

    Kinds not in `kinds` are skipped with a notice; by default, those a service proxy does not need.
    """
    reader = _Reader(kinds)
    for where, text in texts.items():
        reader.read(text, where)
    return reader.decoded()


def load(paths: Iterable[str | Path], *, stored: bool = False) -> Decoded:
    """Return the objects of files and of folders (the manifests directly in them, by name).

    They are submitted ones, or `stored` ones, as a proxy reads them.

    A file that cannot be read is a problem like any other. A file named twice is read once.
    """
    reader = _Reader(KINDS, submitted=not stored)
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


def checked(value: dict[str, Any], kind: str) -> tuple[KubernetesObject, list[Problem]]:
    """Return a submitted object of a kind in its namespace, and its problems.

    Those that a control plane judges are not among them. Raises msgspec.ValidationError if a value
    is of another type, KeyError for an unknown kind.
    """
    obj = converted(value, TYPED[kind].type)
    if kind in _ADMITTED:
        admitted: KubernetesObject = in_namespace(obj)
        return admitted, []
    report = Report()
    found = TYPED[kind].check(obj, report)
    return found, [each for each in report.problems if not _is_admitted(each)]


def manifest_files(folder: Path) -> list[Path]:
    """Return the manifests directly in a folder by name, without hidden ones. Raises OSError."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix in SUFFIXES and not file.name.startswith(".") and not file.is_dir()
    )


class _Reader:
    """Collects the objects of several files, stored or `submitted` ones."""

    def __init__(self, kinds: frozenset[str], *, submitted: bool = False) -> None:
        self._kinds = kinds
        self._submitted = submitted
        self._texts: dict[str, str] = {}
        self._found: list[Found] = []
        self._skipped: list[Skipped] = []
        self._documents: dict[tuple[str, str, str], Place] = {}
        self._notices: list[str] = []

    def read_file(self, file: Path) -> None:
        if str(file) in self._texts:
            return
        try:
            text = file.read_bytes()
        except (OSError, ValueError) as error:
            self._texts[str(file)] = ""
            self.refuse(file, error)
        else:
            self.read(text, str(file))

    def read(self, data: str | bytes, where: str) -> None:
        text, fault = text_of(data, where)
        self._texts[where] = text
        if fault:
            self._found.append(_broken(fault))
        for item in items_of(text, where, _LISTS):
            if item.value is None:
                self._found.append(_broken(item))
            elif isinstance(item.kind, str) and item.kind and (name := self._unused(item)):
                self._skip(item, name)
            else:
                self._found.append(_judge(item, item.value, submitted=self._submitted))

    def refuse(self, path: Path, error: OSError | ValueError) -> None:
        if isinstance(error, FileNotFoundError):
            text = "no such file or folder"
        else:
            text = getattr(error, "strerror", None) or str(error)
        self._found.append(Found(Place(str(path)), Report([Problem("", text)])))

    def note(self, text: str) -> None:
        self._notices.append(text)

    def decoded(self) -> Decoded:
        report_conflicts(self._found, held=not self._submitted)
        return Decoded(
            tuple(each.obj for each in self._found if each.obj and not each.report.problems),
            tuple(self._problems()),
            (*self._notices, *_notices(self._found)),
            tuple(self._skipped),
        )

    def _problems(self) -> Iterator[str]:
        faulty = [each for each in self._found if each.report.problems]
        lines = Lines(self._texts).of(
            (each.place, problem.field or problem.within)
            for each in faulty
            for problem in each.report.problems
            if not problem.line
        )
        for each in faulty:
            for problem in each.report.problems:
                line = problem.line or lines.get((each.place, problem.field or problem.within), 0)
                yield problem._replace(line=line).at(each.place.file, each.name)

    def _unused(self, item: Item) -> str:
        """Return what a kind without meaning here is called; "" for one that is to be decoded."""
        kind = TYPED.get(item.kind)
        if not kind:
            return "" if misspelled(item.kind, item.api_version) else str(item.kind)
        if item.api_version != kind.api_version and is_of_others(
            item.api_version, kind.api_version
        ):
            return f"{item.kind}.{item.api_version.rpartition('/')[0]}"
        return "" if item.kind in self._kinds else str(item.kind)

    def _skip(self, item: Item, kind: str) -> None:
        """Skip an object of another kind with its faults, but report faults of the text itself."""
        notice = next((each.notice for each in self._skipped if each.kind == kind), "")
        if not notice:
            name = kind if kind.replace(".", "").replace("-", "").isalnum() else shown(kind)
            notice = f"{item.place}: kind {name} is not used by a service proxy; skipped"
            self.note(notice)
        whole = plain(item.value) if item.value is not None else {}
        namespace, its_name = _namespace_and_name(whole)
        problems = [*item.problems]
        version = DOCUMENT_KINDS.get(kind) if self._submitted else None
        is_document = version is not None and version == item.api_version
        if is_document:
            problems += self._document_problems(item, (kind, namespace, its_name))
        document = _named(item, whole) if is_document and not problems else None
        as_it_is = whole if isinstance(whole, dict) else {}
        self._skipped.append(Skipped(kind, namespace, its_name, notice, document, as_it_is))
        if problems:
            self._found.append(_broken(replace(item, problems=tuple(problems))))

    def _document_problems(self, item: Item, key: tuple[str, str, str]) -> Iterator[Problem]:
        """Yield why a server does not decode a document, or that there was one of its name."""
        from kproxy.api.strict import parse, refusal

        value = parse(item.value) if isinstance(item.value, Raw) else item.value
        refused, path = refusal(_named(item, value), key[0], DOCUMENT_KINDS[key[0]])
        if refused:
            yield Problem("", refused, within=path)
            return
        first = self._documents.setdefault(key, item.place)
        if first != item.place:
            yield Problem("metadata.name", f"{object_name(*key)} is defined already, at {first}")


def _named(item: Item, value: Any) -> Any:
    """Return an object with its kind and API version, which an item of a list need not state."""
    if not isinstance(value, dict):
        return value
    from copy import copy  # looks for Java's, which takes half a millisecond

    named = copy(value)  # it may be of a class that knows more
    named.update(apiVersion=item.api_version, kind=item.kind)
    return named


def _namespace_and_name(whole: Any) -> tuple[str, str]:
    """Return an object's namespace ("default" if it has none) and name, without checking them."""
    metadata = whole.get("metadata") if isinstance(whole, dict) else None
    found = metadata if isinstance(metadata, dict) else {}
    return str(found.get("namespace") or "default"), str(found.get("name") or "")


def _broken(item: Item) -> Found:
    """Return an item that is not decoded, with the faults of its text."""
    return Found(item.place, Report(item.problems), subject=_subject(item))


def _notices(found: Iterable[Found]) -> Iterator[str]:
    for each in found:
        for notice in each.report.notices:
            yield notice._replace(line=each.place.line).at(each.place.file, each.name)


def _judge(item: Item, value: dict[str, Any] | Raw, *, submitted: bool) -> Found:
    """Decode one object, and check it if it is a stored one or a control plane does not.

    A kind that is unknown or missing is reported.
    """
    kind = TYPED.get(item.kind) if isinstance(item.kind, str) else None
    if kind is None:
        return _refused(item, Problem("kind", _kind_problem(item)))
    if item.api_version != kind.api_version:
        return _refused(item, wrong_version(item.api_version, kind.api_version))
    if submitted:
        from kproxy.api.strict import parse, refusal  # needs more than all else here

        if isinstance(value, Raw):
            value = parse(value)
        refused, path = refusal(value, str(item.kind), kind.api_version)
        if refused:
            return _refused(item, Problem("", refused, within=path))
    obj, malformed = decoded(value, kind)
    report = Report([*item.problems, *malformed])
    if submitted and item.kind in _ADMITTED:
        obj = in_namespace(obj)
    else:
        obj = kind.check(obj, report)
        if submitted:
            report.problems = [each for each in report.problems if not _is_admitted(each)]
    told = bool(report.problems or report.notices)
    return Found(item.place, report, obj, _subject(item) if told else "")


def _is_admitted(problem: Problem) -> bool:
    """Tell whether the control plane judges that field, whatever the kind."""
    return problem.field.startswith("metadata.")


def _refused(item: Item, problem: Problem) -> Found:
    return Found(item.place, Report([*item.problems, problem]), subject=_subject(item))


def _subject(item: Item) -> str:
    """Return what messages call an object: `Service shop/web`, or `items[3]`."""
    value = plain(item.value) if item.value is not None else None
    if not isinstance(item.kind, str) or not isinstance(value, dict):
        return item.place.path
    metadata = value.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    namespace, name = (
        each if isinstance(each := found.get(key), str) else "" for key in ("namespace", "name")
    )
    return object_name(item.kind, namespace, name)


def _kind_problem(item: Item) -> str:
    if not item.kind:
        return "missing"
    if not isinstance(item.kind, str):
        return f"expected a string, got {shown(item.kind)}"
    return f"unknown; did you mean {misspelled(item.kind, item.api_version)}?"
