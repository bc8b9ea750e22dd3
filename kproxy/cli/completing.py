"""The completion of words that name what is in a lab: kinds, objects, namespaces, hosts.

A lab that does not answer, or a word that is wrong, is completed with nothing: never with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from kproxy.errors import KproxyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kproxy.cli.api_kinds import Kind
    from kproxy.resident.api_client import ApiClient

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_NAMES = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
_MOST = "500"
_PATIENCE_S = 3.0


def _completes(names: Callable[[dict[str, Any], str], Iterable[str]]) -> Complete:
    """Return the completion with the names that begin with the word. `names` is given the values of
    the command line so far, and the word.
    """

    def complete(
        ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found: list[str] = []
        with suppress(KproxyError), redirect_stderr(StringIO()):
            found += names(ctx.params, incomplete)
        return [CompletionItem(each) for each in found if each.startswith(incomplete)]

    return complete


@_completes
def complete_lab(_values: dict[str, Any], _word: str) -> Iterable[str]:
    from kproxy.resident import places

    return places.names()


@_completes
def complete_host(values: dict[str, Any], _word: str) -> Iterable[str]:
    return [name for names in _hosts(values).values() for name in names]


@_completes
def complete_node(values: dict[str, Any], _word: str) -> Iterable[str]:
    return _hosts(values)["nodes"]


@_completes
def complete_namespace(values: dict[str, Any], _word: str) -> Iterable[str]:
    with _asking(values) as client:
        return _listed(client, "/api/v1/namespaces")


@_completes
def complete_pod(values: dict[str, Any], _word: str) -> Iterable[str]:
    with _asking(values) as client:
        return _listed(client, f"/api/v1/namespaces/{values.get('namespace') or 'default'}/pods")


def completes_objects(verb: str = "", subresource: str = "") -> Complete:
    """Return the completion of `KIND NAME...` and `KIND/NAME...`, for the kinds that have a verb
    and a subresource, "" for any.
    """

    @_completes
    def complete(values: dict[str, Any], word: str) -> Iterable[str]:
        from kproxy.cli.api_kinds import find_kinds, kinds_of

        former = tuple(values.get("what") or ())
        with _asking(values) as client:
            kinds = [
                each
                for each in kinds_of(client)
                if (not verb or verb in each.verbs)
                and (not subresource or subresource in each.subresources)
            ]
            if "/" in word:
                head = word.partition("/")[0]
                names = _objects(client, find_kinds(kinds, head), values)
                return [f"{head}/{each}" for each in names]
            if former:
                names = _objects(client, find_kinds(kinds, former[0]), values)
                return [each for each in names if each not in former]
            head, comma, _ = word.rpartition(",")
            return [f"{head}{comma}{each}" for each in dict.fromkeys(e.plural for e in kinds)]

    return complete


@contextmanager
def _asking(values: dict[str, Any]) -> Iterator[ApiClient]:
    from kproxy.cli.api_client import access_of
    from kproxy.resident.api_client import ApiClient

    client = ApiClient(access_of(values.get("lab")), timeout_s=_PATIENCE_S)
    try:
        yield client
    finally:
        client.close()


def _objects(client: ApiClient, kinds: Iterable[Kind], values: dict[str, Any]) -> list[str]:
    namespace = values.get("namespace") or "default"
    paths = (kind.path(namespace) for kind in kinds)
    return list(dict.fromkeys(name for path in paths for name in _listed(client, path)))


def _listed(client: ApiClient, path: str) -> list[str]:
    answer = client.ask("GET", path, query={"limit": _MOST}, accept=_NAMES)
    return [each["metadata"]["name"] for each in answer.get("items") or ()]


def _hosts(values: dict[str, Any]) -> dict[str, list[str]]:
    """Return the names of a lab's nodes, clients and pods."""
    from kproxy.cli.labs import living_lab
    from kproxy.resident.control import ask

    place = living_lab(values.get("lab") or values.get("name"))
    status = ask(place, {"do": "status"}, timeout_s=_PATIENCE_S).values
    kinds = ("nodes", "clients", "pods")
    return {kind: [each["name"] for each in status.get(kind) or ()] for kind in kinds}
