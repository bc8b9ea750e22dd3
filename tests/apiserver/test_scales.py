"""The subresource scale: read, replaced, patched and applied."""

from __future__ import annotations

import pytest

from kproxy.controlplane.plane import Json
from tests.apiserver.asking import DEPLOYMENTS, Api, deployment

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


def test_the_scale_of_a_workload() -> None:
    api = Api(deployment())
    scale = api.get(f"{DEPLOYMENTS}/web/scale").body
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 2})
    assert scale["status"]["selector"] == "app=web"
    patch = {"spec": {"replicas": 5}}
    made = api.answer("PATCH", f"{DEPLOYMENTS}/web/scale", patch, content_type=MERGE)
    assert (made.status, made.body["kind"], made.body["spec"]) == (200, "Scale", {"replicas": 5})
    assert api.get(f"{DEPLOYMENTS}/web").body["spec"]["replicas"] == 5
    made = api.answer("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 1}})
    assert made.status == 409
    del scale["metadata"]["resourceVersion"]
    made = api.answer("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 1}})
    assert made.body["spec"] == {"replicas": 1}
    for wrong, status in ((-1, 422), ("x", 400), (True, 400)):
        body = {"spec": {"replicas": wrong}}
        answered = api.answer("PATCH", f"{DEPLOYMENTS}/web/scale", body, content_type=MERGE)
        assert answered.status == status


OTHER_SCALES = [  # what a Scale states -> the refusal
    ({"kind": "Deployment"}, 'Deployment in version "v1" cannot be handled as a Scale'),
    ({"apiVersion": "apps/v1"}, "(apps/v1) does not match the expected API version"),
    ({"metadata": {"name": "db"}}, "(db) does not match the name on the URL (web)"),
    ({"metadata": {}}, "the name of the object (web based on URL) was undeterminable"),
    ({"metadata": {"name": "web", "namespace": "x"}}, "does not match the namespace sent"),
]


@pytest.mark.parametrize(("other", "told"), OTHER_SCALES)
def test_a_scale_is_that_of_its_path(other: Json, told: str) -> None:
    api = Api(deployment())
    path = f"{DEPLOYMENTS}/web/scale"
    scale = {**api.get(path).body, "spec": {"replicas": 9}, **other}
    refused = api.answer("PUT", path, scale)
    assert (refused.status, told in refused.body["message"]) == (400, True), refused.body
    assert api.get(path).body["spec"]["replicas"] == 2


def test_an_applied_scale_meets_other_managers() -> None:
    api = Api()
    web, path = f"{DEPLOYMENTS}/web", f"{DEPLOYMENTS}/web/scale"
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}}
    wanted = {**scale, "spec": {"replicas": 5}}

    def applied(**query: str) -> tuple[int, Json]:
        answer = api.answer("PATCH", path, wanted, content_type=APPLY, query=query)
        return answer.status, answer.body

    assert applied(fieldManager="scaler")[0] == 404
    api.answer("PATCH", web, deployment(), content_type=APPLY, fieldManager="owner")
    status, body = applied(fieldManager="scaler")
    assert (status, body["reason"]) == (409, "Conflict")
    [cause] = body["details"]["causes"]
    assert (cause["field"], cause["message"]) == (".spec.replicas", 'conflict with "owner"')
    assert applied()[0] == 422  # nobody applies without a name
    status, body = applied(fieldManager="scaler", force="true")
    assert (status, body["kind"], body["spec"]) == (200, "Scale", {"replicas": 5})
    managers = api.get(web).body["metadata"]["managedFields"]
    [entry] = [each for each in managers if each["manager"] == "scaler"]
    assert (entry["operation"], entry["subresource"]) == ("Apply", "scale")
    assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    again = api.answer("PATCH", web, deployment(), content_type=APPLY, fieldManager="owner")
    assert (again.status, again.body["reason"]) == (409, "Conflict")
    wanted["kind"] = "Deployment"
    assert applied(fieldManager="scaler")[0] == 400
