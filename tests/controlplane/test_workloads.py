"""Workloads, deletions and namespaces, through the verbs of an API."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.controlplane.plane import DeleteOptions, Refused
from tests.controlplane.api import SERVICE, TEMPLATE, WORKLOAD, Api, document, pods, uid

# --- workloads -----------------------------------------------------------------------------------


def test_a_deployment_rolls_out_and_back() -> None:
    api = Api(document("Deployment", spec={**WORKLOAD, "replicas": 3}))
    assert api.sizes() == [3]
    api.edit_template("Deployment", command=["other"])
    assert api.sizes() == [0, 3]
    status = api.get("Deployment")["status"]
    assert status["updatedReplicas"] == status["availableReplicas"] == 3
    assert [each["reason"] for each in status["conditions"]] == [
        "MinimumReplicasAvailable",
        "NewReplicaSetAvailable",
    ]
    revision = "deployment.kubernetes.io/revision"
    assert api.get("Deployment")["metadata"]["annotations"][revision] == "2"
    api.edit_template("Deployment", command=["serve"])
    assert api.sizes() == [3, 0]
    first = api.get("ReplicaSet", api.there("ReplicaSet")[0])["metadata"]["annotations"]
    assert first[revision] == "3"
    assert first["deployment.kubernetes.io/revision-history"] == "1"
    assert "ScalingReplicaSet" in api.told("Deployment")
    assert {each["spec"]["containers"][0]["command"][0] for each in pods(api)} == {"serve"}


def test_a_paused_deployment_waits() -> None:
    api = Api(document("Deployment", spec=WORKLOAD))
    api.edit("Deployment", paused=True)
    api.edit_template("Deployment", image="web:2")
    assert api.sizes() == [1]
    conditions = api.get("Deployment")["status"]["conditions"]
    assert "DeploymentPaused" in {each["reason"] for each in conditions}
    api.edit("Deployment", replicas=2)
    assert api.sizes() == [2]
    api.edit("Deployment", paused=False)
    assert api.sizes() == [0, 2]


def test_old_templates_are_forgotten() -> None:
    api = Api(document("Deployment", spec={**WORKLOAD, "revisionHistoryLimit": 2}))
    for i in range(5):
        api.edit_template("Deployment", image=f"web:{i}")
    assert len(api.sizes()) == 3


def test_a_replica_set_alone() -> None:
    bare = document("Pod", "bare", metadata={"labels": {"app": "web"}}, spec=TEMPLATE["spec"])
    api = Api(bare, document("ReplicaSet", spec={**WORKLOAD, "replicas": 3}))
    assert api.pods == ["bare", "web-1", "web-2"]
    assert api.get("ReplicaSet")["status"]["readyReplicas"] == 3
    api.edit("ReplicaSet", replicas=1)
    assert len(api.pods) == 1
    assert "SuccessfulDelete" in api.told("ReplicaSet")


def test_a_stateful_set_goes_one_by_one() -> None:
    spec = {**WORKLOAD, "replicas": 3, "serviceName": "db"}
    api = Api()
    api.ready = False
    api.verbs.create(document("StatefulSet", spec=spec))
    api.settle()
    assert api.pods == ["web-0"]
    api.ready = True
    api.set_ready("web-0", True)
    api.settle()
    assert api.pods == ["web-0", "web-1", "web-2"]
    first = api.get("Pod", "web-0")
    assert (first["spec"]["hostname"], first["spec"]["subdomain"]) == ("web-0", "db")
    assert first["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
    seen = len(api.writes)
    api.edit_template("StatefulSet", image="web:2")
    ended = [w.key[2] for w in api.writes[seen:] if w.key[0] == "Pod" and w.document is None]
    assert ended == ["web-2", "web-1", "web-0"]
    assert {each["spec"]["containers"][0]["image"] for each in pods(api)} == {"web:2"}
    assert len(api.there("ControllerRevision")) == 2
    status = api.get("StatefulSet")["status"]
    assert status["currentRevision"] == status["updateRevision"]
    assert status["readyReplicas"] == 3
    api.edit("StatefulSet", replicas=1)
    assert api.pods == ["web-0"]


def test_a_daemon_set_has_a_pod_on_each_node() -> None:
    api = Api(document("DaemonSet", spec=WORKLOAD))
    assert sorted(each["spec"]["nodeName"] for each in pods(api)) == ["node-a", "node-b", "node-c"]
    node = api.get("Node", "node-b", "")
    taint = {"key": "gpu", "effect": "NoExecute"}
    api.verbs.update({**node, "spec": {**node["spec"], "taints": [taint]}})
    api.settle()
    assert sorted(each["spec"]["nodeName"] for each in pods(api)) == ["node-a", "node-c"]
    api.edit_template("DaemonSet", image="web:2")
    assert {each["spec"]["containers"][0]["image"] for each in pods(api)} == {"web:2"}
    status = api.get("DaemonSet")["status"]
    assert status["desiredNumberScheduled"] == status["updatedNumberScheduled"] == 2


def test_a_cordoned_node_gets_no_pods() -> None:
    api = Api()
    for name in ("node-a", "node-b"):
        node = api.get("Node", name, "")
        api.verbs.update({**node, "spec": {**node["spec"], "unschedulable": True}})
    api.verbs.create(document("ReplicaSet", spec={**WORKLOAD, "replicas": 4}))
    api.settle()
    assert {each["spec"]["nodeName"] for each in pods(api)} == {"node-c"}


# --- deletion ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("propagation", "left"),
    [("Background", []), ("Foreground", []), ("Orphan", ["ReplicaSet", "Pod"])],
)
def test_propagation(propagation: str, left: list[str]) -> None:
    api = Api(document("Deployment", spec=WORKLOAD))
    api.end(("Deployment", "default", "web"), propagation)
    kinds = ("Deployment", "ReplicaSet", "Pod")
    assert [each for each in kinds if api.there(each)] == left
    if left:
        (name,) = api.there("ReplicaSet")
        assert not api.get("ReplicaSet", name)["metadata"].get("ownerReferences")
        api.verbs.create(document("Deployment", spec=WORKLOAD))
        api.settle()
        assert api.there("ReplicaSet") == [name]  # adopted
        assert api.pods == ["web-1"]


def test_foreground_waits_for_dependents() -> None:
    api = Api(document("Deployment", spec=WORKLOAD))
    api.verbs.delete(("Deployment", "default", "web"), DeleteOptions("Foreground"))
    api.cluster.reconcile("later")
    metadata = api.get("Deployment")["metadata"]
    assert metadata["finalizers"] == ["foregroundDeletion"]
    assert metadata["deletionTimestamp"]
    assert (metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (0, 2)
    assert api.pods == ["web-1†"]
    api.settle()
    assert api.there("Deployment") == []


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "Pod", "StatefulSet"])
def test_finalizers_hold_an_object(kind: str) -> None:
    spec = {"Service": SERVICE, "Pod": TEMPLATE["spec"], "StatefulSet": WORKLOAD}.get(kind)
    parts: dict[str, Any] = {"spec": spec} if spec else {}
    metadata = {"finalizers": ["example.org/held"]}
    api = Api(document(kind, metadata=metadata, **parts))
    generation = api.get(kind)["metadata"].get("generation", 0)
    api.end((kind, "default", "web"))
    held = api.get(kind)
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["deletionGracePeriodSeconds"] == (30 if kind == "Pod" else 0)
    assert held["metadata"].get("generation", 0) == generation + (generation > 0)
    more = ["example.org/held", "example.org/b", "example.org/a"]
    with pytest.raises(Refused) as refused:
        api.verbs.update({**held, "metadata": {**held["metadata"], "finalizers": more}})
    [cause] = refused.value.causes
    assert (cause.reason, cause.field) == ("FieldValueForbidden", "metadata.finalizers")
    assert cause.message.endswith(
        "no new finalizers can be added if the object is being deleted, found new finalizers"
        ' []string{"example.org/a", "example.org/b"}'
    )
    api.verbs.update({**held, "metadata": {**held["metadata"], "finalizers": []}})
    api.settle()
    assert api.there(kind) == []


def test_a_forced_deletion_of_a_pod_waits_for_nobody() -> None:
    api = Api(document("Pod", spec=TEMPLATE["spec"]))
    api.verbs.delete(("Pod", "default", "web"), DeleteOptions(grace_s=0))
    assert api.pods == []


def test_dependents_of_two_owners_stay_with_the_other() -> None:
    api = Api(document("ConfigMap", "a"), document("ConfigMap", "b"))
    owners = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": each, "uid": uid(api, each)}
        for each in ("a", "b")
    ]
    api.verbs.create(document("Secret", metadata={"ownerReferences": owners}))
    api.end(("ConfigMap", "default", "a"))
    assert [each["name"] for each in api.get("Secret")["metadata"]["ownerReferences"]] == ["b"]
    api.end(("ConfigMap", "default", "b"))
    assert api.there("Secret") == []


# --- namespaces ----------------------------------------------------------------------------------


def test_namespaces() -> None:
    api = Api(document("Namespace", "shop"))
    assert api.get("Namespace", "shop", "")["status"] == {"phase": "Active"}
    assert api.get("ServiceAccount", "default", "shop")
    metadata = {"namespace": "shop", "finalizers": ["example.org/held"]}
    api.verbs.create(document("ConfigMap", metadata=metadata))
    api.verbs.create(document("Deployment", metadata={"namespace": "shop"}, spec=WORKLOAD))
    api.settle()
    api.end(("Namespace", "", "shop"))
    assert api.get("Namespace", "shop", "")["status"]["phase"] == "Terminating"
    assert api.pods == []
    with pytest.raises(Refused) as error:
        api.verbs.create(document("Secret", metadata={"namespace": "shop"}))
    assert error.value.reason == "Forbidden"
    assert [each.reason for each in error.value.causes] == ["NamespaceTerminating"]
    held = api.get("ConfigMap", "web", "shop")
    api.verbs.update({**held, "metadata": {**held["metadata"], "finalizers": []}})
    api.settle()
    assert "shop" not in api.there("Namespace")
    assert api.cluster.documents.keys(namespace="shop") == []


def test_pods_find_the_api() -> None:
    api = Api()
    api.cluster.publish_api(["192.0.2.1"], 6443, {"ca.crt": "text"})
    api.settle()
    spec = api.get("Service", "kubernetes")["spec"]
    assert (spec["clusterIP"], spec["ports"][0]["targetPort"]) == ("10.96.0.1", 6443)
    (slice_,) = api.slices("kubernetes")
    assert slice_.metadata.name == "kubernetes"
    assert api.get("ConfigMap", "kube-root-ca.crt", "kube-system")["data"] == {"ca.crt": "text"}


@pytest.mark.parametrize(
    ("kind", "name"), [("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")]
)
def test_what_every_namespace_has_comes_back(kind: str, name: str) -> None:
    api = Api()
    api.cluster.publish_api(["192.0.2.1"], 6443, {"ca.crt": "text"})
    api.settle()
    former = api.get(kind, name)["metadata"]["uid"]
    api.end((kind, "default", name))
    assert api.get(kind, name)["metadata"]["uid"] != former


def test_a_changed_root_ca_is_put_right() -> None:
    api = Api()
    api.cluster.publish_api(["192.0.2.1"], 6443, {"ca.crt": "text"})
    api.settle()
    former = api.get("ConfigMap", "kube-root-ca.crt")
    api.verbs.update({**former, "data": {"ca.crt": "forged"}})
    api.settle()
    assert api.get("ConfigMap", "kube-root-ca.crt")["data"] == {"ca.crt": "text"}


KUBERNETES = ("Service", "Endpoints", "EndpointSlice")


@pytest.mark.parametrize("kind", KUBERNETES)
def test_what_leads_to_the_api_comes_back(kind: str) -> None:
    api = Api()
    api.cluster.publish_api(["192.0.2.1"], 6443, {})
    api.settle()
    former = {each: api.get(each, "kubernetes") for each in KUBERNETES}
    api.end((kind, "default", "kubernetes"))
    now = {each: api.get(each, "kubernetes") for each in KUBERNETES}
    assert now[kind]["metadata"]["uid"] != former[kind]["metadata"]["uid"]
    for part in ("spec", "subsets", "endpoints", "ports"):
        assert [now[each].get(part) for each in KUBERNETES] == [
            former[each].get(part) for each in KUBERNETES
        ]
    assert [each.metadata.name for each in api.slices("kubernetes")] == ["kubernetes"]


def test_where_the_api_is_cannot_be_changed() -> None:
    api = Api()
    api.cluster.publish_api(["192.0.2.1"], 6443, {})
    api.settle()
    endpoints, slice_ = api.get("Endpoints", "kubernetes"), api.get("EndpointSlice", "kubernetes")
    labels = {"labels": {"own": "label"}}
    metadata = {**slice_["metadata"], **labels}
    forged = {"addresses": ["192.0.2.66"], "conditions": {"ready": True}}
    api.verbs.update({**slice_, "metadata": metadata, "endpoints": [forged]})
    api.verbs.update({**endpoints, "subsets": []})
    api.settle()
    assert api.get("Endpoints", "kubernetes")["subsets"] == endpoints["subsets"]
    now = api.get("EndpointSlice", "kubernetes")
    assert now["endpoints"] == slice_["endpoints"]
    assert now["metadata"]["labels"] == slice_["metadata"]["labels"] | labels["labels"]


def test_the_endpoints_of_the_api_may_be_those_of_pods() -> None:
    """Whoever gives the Service a selector has another controller write its endpoints."""
    api = Api()
    api.cluster.publish_api(["192.0.2.1"], 6443, {})
    api.settle()
    api.edit("Service", "kubernetes", selector={"app": "api"})
    assert "subsets" not in api.get("Endpoints", "kubernetes")


def test_the_service_of_the_api_waits_for_its_address() -> None:
    api = Api()
    api.cluster.publish_api(["192.0.2.1"], 6443, {})
    api.settle()
    api.verbs.delete(("Service", "default", "kubernetes"))
    api.verbs.create(document("Service", spec={**SERVICE, "clusterIP": "10.96.0.1"}))
    api.settle()
    assert "kubernetes" not in api.there("Service")
    api.end(("Service", "default", "web"))
    assert api.get("Service", "kubernetes")["spec"]["clusterIP"] == "10.96.0.1"
