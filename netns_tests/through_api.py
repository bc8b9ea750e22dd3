"""A look at what the APIs of labs are asked and told, for tests of labs whose objects go there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kproxy.apiserver.core import ApiServer
from kproxy.apiserver.request import Outcome, Request
from kproxy.controlplane.plane import Json, Plane
from kproxy.resident.api_verbs import MANAGER
from kproxy.store import ObjectKey

Asked = Counter[tuple[str, str]]  # of each verb, WATCH among them, and collection


@contextmanager
def heard() -> Iterator[Asked]:
    """Count what the API servers of this process are asked during the block. Nothing but requests
    over TLS leads there.
    """
    found: Asked = Counter()
    answer = ApiServer.handle

    def noted(server: ApiServer, request: Request) -> Outcome:
        words = request.path.split("/")
        named = request.method in ("PUT", "PATCH", "DELETE") and words[-1] not in ("scale",)
        verb = "WATCH" if request.flag("watch") else request.method
        found[verb, words[-2] if named else words[-1]] += 1
        return answer(server, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ApiServer, "handle", noted)
        yield found


def not_by_requests(plane: Plane, keys: Iterable[ObjectKey]) -> list[ObjectKey]:
    """Return the keys of those objects that no request of the lab's has written. The API server
    notes who has: nothing else does.
    """
    return [key for key in keys if MANAGER not in managers(plane.get(key))]


def managers(document: Json | None) -> set[str]:
    """Return who has written fields of a document; nobody if there is none."""
    metadata: dict[str, Any] = document["metadata"] if document else {}
    return {each["manager"] for each in metadata.get("managedFields", ())}
