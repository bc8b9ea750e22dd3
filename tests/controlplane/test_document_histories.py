"""Laws of documents after any history of an API's writes, and of rollouts at any moment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.controlplane.deployments import resolved
from kproxy.controlplane.plane import DeleteOptions, Json, Refused, Write
from kproxy.controlplane.pod_documents import is_ready
from kproxy.controlplane.registry import document_key
from kproxy.store import ObjectKey
from tests.controlplane.api import SERVICE, TEMPLATE, WORKLOAD, Api, document

KINDS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Service", "ConfigMap", "Pod")
NAMES = ("web", "shop")
SPECS: dict[str, Json] = {"Service": SERVICE, "Pod": TEMPLATE["spec"]}
HELD = "example.org/held"


class History(Api):
    """An API, and a copy of its documents that only the told writes keep up to date."""

    def __init__(self) -> None:
        super().__init__()
        found, self.revision = self.verbs.follow(self._follow)
        self.copy = {document_key(each): each for each in found}

    def _follow(self, write: Write) -> None:
        assert write.revision > self.revision
        assert self.copy.get(write.key) == write.former
        self.revision = write.revision
        if write.document is None:
            del self.copy[write.key]
        else:
            assert write.document["metadata"]["resourceVersion"] == str(write.revision)
            self.copy[write.key] = write.document

    def check(self) -> None:
        documents = self.cluster.documents
        assert self.copy == {key: documents.get(key) for key in documents.keys("")}

    def all(self, kind: str = "") -> list[Json]:
        found = map(self.cluster.documents.get, self.cluster.documents.keys(kind))
        return [each for each in found if each]

    def some(self, which: int) -> Json:
        found = [each for each in self.all() if each["kind"] in KINDS]
        return found[which % len(found)] if found else self.all("Namespace")[0]


def _create(api: History, which: int, how: int) -> None:
    kind, name = KINDS[which % len(KINDS)], NAMES[how % 2]
    if kind == "StatefulSet":
        name = f"{name}-db"  # others number their Pods, too
    spec = {**SPECS.get(kind, {**WORKLOAD, "replicas": how % 4})}
    held = {"finalizers": [HELD]} if how % 5 == 0 else {}
    namespace = "shop" if how % 3 == 0 else "default"
    wanted = document(kind, name, metadata={"namespace": namespace, **held}, spec=spec)
    api.verbs.create(wanted, dry_run=how % 7 == 0)


def _edit(api: History, which: int, how: int) -> None:
    """Change a template, a size, labels, or whether a rollout waits."""
    found = api.some(which)
    spec = dict(found.get("spec") or {})
    if "template" in spec and how % 3 == 0:
        metadata = {**spec["template"]["metadata"], "annotations": {"edit": str(how)}}
        spec["template"] = {**spec["template"], "metadata": metadata}
    elif "replicas" in spec:
        spec["replicas"] = how % 5
    if found["kind"] == "Deployment":
        spec["paused"] = how % 4 == 0
    labels = {**(found["metadata"].get("labels") or {}), "edit": str(how % 2)}
    metadata = {**found["metadata"], "labels": labels}
    version = found["metadata"]["resourceVersion"] if how % 2 else ""
    api.verbs.update({**found, "metadata": metadata, "spec": spec}, version=version)


def _delete(api: History, which: int, how: int) -> None:
    propagation = ("Background", "Foreground", "Orphan")[how % 3]
    grace_s = 0 if how % 5 == 0 else None
    api.verbs.delete(document_key(api.some(which)), DeleteOptions(propagation, grace_s))


def _release(api: History, which: int, _: int) -> None:
    found = api.some(which)
    metadata = {**found["metadata"], "finalizers": []}
    if HELD in (found["metadata"].get("finalizers") or ()):
        api.verbs.update({**found, "metadata": metadata})


def _own(api: History, which: int, how: int) -> None:
    """Let an object have another one as its owner."""
    owner, found = api.some(how), api.some(which)
    if owner["metadata"].get("namespace") != found["metadata"].get("namespace"):
        return
    about = {key: owner["metadata"][key] for key in ("name", "uid")}
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **about}
    owners = [*(found["metadata"].get("ownerReferences") or ()), reference]
    if owner["kind"] not in ("Service", "ConfigMap") or len(owners) > 2:
        return
    api.verbs.update({**found, "metadata": {**found["metadata"], "ownerReferences": owners}})


def _namespace(api: History, _: int, how: int) -> None:
    if how % 2:
        api.verbs.delete(("Namespace", "", "shop"))
    else:
        api.verbs.create(document("Namespace", "shop"))


EDITS: dict[str, Callable[[History, int, int], Any]] = {
    "create": _create,
    "edit": _edit,
    "delete": _delete,
    "release": _release,
    "own": _own,
    "namespace": _namespace,
    "reconcile": lambda api, *_: api.cluster.reconcile("later"),
    "start": lambda api, *_: api.start_pods(),
    "stop": lambda api, *_: api.stop_pods(),
    "settle": lambda api, *_: api.settle(),
}
EDIT = st.tuples(
    st.sampled_from(("create", "create", "edit", *sorted(EDITS))),
    st.integers(0, 29),
    st.integers(0, 29),
)


@settings(max_examples=60)
@given(st.lists(EDIT, min_size=10, max_size=50))
def test_any_history(edits: list[tuple[str, int, int]]) -> None:
    api = History()
    for what, which, how in edits:
        with suppress(Refused):
            EDITS[what](api, which, how)
        api.check()
    for each in api.all():
        if HELD in (each["metadata"].get("finalizers") or ()):
            api.verbs.update({**each, "metadata": {**each["metadata"], "finalizers": []}})
    api.settle()
    api.check()
    uids = {each["metadata"]["uid"] for each in api.all()}
    assert len(uids) == len(api.copy)
    for each in api.all():
        metadata = each["metadata"]
        assert "deletionTimestamp" not in metadata, each
        assert {owner["uid"] for owner in metadata.get("ownerReferences") or ()} <= uids
    check_workloads(api)


def check_workloads(api: History) -> None:
    """Check that each workload has the Pods that it wants, once nothing is left to do."""
    owned: dict[str, list[Json]] = {}
    for pod in api.all("Pod"):
        for owner in pod["metadata"].get("ownerReferences") or ():
            owned.setdefault(owner["uid"], []).append(pod)
    for each in (*api.all("ReplicaSet"), *api.all("StatefulSet")):
        pods = owned.get(each["metadata"]["uid"], [])
        wanted = each["spec"]["replicas"]
        assert len(pods) == wanted, each
        assert each["status"].get("readyReplicas", 0) == wanted
        assert each["status"]["observedGeneration"] == each["metadata"]["generation"]
    for each in api.all("Deployment"):
        wanted = each["spec"]["replicas"]
        assert each["status"]["observedGeneration"] == each["metadata"]["generation"]
        if not each["spec"].get("paused"):
            assert each["status"].get("updatedReplicas", 0) == wanted
            assert each["status"].get("availableReplicas", 0) == wanted


LIMIT = st.sampled_from((0, 1, 2, "25%", "50%", "100%"))


@settings(max_examples=60)
@given(
    st.integers(0, 6), LIMIT, LIMIT, st.lists(st.integers(0, 3), min_size=1, max_size=5), st.data()
)
def test_a_rollout_never_has_fewer_pods_than_allowed(
    replicas: int,
    surge: int | str,
    unavailable: int | str,
    versions: list[int],
    data: st.DataObject,
) -> None:
    if {str(surge).rstrip("%"), str(unavailable).rstrip("%")} == {"0"}:
        surge = 1
    limits = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": limits}
    spec = {**WORKLOAD, "replicas": replicas, "strategy": strategy}
    api = Api(document("Deployment", spec=spec))
    most_less = resolved(unavailable, replicas, up=False)
    most_more = resolved(surge, replicas, up=True)
    least = replicas - (most_less if most_less or most_more else 1)

    def check() -> None:
        keys = api.cluster.documents.keys("Pod")
        live = [api.get(*each[:1], each[2]) for each in keys]
        live = [each for each in live if "deletionTimestamp" not in each["metadata"]]
        assert len(live) <= replicas + most_more
        assert sum(is_ready(each["status"]) for each in live) >= least

    for version in versions:
        stored = api.get("Deployment")
        template = {**TEMPLATE, "spec": _with_image(version)}
        api.verbs.update({**stored, "spec": {**stored["spec"], "template": template}})
        api.cluster.reconcile("later")
        check()
        for _ in range(data.draw(st.integers(0, 6))):
            api.round()
            check()
    while api.round():
        check()
    images = {each["spec"]["containers"][0]["image"] for each in _pods(api)}
    assert images <= {f"web:{versions[-1]}"}
    assert len(_pods(api)) == replicas


def _with_image(version: int) -> Json:
    return {"containers": [{"name": "main", "image": f"web:{version}"}]}


def _pods(api: Api) -> list[Json]:
    keys: list[ObjectKey] = api.cluster.documents.keys("Pod")
    return [api.get("Pod", key[2]) for key in keys]
