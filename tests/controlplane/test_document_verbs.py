"""Documents through the verbs of an API: what is stored, and what is refused."""

from __future__ import annotations

import pytest

from kproxy.controlplane.plane import DeleteOptions, Json, Refused
from tests.controlplane.api import SERVICE, TEMPLATE, WORKLOAD, Api, document

MODIFIED = (
    'Operation cannot be fulfilled on services "web": the object has been modified; please apply'
    " your changes to the latest version and try again"
)


def refusal(error: pytest.ExceptionInfo[Refused]) -> tuple[int, str, str]:
    return error.value.status, error.value.reason, str(error.value)


# --- what is stored ------------------------------------------------------------------------------


def test_a_service_gets_defaults_and_addresses() -> None:
    api = Api()
    stored, warnings = api.verbs.create(document("Service", spec=SERVICE, extra={"kept": 1}))
    assert warnings == ()
    assert stored["spec"] == {
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
        "clusterIP": stored["spec"]["clusterIP"],
        "clusterIPs": [stored["spec"]["clusterIP"]],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "type": "ClusterIP",
        "sessionAffinity": "None",
    }
    assert stored["status"] == {"loadBalancer": {}}
    assert stored["extra"] == {"kept": 1}
    assert stored["metadata"]["namespace"] == "default"
    assert api.verbs.get(("Service", "default", "web")) == stored


def test_a_write_that_changes_nothing_is_none() -> None:
    api = Api(document("Service", spec=SERVICE))
    before, seen = api.get("Service"), len(api.writes)
    again, _ = api.verbs.update(before)
    assert again == before
    assert len(api.writes) == seen


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret", "Service", "Deployment"])
def test_what_is_empty_is_not_there(kind: str) -> None:
    """As after `kubectl label web app-`, which leaves no label."""
    empty: Json = {"annotations": {}, "finalizers": [], "labels": {}, "ownerReferences": []}
    spec = {"Service": SERVICE, "Deployment": WORKLOAD}.get(kind)
    parts: Json = {"spec": spec} if spec else {"data": {}}
    if kind in ("ConfigMap", "Secret"):
        parts["binaryData" if kind == "ConfigMap" else "stringData"] = {}
    api = Api(document(kind, metadata=empty, **parts))
    stored = api.get(kind)
    labelled = {**stored["metadata"], "labels": {"a": "b"}}
    api.verbs.update({**stored, "metadata": labelled})
    api.verbs.update({**stored, "metadata": {**labelled, "labels": {}}})
    found = api.get(kind)
    assert not {*empty} - {"annotations"} & found["metadata"].keys()
    assert not {"data", "binaryData", "stringData"} & found.keys()


def test_dry_runs_store_and_hold_nothing() -> None:
    api = Api()
    wanted = document("Service", spec={**SERVICE, "clusterIP": "10.96.0.9"})
    for _ in range(2):
        found, _ = api.verbs.create(wanted, dry_run=True)
        assert found["spec"]["clusterIPs"] == ["10.96.0.9"]
    assert "web" not in api.there("Service")
    api.verbs.create(wanted)
    api.verbs.delete(("Service", "default", "web"), DeleteOptions(dry_run=True))
    assert api.there("Service") == ["web"]


def test_a_name_is_generated() -> None:
    api = Api()
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    names = {api.verbs.create(wanted)[0]["metadata"]["name"] for _ in range(9)}
    assert len(names) == 9
    assert all(each.startswith("made-") and len(each) == 10 for each in names)


def test_the_status_has_its_own_writes() -> None:
    api = Api(document("Service", spec={**SERVICE, "type": "LoadBalancer"}))
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    stored = api.get("Service")
    without, _ = api.verbs.update({**stored, "status": status})
    assert without["status"] == {"loadBalancer": {}}
    changed = {**stored, "status": status, "spec": {"type": "ExternalName"}}
    found, _ = api.verbs.update(changed, subresource="status")
    assert found["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.1", "ipMode": "VIP"}]
    assert found["spec"] == stored["spec"]


def test_a_status_that_cannot_be_is_refused() -> None:
    api = Api(document("Deployment", spec=WORKLOAD))
    wanted = {**api.get("Deployment"), "status": {"replicas": 1, "readyReplicas": 2}}
    with pytest.raises(Refused) as refused:
        api.verbs.update(wanted, subresource="status")
    assert (refused.value.status, refused.value.causes[0].field) == (422, "status.readyReplicas")
    assert "readyReplicas: Invalid value: 2: cannot be greater" in str(refused.value)


def test_generation_counts_changes_of_the_spec() -> None:
    api = Api(document("Deployment", spec=WORKLOAD))
    assert api.get("Deployment")["metadata"]["generation"] == 1
    labelled = api.get("Deployment")
    metadata = {**labelled["metadata"], "labels": {"a": "b"}}
    api.verbs.update({**labelled, "metadata": metadata})
    assert api.get("Deployment")["metadata"]["generation"] == 1
    api.edit("Deployment", replicas=2)
    assert api.get("Deployment")["metadata"]["generation"] == 2
    assert api.get("Deployment")["status"]["observedGeneration"] == 2


def test_a_pod_tells_its_state() -> None:
    api = Api(document("Pod", spec=TEMPLATE["spec"]))
    status = api.get("Pod")["status"]
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    (container,) = status["containerStatuses"]
    assert (container["ready"], container["restartCount"]) == (True, 0)
    assert "running" in container["state"]
    assert status["phase"] == "Running"
    assert status["qosClass"] == "BestEffort"
    assert api.get("Pod")["spec"]["containers"][0]["command"] == ["serve"]


def test_a_pod_ends_as_its_status_says() -> None:
    api = Api(document("Pod", spec={**TEMPLATE["spec"], "restartPolicy": "Never"}))
    stored = api.get("Pod")
    ended = {"name": "main", "state": {"terminated": {"exitCode": 4, "reason": "Error"}}}
    status = {**stored["status"], "phase": "Failed", "containerStatuses": [ended]}
    api.verbs.update({**stored, "status": status}, subresource="status")
    api.settle()
    (container,) = api.get("Pod")["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 4
    assert (container["restartCount"], container["lastState"]) == (0, {})
    assert api.get("Pod")["status"]["phase"] == "Failed"


def test_a_pod_is_labelled_with_its_whole_document() -> None:
    api = Api(document("Pod", spec=TEMPLATE["spec"]))
    stored = api.get("Pod")
    metadata = {**stored["metadata"], "labels": {"app": "other"}}
    found, _ = api.verbs.update({**stored, "metadata": metadata})
    assert found["metadata"]["labels"] == {"app": "other"}
    assert found["spec"] == stored["spec"]


def test_a_pod_that_fits_no_node_says_why() -> None:
    api = Api(document("Pod", spec={**TEMPLATE["spec"], "nodeSelector": {"disk": "ssd"}}))
    (condition,) = api.get("Pod")["status"]["conditions"]
    assert condition["reason"] == "Unschedulable"
    assert condition["message"].startswith("0/3 nodes are available: 3 node(s) didn't match")
    assert api.told("Pod") == ("FailedScheduling",)


# --- refusals ------------------------------------------------------------------------------------


def test_what_is_refused() -> None:
    api = Api(document("Service", spec=SERVICE))
    with pytest.raises(Refused) as error:
        api.verbs.create(document("Service", spec=SERVICE))
    assert refusal(error) == (409, "AlreadyExists", 'services "web" already exists')
    with pytest.raises(Refused) as error:
        api.verbs.update(api.get("Service"), version="1")
    assert refusal(error) == (409, "Conflict", MODIFIED)
    with pytest.raises(Refused) as error:
        api.verbs.delete(("Deployment", "default", "web"))
    assert refusal(error) == (404, "NotFound", 'deployments.apps "web" not found')
    with pytest.raises(Refused) as error:
        api.verbs.create(document("ConfigMap", metadata={"namespace": "gone"}))
    assert refusal(error) == (404, "NotFound", 'namespaces "gone" not found')
    with pytest.raises(Refused) as error:
        api.verbs.delete(("Service", "default", "web"), DeleteOptions(uid="other"))
    assert error.value.reason == "Conflict"
    with pytest.raises(Refused) as error:
        api.verbs.delete(("Namespace", "", "default"))
    told = 'namespaces "default" is forbidden: this namespace may not be deleted'
    assert refusal(error) == (403, "Forbidden", told)


def test_each_fault_is_a_cause() -> None:
    api = Api()
    spec = {**SERVICE, "type": "Odd", "ports": [{"port": 0}]}
    with pytest.raises(Refused) as error:
        api.verbs.create(document("Service", spec=spec))
    assert error.value.status == 422
    assert [(each.reason, each.field) for each in error.value.causes] == [
        ("FieldValueInvalid", "spec.ports[0].port"),
        ("FieldValueInvalid", "spec.ports[0].targetPort"),
        ("FieldValueNotSupported", "spec.type"),
    ]
    with pytest.raises(Refused) as error:
        api.verbs.create(document("Service", spec={"ports": "none"}))
    assert (error.value.status, error.value.reason) == (400, "BadRequest")
    assert "Service" not in {each.key[0] for each in api.writes}


@pytest.mark.parametrize("kind", ["ReplicaSet", "StatefulSet", "DaemonSet"])
def test_a_selector_has_to_match_its_template(kind: str) -> None:
    api = Api()
    spec = {**WORKLOAD, "selector": {"matchLabels": {"app": "other"}}}
    with pytest.raises(Refused) as error:
        api.verbs.create(document(kind, spec=spec))
    (cause,) = error.value.causes
    assert cause.field == "spec.template.metadata.labels"


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("ReplicaSet", {"replicas": "3"}),
        ("StatefulSet", {"updateStrategy": "RollingUpdate"}),
        ("StatefulSet", {"ordinals": {"start": "1"}}),
        ("DaemonSet", {"template": {"spec": []}}),
        ("DaemonSet", {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "some"}}}),
        ("DaemonSet", {"selector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}}),
    ],
)
def test_controllers_meet_no_value_of_another_type(kind: str, spec: Json) -> None:
    api = Api()
    with pytest.raises(Refused) as error:
        api.verbs.create(document(kind, spec={**WORKLOAD, **spec}))
    assert error.value.status in (400, 422)
    assert api.there(kind) == []


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet"])
def test_no_workload_has_more_pods_than_a_lab_can_hold(kind: str) -> None:
    api = Api()
    with pytest.raises(Refused) as error:
        api.verbs.create(document(kind, spec={**WORKLOAD, "replicas": 3_000_000}))
    told = "spec.replicas: Invalid value: 3000000: must be less than or equal to 10000 in a lab"
    assert str(error.value) == f'{kind}.apps "web" is invalid: {told}'
    assert api.pods == []


def test_selectors_of_deployments_may_have_expressions() -> None:
    expressions = [{"key": "app", "operator": "In", "values": ["web", "shop"]}]
    spec = {**WORKLOAD, "selector": {"matchExpressions": expressions}}
    api = Api(document("Deployment", spec=spec))
    assert api.pods == ["web-1"]
    assert api.get("Deployment")["spec"]["selector"]["matchExpressions"] == expressions


def test_only_the_last_events_are_kept() -> None:
    api = Api()
    for i in range(1100):
        event = {"regarding": {"kind": "Node", "name": "node-a"}, "note": "text", "reason": "R"}
        metadata = {"name": f"event-{i}"}
        version = "events.k8s.io/v1"
        api.verbs.create({"apiVersion": version, "kind": "Event", "metadata": metadata, **event})
    there = api.there("Event")
    assert (len(there), there[-1]) == (1000, "event-1099")
    assert api.get("Event", "event-1099")["message"] == "text"
