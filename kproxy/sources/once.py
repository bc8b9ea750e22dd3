"""The objects of a Kubernetes API server as they are now, read once and not watched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kproxy.api.types import KubernetesObject
from kproxy.errors import BadInput, Unreachable
from kproxy.kubernetes import stream
from kproxy.kubernetes.connection import Connection
from kproxy.kubernetes.resources import Resource
from kproxy.kubernetes.stream import Rejection

_TIMEOUT_S = 60.0
_PAGE_SIZE = 500
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404


def read_once(
    connection: Connection, resources: Sequence[Resource]
) -> tuple[list[KubernetesObject], list[str]]:
    """Return the objects of collections, and the problems of those that no proxy would accept.

    An `optional` collection that is not there, or not allowed, is empty. Raises Unreachable if
    there is no answer, BadInput if the API server refuses (AccessRefused for the credentials).
    """
    found: list[KubernetesObject] = []
    problems: list[str] = []
    for resource in resources:
        for each in _objects(connection, resource):
            if isinstance(each, Rejection):
                problems += [f"{each.name}: {problem}" for problem in each.problems]
            else:
                found.append(each)
    return found, problems


def _objects(connection: Connection, resource: Resource) -> Iterator[KubernetesObject | Rejection]:
    query = {**resource.selectors, "limit": str(_PAGE_SIZE)}
    while True:
        answer = connection.get(resource.path, query, timeout_s=_TIMEOUT_S)
        if answer.status in (_NOT_FOUND, _FORBIDDEN) and resource.optional:
            return
        if answer.status != _OK:
            told = stream.status(answer.body, answer.status)
            raise BadInput([f"{connection.url}: {resource.plural}: {told.message or told.code}"])
        try:
            page = stream.page(answer.body)
            for item in page.items:
                yield stream.decode(resource.kind, item, stream.head(item))
        except stream.MALFORMED as error:
            raise Unreachable(f"{connection.url}: {resource.plural}: no list: {error}") from None
        if not page.next_page:
            return
        query["continue"] = page.next_page
