"""Values of JSON as our types, by msgspec, in any thread. Nothing else here calls it for that.

msgspec reads a type, and those of its fields, when it is first used. A thread that uses one of them
meanwhile meets a half-read type, and the process crashes: so types are read one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar, overload

import msgspec

_T = TypeVar("_T")

_reading = Lock()
_read: set[Any] = set()


def converted(
    value: Any,
    kind: type[_T],
    *,
    strict: bool = True,
    dec_hook: Callable[[type, Any], Any] | None = None,
) -> _T:
    """Return a decoded value as a type, as `msgspec.convert` does. Raises ValidationError."""
    _be_read(kind)
    return msgspec.convert(value, kind, strict=strict, dec_hook=dec_hook)


@overload
def decoded(data: bytes | str | msgspec.Raw, kind: type[_T]) -> _T: ...
@overload
def decoded(data: bytes | str | msgspec.Raw, kind: Any) -> Any: ...  # a union
def decoded(data: bytes | str | msgspec.Raw, kind: Any) -> Any:
    """Return JSON as a type, as `msgspec.json.decode` does. Raises DecodeError."""
    _be_read(kind)
    return msgspec.json.decode(data, type=kind)


def decoder(kind: type[_T]) -> msgspec.json.Decoder[_T]:
    """Return what decodes JSON as this type, again and again."""
    _be_read(kind)
    return msgspec.json.Decoder(kind)


def _be_read(kind: Any) -> None:
    if kind not in _read:
        with _reading:
            msgspec.json.Decoder(kind)
        _read.add(kind)
