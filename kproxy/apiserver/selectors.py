"""Label and field selectors: read from a query, applied to documents.

Source: apimachinery, pkg/labels/selector.go and pkg/fields/selector.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from kproxy.api.go import quoted
from kproxy.apiserver.resources import METADATA_FIELDS, Resource
from kproxy.apiserver.status import bad_request
from kproxy.controlplane.plane import Json, Refused
from kproxy.controlplane.value_problems import label_value_problems, qualified_name_problems

_TOKEN = re.compile(r"\s*(?:(==|!=|[=!<>(),])|([^\s=!<>(),]+))")
_NO_BEGINNING = ("", ",", "=", "==", "!=", "<", ">", "(", ")")  # tokens no requirement begins with
_LONGEST_SELECTOR = 16384
_DEFAULTS = {  # fields that objects may leave out, as they would be read then
    "spec.schedulerName": "default-scheduler",
    "spec.hostNetwork": "false",
    "spec.unschedulable": "false",
    "status.replicas": "0",
}


class Requirement(NamedTuple):
    """One condition on a label. The operator is in, notin, exists, !, > or <."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        there = self.key in labels
        match self.operator:
            case "in":
                return there and labels[self.key] in self.values
            case "notin":
                return not there or labels[self.key] not in self.values
            case "exists":
                return there
            case "!":
                return not there
        bound = int(next(iter(self.values)))
        if not there or not re.fullmatch(r"[-+]?\d{1,18}", labels[self.key]):
            return False
        number = int(labels[self.key])
        return number > bound if self.operator == ">" else number < bound


class FieldRequirement(NamedTuple):
    """A field that has a value, or has not."""

    field: str
    value: str
    equal: bool


class Selection(NamedTuple):
    """Which objects of a collection are meant; the empty one means all. Falsy if it is."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, document: Json) -> bool:
        """Tell whether an object is meant."""
        labels = document["metadata"].get("labels") or {}
        return all(each.holds(labels) for each in self.labels) and all(
            (field_value(document, each.field) == each.value) is each.equal for each in self.fields
        )

    @property
    def name(self) -> str:
        """Return the only name that can match, or ""."""
        names = (each.value for each in self.fields if each.equal and each.field == "metadata.name")
        return next(names, "")


def selection(resource: Resource, label_selector: str, field_selector: str) -> Selection:
    """Read both selectors of a query. Raises Refused (400)."""
    return Selection(label_requirements(label_selector), _fields(resource, field_selector))


def field_value(document: Json, field: str) -> str:
    """Return a field as selectors compare it: as text, "" if it is not there."""
    if field == "source" and document["kind"] == "Event":
        source = document.get("source") or {}
        return str(source.get("component") or document.get("reportingComponent") or "")
    if field == "status.podIPs":
        return ",".join(each.get("ip", "") for each in document.get("status", {}).get("podIPs", ()))
    found: object = document
    for part in field.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        return _DEFAULTS.get(field, "")
    return str(found).lower() if isinstance(found, bool) else str(found)


def label_requirements(text: str) -> tuple[Requirement, ...]:
    """Read a label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Raises Refused (400)."""
    if not text.strip():
        return ()
    if len(text) > _LONGEST_SELECTOR:
        raise bad_request("unable to parse requirement: the selector is too long")
    return _Parser(text).requirements()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [sign or word for sign, word in _TOKEN.findall(text)]
        self._at = 0

    def requirements(self) -> tuple[Requirement, ...]:
        if (token := self._peek()) in _NO_BEGINNING:
            raise bad_request(f"found '{token}', expected: !, identifier, or 'end of string'")
        found = [self._requirement()]
        while (token := self._next()) == ",":
            if (token := self._peek()) in _NO_BEGINNING:
                raise bad_request(f"found '{token}', expected: identifier after ','")
            found.append(self._requirement())
        if token:
            raise bad_request(f"found '{token}', expected: ',' or 'end of string'")
        return tuple(found)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._next()
        if (key := self._next()) in _NO_BEGINNING or key == "!":
            raise _unparsed(f"found '{key}', expected: identifier")
        if problems := qualified_name_problems(key):
            raise _unparsed(f"<nil>: Invalid value: {quoted(key)}: {'; '.join(problems)}")
        if absent:
            return Requirement(key, "!")
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(key, "exists")
        self._next()
        if operator in ("in", "notin"):
            return Requirement(key, operator, _checked(key, self._values()))
        if operator not in ("=", "==", "!=", ">", "<"):
            raise _unparsed(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        value = "" if self._peek() in ("", ",") else self._next()
        if operator in "<>":
            if not re.fullmatch(r"[-+]?\d{1,18}", value):
                told = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise _unparsed(f"values[0]: Invalid value: {quoted(value)}: {told}")
            return Requirement(key, operator, frozenset({value}))
        return Requirement(key, "notin" if operator == "!=" else "in", _checked(key, {value}))

    def _values(self) -> set[str]:
        if (token := self._next()) != "(":
            raise _unparsed(f"found '{token}' expected: '('")
        values, last = set(), ""
        while (token := self._next()) != ")":
            if token == ",":
                values.add(last)
                last = ""
            elif not token or last:
                raise _unparsed(f"found '{token}', expected: ',' or ')'")
            else:
                last = token
        values.add(last)
        return values


def _unparsed(why: str) -> Refused:
    return bad_request(f"unable to parse requirement: {why}")


def _checked(key: str, values: set[str]) -> frozenset[str]:
    """Return values for a label. Raises Refused (400) if a label cannot have one of them."""
    found = [
        f"values[{place}][{key}]: Invalid value: {quoted(each)}: {'; '.join(problems)}"
        for place, each in enumerate(sorted(values))
        if (problems := label_value_problems(each))
    ]
    if found:
        raise _unparsed(found[0] if len(found) == 1 else f"[{', '.join(found)}]")
    return frozenset(values)


def _fields(resource: Resource, text: str) -> tuple[FieldRequirement, ...]:
    if len(text) > _LONGEST_SELECTOR:
        raise bad_request("invalid selector: it is too long")
    found = []
    for part in re.split(r"(?<!\\),", text):
        if not part:
            continue
        match = re.fullmatch(r"((?:[^\\=!]|\\.)*)(==|!=|=)(.*)", part, re.DOTALL)
        if match is None:
            raise bad_request(f"invalid selector: {quoted(text)}; can't understand {quoted(part)}")
        field = match[1].strip()
        if field not in resource.fields and field not in METADATA_FIELDS:
            raise bad_request(_refusal(resource, field))
        value = re.sub(r"\\([\\,=])", r"\1", match[3])
        found.append(FieldRequirement(field, value, match[2] != "!="))
    return tuple(found)


def _refusal(resource: Resource, field: str) -> str:
    if resource.own_fields:
        return f"field label not supported: {field}"
    return (
        f'{quoted(field)} is not a known field selector: only "metadata.name", "metadata.namespace"'
    )
