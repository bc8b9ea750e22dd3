"""The depth of JSON, measured before anything recurses into it.

Parsers end deep JSON at the depth of the stack, which differs between versions of Python; this
limit is the same everywhere. All steps are done in C: 10 MB take tens of milliseconds.
"""

from __future__ import annotations

import re

MAX_DEPTH = 100  # Kubernetes objects have about ten levels

_STRING = re.compile(rb'"[^"]*"?')
_TOO_MANY = b"{" * (MAX_DEPTH + 1)
_KEPT = b'{}[]"'
_DELETED = bytes(set(range(256)) - set(_KEPT))
_ONE_KIND = bytes.maketrans(b"[]", b"{}")


def is_deep(text: str) -> bool:
    """Tell whether objects and lists of a JSON text are nested more than MAX_DEPTH levels."""
    data = text.encode(errors="replace")
    if b"\\" in data:
        data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    data = data.translate(_ONE_KIND, _DELETED)
    if data.count(b"{") <= MAX_DEPTH:  # nearly all are such
        return False
    brackets = _STRING.sub(b"", data.replace(b'""', b""))
    for _ in range(MAX_DEPTH):
        if _TOO_MANY in brackets:  # soon the case of whatever is nested deeply
            return True
        outer = brackets.replace(b"{}", b"")  # without the innermost level
        if len(outer) == len(brackets):
            break
        brackets = outer
    return b"{}" in brackets or brackets.count(b"{") > MAX_DEPTH
