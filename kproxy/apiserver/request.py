"""Requests as the core of the API takes them, and the outcomes that it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from msgspec import Struct

if TYPE_CHECKING:
    from kproxy.apiserver.watch import Watcher

from kproxy.store import ObjectKey


class User(NamedTuple):
    """Who asks, as `SelfSubjectReview` tells it."""

    name: str
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Request(Struct, frozen=True, kw_only=True):
    """A request of HTTP; names of headers are in lower case, the query is decoded.

    `user` is who the credentials belong to; None if there were some and nobody knows them.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = {}
    body: bytes = b""
    user: User | None = ANONYMOUS

    def parameter(self, name: str, default: str = "") -> str:
        """Return the first value of a parameter of the query."""
        for key, value in self.query:
            if key == name:
                return value
        return default

    def flag(self, name: str) -> bool:
        """Tell whether a parameter is true as Go's conversion reads it: not "0" or "false"."""
        return any(
            key == name and value not in ("0", "false", "False") for key, value in self.query
        )


class Answer(NamedTuple):
    """A whole answer; `body` is sent as it is."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Work(NamedTuple):
    """A write that is checked as far as that needs no object; `run` does not raise.

    `is_small`: it is about one object, and little is said of it.
    """

    run: Callable[[], Answer]
    is_small: bool = False


class Watch(NamedTuple):
    """An open watch; the caller asks `watcher` for text to send until it has ended.

    `timeout_s` is how long the client wants it to last, None if it did not say.
    """

    watcher: Watcher
    content_type: str
    timeout_s: int | None
    headers: tuple[tuple[str, str], ...] = ()


class Upgrade(NamedTuple):
    """A stream of a pod or node: `stream` is exec, attach, log or portforward."""

    stream: str
    key: ObjectKey
    query: tuple[tuple[str, str], ...]


Outcome = Answer | Work | Watch | Upgrade


def query_of(text: str) -> tuple[tuple[str, str], ...]:
    """Decode a query; a parameter without a value has an empty one."""
    return tuple(parse_qsl(text, keep_blank_values=True)) if text else ()
