"""Facts from objects alone: those of manifests, or those of an API server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from kproxy.api.manifests import checked, load
from kproxy.api.typed_kinds import as_read
from kproxy.api.types import Endpoints, EndpointSlice, KubernetesObject
from kproxy.doctor.facts import Facts, Template
from kproxy.doctor.finding import Missing, Part
from kproxy.doctor.workloads import templates
from kproxy.errors import AccessRefused, BadInput, Unreachable
from kproxy.kubernetes.connection import Connection
from kproxy.store import ObjectKey, Store

_TIMEOUT_S = 10.0
_PAGE = 500
_COLLECTIONS = {  # kind -> path
    "Service": "/api/v1/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/pods",
}
_WORKLOADS = {
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "ReplicaSet": "/apis/apps/v1/replicasets",
    "ReplicationController": "/api/v1/replicationcontrollers",
    "Job": "/apis/batch/v1/jobs",
    "CronJob": "/apis/batch/v1/cronjobs",
}
_NO_SUCH_KIND = 404
_EVENTS = "/api/v1/events"
_MOST_WARNINGS = 3  # of an object, the last
_PARTS = {
    "Service": Part.OBJECTS,
    "EndpointSlice": Part.ENDPOINTS,
    "Node": Part.NODES,
    "Pod": Part.PODS,
}
_OF_KERNELS = (
    Part.KERNEL,
    Part.RULES,
    Part.PROXIES,
    Part.PLANS,
    Part.LISTENERS,
    Part.LINKS_OF_PODS,
    Part.RESOLVERS,
    Part.NAMES,
)


def without_kernels(why: str) -> list[Missing]:
    """Return that nothing is known of any kernel, and why."""
    return [Missing(part, why) for part in _OF_KERNELS]


def store_of(objects: Iterable[KubernetesObject]) -> Store:
    """Return a store of objects as a proxy reads them."""
    store = Store()
    store.replace(map(as_read, objects))
    return store


def from_manifests(paths: Sequence[str]) -> Facts:
    """Return the facts of manifests: as they were written, or as `kubectl get -o yaml` prints them.

    Raises BadInput with all that is wrong with them.
    """
    decoded = load(paths)
    if decoded.problems:
        raise BadInput(list(decoded.problems))
    found = [*templates(map(_document, decoded.objects))]
    found += templates({**each.whole, "kind": each.kind} for each in decoded.skipped)
    if not decoded.objects and not found:
        raise BadInput([*decoded.notices] or [f"{', '.join(paths)}: there is no object"])
    store = store_of(decoded.objects)
    missing = without_kernels("only --lab and --node look at kernels")
    missing.append(Missing(Part.WHOLE_CLUSTER, "manifests may be a part of what there is"))
    missing.append(Missing(Part.API_SERVER, "only --kubeconfig and --node ask one"))
    if not store.pods() and not found:
        missing.append(Missing(Part.PODS, "no Pod and no workload is among the manifests"))
    if not any(isinstance(each, EndpointSlice | Endpoints) for each in decoded.objects):
        missing.append(Missing(Part.ENDPOINTS, "no EndpointSlice is among the manifests"))
    if not store.nodes():
        missing.append(Missing(Part.NODES, "no Node is among the manifests"))
    return Facts(store=store, templates=tuple(found), missing=tuple(missing))


def _document(obj: KubernetesObject) -> dict[str, Any]:
    return {**msgspec.to_builtins(obj), "kind": type(obj).__name__}


def from_api_server(kubeconfig: str) -> Facts:
    """Return the facts of the objects of an API server; without one, of none.

    Raises BadInput if the kubeconfig cannot be read.
    """
    connection = Connection(kubeconfig)
    try:
        objects, workloads, missing = _read(connection)
        told = _warnings(connection)
    except (AccessRefused, Unreachable) as error:
        why = " ".join(str(error).split())
        parts = (Part.OBJECTS, Part.PODS, Part.ENDPOINTS, Part.NODES, Part.WHOLE_CLUSTER)
        return Facts(
            store=Store(),
            api_server=why,
            api_server_remedy=error.remedy,
            missing=tuple(Missing(part, "the API server gives no objects") for part in parts),
        )
    finally:
        connection.close()
    return Facts(
        told=told, store=store_of(objects), templates=tuple(workloads), missing=tuple(missing)
    )


def _read(
    connection: Connection,
) -> tuple[list[KubernetesObject], list[Template], list[Missing]]:
    objects: list[KubernetesObject] = []
    missing: list[Missing] = []
    for kind, path in _COLLECTIONS.items():
        try:
            objects += _decoded(kind, _items(connection, path))
        except _Refused as refused:
            missing.append(Missing(_PARTS[kind], f"GET {path}: {refused}"))
    workloads: list[dict[str, Any]] = []
    for kind, path in _WORKLOADS.items():
        try:
            workloads += ({**each, "kind": kind} for each in _items(connection, path))
        except _Refused as refused:
            if refused.status != _NO_SUCH_KIND:
                missing.append(Missing(Part.WORKLOADS, f"GET {path}: {refused}"))
    return objects, [*templates(workloads)], missing


def _warnings(connection: Connection) -> dict[ObjectKey, tuple[str, ...]]:
    """Return the warnings among events, by object. They are only evidence: none may be readable."""
    found: dict[ObjectKey, tuple[str, ...]] = {}
    try:
        for each in _items(connection, _EVENTS):
            about = each.get("involvedObject") or {}
            if each.get("type") == "Warning":
                kind, name = str(about.get("kind", "")), str(about.get("name", ""))
                key = (kind, str(about.get("namespace", "")), name)
                text = f"{each.get('reason', '')}: {each.get('message', '')}"
                found[key] = (*found.get(key, ()), text)[-_MOST_WARNINGS:]
    except _Refused:
        return {}
    return found


class _Refused(Exception):
    """The API server does not give a collection."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def _items(connection: Connection, path: str) -> Iterator[dict[str, Any]]:
    more = ""
    while True:
        query = {"limit": str(_PAGE)} | ({"continue": more} if more else {})
        answer = connection.get(path, query, timeout_s=_TIMEOUT_S)
        if answer.status != 200:
            raise _Refused(answer.status)
        found = json.loads(answer.body)
        yield from found.get("items") or ()
        more = (found.get("metadata") or {}).get("continue", "")
        if not more:
            return


def _decoded(kind: str, items: Iterable[dict[str, Any]]) -> Iterator[KubernetesObject]:
    for each in items:
        try:
            yield checked(each, kind)[0]
        except msgspec.ValidationError:  # a newer server's: it says nothing that we could judge
            continue


def looked_at(facts: Facts) -> str:
    """Return in words what there is to look at."""
    kinds: dict[str, int] = {
        "Service": len(facts.services),
        "Pod": len(facts.pods),
        "workload": len(facts.templates),
        "Node": len(facts.cluster_nodes),
    }
    texts = [f"{number} {kind}{'s' * (number != 1)}" for kind, number in kinds.items() if number]
    kernels = sum(1 for _ in facts.hosts)
    texts += [f"the kernel of {kernels} host{'s' * (kernels != 1)}"] if kernels else []
    return ", ".join(texts) or "nothing"
