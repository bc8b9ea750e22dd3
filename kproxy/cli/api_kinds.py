"""The kinds that a server has: found by any of their names, as kubectl finds them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from msgspec import Struct

from kproxy.cli.api_client import mistake
from kproxy.resident.api_client import ApiClient, Json

_DISCOVERY = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of objects. `plural` is its name in paths; `group` is "" for the core."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """Return `deployments.apps`, or `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def told(self, name: str) -> str:
        """Return how kubectl names an object in a message: `deployment.apps/web`."""
        suffix = f".{self.group}" if self.group else ""
        return f"{self.singular}{suffix}/{name}"

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the path of a collection, or of an object; `namespace` None: of all."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


def kinds_of(client: ApiClient) -> list[Kind]:
    """Return all kinds of a server, the core's first. Raises what `ApiClient.ask` raises."""
    answers = [client.ask("GET", path, accept=_DISCOVERY) for path in ("/api", "/apis")]
    return [
        kind for answer in answers for group in answer.get("items", ()) for kind in _kinds(group)
    ]


def find_kinds(kinds: Iterable[Kind], word: str) -> list[Kind]:
    """Return the kinds that a word of the command line names: `pods`, `po`, `deploy.apps`, `all`,
    or several with commas. Raises Refusal in kubectl's words.
    """
    kinds = tuple(kinds)
    found: list[Kind] = []
    for part in word.split(","):
        wanted = part.lower()
        named = [each for each in kinds if wanted in _names(each)][:1]
        named = named or [each for each in kinds if wanted in each.categories]
        if not named:
            raise mistake(f'the server doesn\'t have a resource type "{part}"')
        found += named
    return found


def kind_of(kinds: Iterable[Kind], document: Json) -> Kind:
    """Return the kind of an object. Raises Refusal in kubectl's words."""
    group, _, version = str(document.get("apiVersion", "")).rpartition("/")
    for each in kinds:
        if (each.group, each.version, each.kind) == (group, version, document.get("kind")):
            return each
    kind, api_version = document.get("kind", ""), document.get("apiVersion", "")
    raise mistake(f'no matches for kind "{kind}" in version "{api_version}"')


def _kinds(group: Json) -> list[Kind]:
    name = str(group["metadata"].get("name") or "")
    return [
        Kind(
            group=name,
            version=version["version"],
            plural=each["resource"],
            singular=each.get("singularResource") or each["responseKind"]["kind"].lower(),
            kind=each["responseKind"]["kind"],
            namespaced=each["scope"] == "Namespaced",
            short_names=tuple(each.get("shortNames") or ()),
            categories=tuple(each.get("categories") or ()),
            verbs=tuple(each.get("verbs") or ()),
            subresources=tuple(part["subresource"] for part in each.get("subresources") or ()),
        )
        for version in group.get("versions", ())
        for each in version.get("resources", ())
    ]


def _names(kind: Kind) -> set[str]:
    names = {kind.plural, kind.singular, kind.kind.lower(), *kind.short_names}
    return names | {f"{name}.{kind.group}" for name in names if kind.group}
