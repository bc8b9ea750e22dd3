"""Patches of all types, from a request's body to the object after it.

Source: apiserver, pkg/endpoints/handlers/patch.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kproxy.apiserver.bodies import content_type, json_value, unsupported, yaml_value
from kproxy.apiserver.json_patches import json_patched, merge_patched
from kproxy.apiserver.request import Request
from kproxy.apiserver.status import bad_request
from kproxy.apiserver.strategic_merge import merged
from kproxy.apiserver.strict_fields import duplicates
from kproxy.controlplane.plane import Json

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_GO_NAMES = {str: "string", bool: "bool", list: "array"}


class Patch(NamedTuple):
    """A change of an object. `applied`: the object of a server-side apply, else None.

    Messages about what became of the object show `shown`, a strategic merge patch, or else the
    object.
    """

    change: Callable[[Json], Json]
    applied: Json | None = None
    shown: Json | None = None


def patch_of(request: Request, kind: tuple[str, str, str]) -> Patch:
    """Read the patch in a request's body, of an object of this group, version and kind.

    Raises Refused (400, 413, 415), and its `change` (400, 422) if it does not fit an object.
    """
    match content_type(request):
        case "application/json-patch+json":
            operations = json_value(request.body)
            return Patch(lambda document: json_patched(document, operations))
        case "application/merge-patch+json":
            merge = json_value(request.body)
            return Patch(lambda document: merge_patched(document, merge))
        case "application/strategic-merge-patch+json":
            strategic = _object(json_value(request.body))
            return Patch(lambda document: merged(document, strategic, kind=kind), shown=strategic)
        case "application/apply-patch+yaml":
            applied = _object(yaml_value(request.body))
            return Patch(lambda document: merge_patched(document, applied), applied)
    raise unsupported((JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY))


def fields_twice(request: Request) -> tuple[str, ...]:
    """Return the server's words for fields that stand twice in a patch that is not applied."""
    is_json_patch = content_type(request) == JSON_PATCH
    found = duplicates(request.body)
    return tuple(f"json patch {each}" if is_json_patch else each for each in found)


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        told = _GO_NAMES.get(type(value), "number")
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {told} into Go value of type"
            " map[string]interface {}"
        )
    return value
