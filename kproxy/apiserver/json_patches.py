"""The two patches that need no schema: JSON Patch (RFC 6902) and JSON merge patch (RFC 7386)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from jsonpatch import JsonPatch, JsonPatchException
from jsonpointer import JsonPointer, JsonPointerException
from msgspec.json import encode

from kproxy.api.depth import is_deep
from kproxy.controlplane.plane import Json, Refused

MOST_OPERATIONS = 10_000  # of one JSON Patch; API server: maxJSONPatchOperations
MOST_COPIED_BYTES = 3 << 20  # by all copies of one patch; API server: AccumulatedCopySizeLimit


def json_patched(document: Json, patch: object) -> Json:
    """Return the document after a JSON Patch, a list of operations. The document is left as it is.

    Raises Refused: 400 for what is no JSON Patch, 413 for too many operations, 422 for one that
    does not apply. Source: API server, endpoints/handlers/patch.go.
    """
    if not isinstance(patch, list) or not all(isinstance(each, dict) for each in patch):
        raise _bad("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(patch) > MOST_OPERATIONS:
        raise Refused(
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{MOST_OPERATIONS}, got {len(patch)}",
            status=413,
            reason="RequestEntityTooLarge",
        )
    copied = 0
    try:
        made: Any = deepcopy(document)
        for operation in patch:
            one = JsonPatch([operation])
            if operation["op"] == "copy":
                copied += len(encode(JsonPointer(operation["from"]).resolve(made)))
                if copied > MOST_COPIED_BYTES:
                    raise _unprocessable()
            if not _finds_nothing(operation, made):
                made = one.apply(made, in_place=True)
        if not isinstance(made, dict) or is_deep(encode(made).decode()):
            raise _unprocessable()
    except (JsonPatchException, JsonPointerException, KeyError, TypeError) as error:
        raise _unprocessable() from error
    except RecursionError as error:  # copies of copies
        raise _unprocessable() from error
    return made


def _finds_nothing(operation: Json, document: Any) -> bool:
    """Tell whether an operation tests that an object has no such field, as the server allows it."""
    if operation["op"] != "test" or operation.get("value", ...) is not None:
        return False
    parts = JsonPointer(operation["path"]).parts
    parent = JsonPointer.from_parts(parts[:-1]).resolve(document)
    return bool(parts) and isinstance(parent, dict) and parts[-1] not in parent


def merge_patched(document: Json, patch: object) -> Json:
    """Return the document after a JSON merge patch. The document is left as it is.

    Raises Refused (400) if the patch is no object.
    """
    if not isinstance(patch, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(patch), "number")
        raise _bad(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type "
            "map[string]interface {}"
        )
    return _merged(document, patch)


def _merged(document: object, patch: Json) -> Json:
    made = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            made[key] = _merged(made.get(key), value)
        else:
            made[key] = value
    return made


def _bad(message: str) -> Refused:
    return Refused(message, status=400, reason="BadRequest")


def _unprocessable() -> Refused:
    message = "the server rejected our request due to an error in our request"
    return Refused(message, status=422, reason="Invalid")
