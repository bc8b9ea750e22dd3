"""Warnings in headers of answers, which kubectl prints as `Warning: text`."""

from __future__ import annotations

from collections.abc import Iterable

from kproxy.apiserver.resources import Resource
from kproxy.apiserver.reviews import NOT_ENFORCED

_OF_KINDS = {
    "Endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    # kubectl auth can-i tells no reason with a yes.
    "SelfSubjectAccessReview": NOT_ENFORCED,
    "SelfSubjectRulesReview": NOT_ENFORCED,
}
# kubectl autoscale tries another version when it is refused, and tells of that alone.
_UNTOLD = ("HorizontalPodAutoscaler",)


def warning_headers(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return a header for each text, without line breaks."""
    return tuple(("Warning", f'299 - "{_escaped(each)}"') for each in dict.fromkeys(texts))


def of_resource(resource: Resource) -> tuple[str, ...]:
    """Return the warnings that every request for a resource is answered with."""
    found = _OF_KINDS.get(resource.kind)
    return (found,) if found else ()


def of_refusal(resource: Resource) -> tuple[str, ...]:
    """Return the warnings that the refusal of an absent resource comes with."""
    return (resource.absent,) if resource.kind in _UNTOLD else ()


def _escaped(text: str) -> str:
    line = " ".join(text.split())
    return line.replace("\\", "\\\\").replace('"', '\\"')
