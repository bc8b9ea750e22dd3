"""Which form of an answer a client asks for by its Accept header.

Source: apiserver, pkg/endpoints/handlers/negotiation
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import NamedTuple

from kproxy.controlplane.plane import Refused

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_META_VERSIONS = ("v1", "v1beta1")
_PARTIAL = ("PartialObjectMetadata", "PartialObjectMetadataList")


class Form(enum.Enum):
    """Objects as they are, their metadata alone, or rows as kubectl prints them."""

    OBJECT = enum.auto()
    METADATA = enum.auto()
    TABLE = enum.auto()


class Media(NamedTuple):
    """The form of an answer; `version` is that of the group meta.k8s.io for forms but OBJECT."""

    form: Form = Form.OBJECT
    version: str = "v1"
    yaml: bool = False

    @property
    def content_type(self) -> str:
        if self.yaml:
            return YAML
        return JSON


class Range(NamedTuple):
    """One media range of an Accept header."""

    kind: str
    parameters: tuple[tuple[str, str], ...]
    quality: float

    def parameter(self, name: str) -> str:
        return next((value for key, value in self.parameters if key == name), "")


@lru_cache(maxsize=256)
def ranges(accept: str) -> tuple[Range, ...]:
    """Read an Accept header: the most wanted ranges first, without those of quality 0."""
    found = []
    for part in accept.split(","):
        kind, *parameters = (each.strip() for each in part.split(";"))
        pairs = tuple(
            (name.strip(), value.strip().strip('"'))
            for name, _, value in (each.partition("=") for each in parameters)
        )
        quality = next((_quality(value) for name, value in pairs if name == "q"), 1.0)
        if kind and quality > 0:
            found.append(Range(kind.lower(), pairs, quality))
    return tuple(sorted(found, key=lambda each: -each.quality))


@lru_cache(maxsize=256)
def media(accept: str, *, tables: bool = True) -> Media:
    """Return the form of an answer that fits an Accept header best. Raises Refused (406).

    Protobuf is answered in JSON, which every client that asks for it reads as well. `tables`:
    whether there are forms but OBJECT.
    """
    for each in ranges(accept or "*/*"):
        wanted = each.parameter("as")
        if each.kind in (JSON, "*/*", "application/*", PROTOBUF):
            if not wanted or each.kind == PROTOBUF:
                return Media()
            if form := _form(each) if tables else None:
                return Media(form, each.parameter("v"))
        elif each.kind in (YAML, "application/yml") and not wanted:
            return Media(yaml=True)
    allowed = ", ".join((JSON, YAML, PROTOBUF))
    raise Refused(
        f"only the following media types are accepted: {allowed}",
        status=406,
        reason="NotAcceptable",
    )


def _form(wanted: Range) -> Form | None:
    if wanted.parameter("g") != "meta.k8s.io" or wanted.parameter("v") not in _META_VERSIONS:
        return None
    kind = wanted.parameter("as")
    if kind == "Table":
        return Form.TABLE
    return Form.METADATA if kind in _PARTIAL else None


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether a client takes a compressed answer. As for the API server, who states a quality
    for gzip does not.

    Source: apiserver, pkg/endpoints/handlers/responsewriters/writers.go (negotiateContentEncoding)
    """
    return any(each.strip() == "gzip" for each in accept_encoding.split(","))
