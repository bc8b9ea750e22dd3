"""Documents of kinds without a type, applied and deleted all at once."""

from __future__ import annotations

from kproxy.controlplane.applied_documents import AppliedDocuments
from kproxy.controlplane.plane import Json
from tests.controlplane.api import WORKLOAD, Api, document
from tests.controlplane.played import deployment

SET: Json = document("StatefulSet", spec={**WORKLOAD, "serviceName": "web", "replicas": 2})
IN_SHOP: Json = {"namespace": "shop"}


class Lab(Api):
    def __init__(self, *documents: Json) -> None:
        super().__init__()
        self.applied = AppliedDocuments(self.cluster)
        self.put(*documents)

    def put(self, *documents: Json) -> None:
        assert self.applied.refusals(documents) == []
        self.applied.apply(documents)
        self.settle()

    def labels(self, kind: str, name: str = "web") -> dict[str, str]:
        found: dict[str, str] = self.get(kind, name)["metadata"].get("labels", {})
        return found


def config(data: str, **metadata: object) -> Json:
    return document("ConfigMap", metadata=metadata, data={"a": data})


def test_a_stateful_set_runs_is_changed_and_goes() -> None:
    lab = Lab(SET)
    assert lab.pods == ["web-0", "web-1"]
    lab.put({**SET, "spec": {**SET["spec"], "replicas": 1}})
    assert lab.pods == ["web-0"]
    revision = lab.cluster.documents.revision
    lab.put({**SET, "spec": {**SET["spec"], "replicas": 1}})
    assert lab.cluster.documents.revision == revision  # as it was: nothing is written
    lab.applied.delete([("StatefulSet", "default", "web")])
    lab.settle()
    assert lab.pods == lab.there("StatefulSet") == lab.there("ControllerRevision") == []


def test_what_others_added_to_metadata_stays_and_what_was_removed_goes() -> None:
    lab = Lab(config("b", labels={"one": "1", "two": "2"}))
    stored = lab.get("ConfigMap")
    more = {**stored["metadata"]["labels"], "other": "3"}
    lab.verbs.update({**stored, "metadata": {**stored["metadata"], "labels": more}})
    lab.put(config("c", labels={"two": "2"}))
    assert lab.labels("ConfigMap") == {"two": "2", "other": "3"}
    assert lab.get("ConfigMap")["data"] == {"a": "c"}
    assert lab.get("ConfigMap")["metadata"]["uid"] == stored["metadata"]["uid"]


def test_what_was_applied_to_a_former_object_does_not_count() -> None:
    lab = Lab(config("b", labels={"one": "1"}))
    lab.end(("ConfigMap", "default", "web"))
    lab.verbs.create(config("b", labels={"one": "1"}))
    lab.put(config("b"))
    assert lab.labels("ConfigMap") == {"one": "1"}


def test_namespaces_come_first() -> None:
    shop = document("Namespace", "shop", metadata={"labels": {"team": "a"}})
    lab = Lab(config("b", **IN_SHOP), shop, document("Secret", metadata=IN_SHOP))
    whole = lab.get("Namespace", "shop", "")
    assert whole["metadata"]["labels"]["team"] == "a"
    written = [each.key[:2] for each in lab.writes if "shop" in each.key]
    assert written[0] == ("Namespace", "")
    lab.put(config("b", namespace="other"))  # which nobody has made
    assert lab.get("Namespace", "other", "")["status"]["phase"] == "Active"


def test_they_go_last_with_all_that_is_in_them() -> None:
    lab = Lab(config("b", **IN_SHOP), document("Namespace", "shop"))
    lab.verbs.create(document("Secret", metadata=IN_SHOP))
    lab.applied.delete([("Namespace", "", "shop"), ("ConfigMap", "shop", "web")])
    lab.settle()
    assert lab.cluster.documents.keys(namespace="shop") == []
    assert "shop" not in lab.there("Namespace")


def test_nothing_new_comes_into_a_namespace_that_ends() -> None:
    held = document("Secret", metadata={**IN_SHOP, "finalizers": ["example.org/held"]})
    lab = Lab(held)
    lab.applied.delete([("Namespace", "", "shop")])
    lab.settle()
    ends = "in namespace shop because it is being terminated"
    (refused,) = lab.applied.refusals([config("b", **IN_SHOP)])
    assert refused == f'configmaps "web" is forbidden: unable to create new content {ends}'
    web = deployment()
    typed = type(web)(metadata=type(web.metadata)(name="web", namespace="shop"), spec=web.spec)
    (refused,) = lab.cluster.refusals([typed])
    assert refused == f'deployments.apps "web" is forbidden: unable to create new content {ends}'


def test_refusals() -> None:
    lab = Lab(SET)
    before = lab.cluster.documents.revision
    unnamed: Json = {"apiVersion": "v1", "kind": "ConfigMap"}
    wrong = {"matchLabels": {"app": "other"}}
    moved = {**SET, "spec": {**SET["spec"], "serviceName": "other"}}
    fresh = document("DaemonSet", metadata=IN_SHOP, spec={**WORKLOAD, "selector": wrong})
    numbered: Json = {**unnamed, "metadata": {"generateName": "web-"}}
    found = lab.applied.refusals([unnamed, moved, config("b"), fresh, numbered])
    assert [each.partition(": ")[0] for each in found] == [
        'ConfigMap "" is invalid',
        'StatefulSet.apps "web" is invalid',
        'DaemonSet.apps "web" is invalid',
        "from web-",
    ]
    assert "metadata.name: Required value" in found[0]
    assert "updates to statefulset spec for fields other than" in found[1]
    assert "`selector` does not match template `labels`" in found[2]
    assert lab.cluster.documents.revision == before
    assert lab.applied.refusals_to_delete(
        [
            ("ConfigMap", "shop", "web"),
            ("StatefulSet", "default", "web"),
            ("Namespace", "", "default"),
        ]
    ) == [
        'configmaps "web" not found',
        'namespaces "default" is forbidden: this namespace may not be deleted',
    ]
    assert lab.cluster.documents.revision == before
