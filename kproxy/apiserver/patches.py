"""Patches of all types, from a request's body to the object after it.

Source: apiserver, pkg/endpoints/handlers/patch.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kproxy.apiserver.bodies import (
    content_type,
    json_value,
    keys_set_twice,
    unsupported,
    yaml_value,
)
from kproxy.apiserver.json_patches import json_patched, merge_patched
from kproxy.apiserver.request import Request
from kproxy.apiserver.status import bad_request
from kproxy.apiserver.strategic_merge import merged
from kproxy.apiserver.strict_fields import duplicates
from kproxy.controlplane.plane import Json, Refused

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
            _check_type(applied, kind)
            return Patch(lambda document: merge_patched(document, applied), applied)
    raise unsupported((JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY))


def fields_twice(request: Request) -> tuple[str, ...]:
    """Return the server's words for fields that stand twice in a patch."""
    if content_type(request) == APPLY:
        return keys_set_twice(request.body)
    is_json_patch = content_type(request) == JSON_PATCH
    found = duplicates(request.body)
    return tuple(f"json patch {each}" if is_json_patch else each for each in found)


def keys_twice(told: tuple[str, ...]) -> Refused:
    """Return the refusal of an apply whose text has keys twice, in these words."""
    lines = "".join(f"\n  {each}" for each in told)
    return bad_request(
        f"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:{lines}"
    )


def _check_type(applied: Json, kind: tuple[str, str, str]) -> None:
    """Raise Refused (400) if what is applied does not state the type of its path.

    Source: apimachinery, pkg/util/managedfields/internal/versioncheck.go
    """
    version, name = (
        each if isinstance(each, str) else ""
        for each in (applied.get("apiVersion"), applied.get("kind"))
    )
    group, number, expected = kind
    if (version, name) != (f"{group}/{number}" if group else number, expected):
        # Go shows the group of core, which has no name, with its slash.
        told = version if "/" in version else f"/{version}"
        raise bad_request(f"invalid object type: {told}, Kind={name}")


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        told = _GO_NAMES.get(type(value), "number")
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {told} into Go value of type"
            " map[string]interface {}"
        )
    return value
