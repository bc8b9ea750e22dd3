"""The verbs create, update, patch and delete."""

from __future__ import annotations

import pytest

from kproxy.apiserver.resources import RESOURCES, Resource
from kproxy.controlplane.plane import Json
from tests.apiserver.asking import (
    DEPLOYMENTS,
    PODS,
    SERVICES,
    TABLE,
    Api,
    deployment,
    labelled,
    service,
)

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


def test_a_new_object_is_read_at_once() -> None:
    api = Api()
    made = api.answer("POST", SERVICES, service("web"))
    assert made.status == 201
    assert made.body == api.get(f"{SERVICES}/web").body
    assert made.version == "1"


def test_what_a_path_says_need_not_be_repeated() -> None:
    api = Api()
    made = api.answer("POST", "/api/v1/namespaces/x/configmaps", {"metadata": {"name": "a"}})
    assert (made.body["kind"], made.body["apiVersion"]) == ("ConfigMap", "v1")
    assert made.body["metadata"]["namespace"] == "x"


def test_a_table_of_what_was_written() -> None:
    made = Api().answer("POST", SERVICES, service("web"), accept=TABLE)
    assert made.body["rows"][0]["cells"][0] == "web"


def test_a_dry_run_stores_nothing() -> None:
    api = Api(service("a"))
    assert api.answer("POST", SERVICES, service("b"), dryRun="All").status == 201
    assert api.answer("DELETE", f"{SERVICES}/a", dryRun="All").status == 200
    assert api.answer("DELETE", f"{SERVICES}/a", {"dryRun": ["All"]}).status == 200
    assert api.answer("PUT", f"{SERVICES}/a", service("a", type="NodePort"), dryRun="All")
    assert api.get(SERVICES).names == ["a"]
    assert api.get(f"{SERVICES}/a").version == "1"


BAD = [  # method, path, body -> status, a part of the message
    ("POST", SERVICES, b"{", 400, "the object provided is unrecognized"),
    ("POST", SERVICES, b"\xff", 400, "not UTF-8"),
    ("POST", SERVICES, b"[" * 5000, 400, "nested too deeply"),
    ("POST", SERVICES, b'{"a":' * 101 + b"1" + b"}" * 101, 400, "nested too deeply"),
    ("POST", SERVICES, b"[[]," * 100 + b"[]" + b"]" * 100, 400, "nested too deeply"),
    ("POST", SERVICES, b"[[]," * 99 + b"[]" + b"]" * 99, 400, "not an object"),
    ("POST", SERVICES, b"[]", 400, "not an object"),
    ("POST", SERVICES, b"", 400, "the object provided is unrecognized"),
    ("POST", SERVICES, {"kind": "Pod"}, 400, 'Pod in version "v1" cannot be handled as a Service'),
    ("POST", SERVICES, {"apiVersion": "v2"}, 400, "the API version in the data (v2) does not"),
    ("POST", SERVICES, {"metadata": {"namespace": "x"}}, 400, "namespace of the provided object"),
    ("POST", SERVICES, {"metadata": {"name": 7}}, 400, "cannot be handled as a Service"),
    ("POST", SERVICES, {"metadata": []}, 400, "cannot be handled as a Service"),
    ("POST", SERVICES, {"metadata": {"labels": 7}}, 400, "cannot be handled as a Service"),
    ("POST", SERVICES, {"spec": {"ports": "80"}}, 400, "cannot be handled as a Service"),
    ("POST", f"{SERVICES}?dryRun=x", {}, 422, 'Unsupported value: "x": supported values: "All"'),
    ("POST", f"{SERVICES}?fieldValidation=x", {}, 422, 'supported values: "Ignore", "Strict"'),
    ("POST", f"{SERVICES}?fieldManager=" + "x" * 129, {}, 422, "fieldManager"),
    ("PUT", f"{SERVICES}/web", service("other"), 400, "the name of the object (other) does not"),
    ("PUT", f"{SERVICES}/web", {}, 400, "name must be provided"),
    ("PUT", f"{SERVICES}/nope", service("nope"), 404, 'services "nope" not found'),
    ("PUT", SERVICES, service("a"), 405, "does not allow this method"),
    ("POST", f"{SERVICES}/web", service("a"), 405, "does not allow this method"),
    ("DELETE", "/api/v1/namespaces", None, 405, "does not allow this method"),
    ("DELETE", f"{SERVICES}/nope", None, 404, 'services "nope" not found'),
    (
        "DELETE",
        f"{SERVICES}/web",
        {"propagationPolicy": "x"},
        422,
        'propagationPolicy: Unsupported value: "x": supported values: "Foreground", "Background",',
    ),
    (
        "DELETE",
        f"{SERVICES}/web?propagationPolicy=Orphan&orphanDependents=false",
        b"",
        422,
        "orphanDependents and deletionPropagation cannot be both set",
    ),
    ("DELETE", f"{SERVICES}/web?gracePeriodSeconds=x", b"", 400, "gracePeriodSeconds"),
    ("DELETE", f"{SERVICES}/web", {"gracePeriodSeconds": "x"}, 400, "gracePeriodSeconds"),
    ("DELETE", f"{SERVICES}/web", {"preconditions": {"uid": "x"}}, 409, "Precondition failed"),
    ("DELETE", f"{SERVICES}/web", {"preconditions": 5}, 400, "preconditions is no object"),
    ("DELETE", f"{SERVICES}/web", {"preconditions": {"uid": 5}}, 400, "uid is no string"),
    ("DELETE", f"{SERVICES}/web", {"propagationPolicy": ["x"]}, 400, "propagationPolicy"),
    ("DELETE", f"{SERVICES}/web", {"dryRun": "All"}, 400, "dryRun is no list"),
    ("DELETE", f"{SERVICES}/web", {"dryRun": ["x"]}, 422, 'supported values: "All"'),
    ("PATCH", f"{SERVICES}/web", {}, 415, "accepted media types include"),
]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000, "more than 100 levels deep"),
        ("a: [b", "YAML to JSON: "),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: *c", "YAML to JSON: "),
    ],
)
def test_yaml_that_is_refused(text: str, message: str) -> None:
    answered = Api().answer("POST", SERVICES, text.encode(), content_type="application/yaml")
    assert answered.status == 400
    assert message in answered.body["message"]
    assert "Problem(" not in answered.body["message"]


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), BAD)
def test_a_write_that_is_refused(
    method: str, path: str, body: object, status: int, message: str
) -> None:
    api = Api(service("web"))
    answered = api.answer(method, path, body)
    assert answered.status == status
    assert message in answered.body["message"]
    assert api.get(SERVICES).names == ["web"]


def test_bodies_of_other_types() -> None:
    api = Api()
    path = "/api/v1/namespaces/default/configmaps"
    yaml = b"metadata: {name: a}\ndata: {key: value}\n"
    made = api.answer("POST", path, yaml, content_type="application/yaml")
    assert made.body["data"] == {"key": "value"}
    two = api.answer("POST", path, yaml + b"---\n" + yaml, content_type="application/yaml")
    assert two.status == 400
    assert api.answer("POST", path, yaml, content_type="text/plain").status == 415
    assert api.answer("POST", path, b"{" + b" " * (3 << 20)).status == 413


def test_unknown_fields() -> None:
    api = Api()
    body = service("a", foo=1)
    strict = api.answer("POST", SERVICES, body, fieldValidation="Strict")
    assert strict.status == 400
    assert strict.body["message"] == (
        'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown'
        ' field "spec.foo"'
    )
    warned = api.answer("POST", SERVICES, body)
    assert warned.warnings == ['299 - "unknown field \\"spec.foo\\""']
    assert "foo" not in warned.body["spec"]
    ignored = api.answer("POST", SERVICES, service("b", foo=1), fieldValidation="Ignore")
    assert (ignored.status, ignored.warnings) == (201, [])


def test_a_field_that_is_there_twice() -> None:
    body = b'{"metadata":{"name":"a"},"data":{"x":"1"},"data":{"x":"2"}}'
    path = "/api/v1/namespaces/default/configmaps"
    assert Api().answer("POST", path, body).warnings == ['299 - "duplicate field \\"data\\""']
    assert Api().answer("POST", path, body, fieldValidation="Strict").status == 400


@pytest.mark.parametrize(
    ("content_type", "patch", "told"),
    [
        (MERGE, b'{"data":{"a":"1","a":"2"}}', 'duplicate field "data.a"'),
        (STRATEGIC, b'{"data":{"a":"1","a":"2"}}', 'duplicate field "data.a"'),
        (
            JSON_PATCH,
            b'[{"op":"add","path":"/b","path":"/data","value":{"a":"2"}}]',
            'json patch duplicate field "[0].path"',
        ),
    ],
)
def test_a_field_that_a_patch_has_twice(content_type: str, patch: bytes, told: str) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    api = Api()
    api.answer("POST", path, {"metadata": {"name": "a"}})
    query = {"fieldValidation": "Strict"}
    strict = api.answer("PATCH", f"{path}/a", patch, content_type=content_type, query=query)
    assert (strict.status, strict.body["reason"]) == (422, "Invalid")
    assert strict.body["message"].endswith(f": strict decoding error: {told}")
    query = {"fieldValidation": "Ignore"}
    ignored = api.answer("PATCH", f"{path}/a", patch, content_type=content_type, query=query)
    assert (ignored.status, ignored.warnings) == (200, [])
    warned = api.answer("PATCH", f"{path}/a", patch, content_type=content_type)
    assert warned.body["data"] == {"a": "2"}
    shown = told.replace('"', '\\"')
    assert warned.warnings == [f'299 - "{shown}"']


def test_a_new_object_has_no_version() -> None:
    api = Api()
    for version, status in (("5", 500), ("0", 201)):
        body = labelled(service(f"v{version}"), x="y")
        body["metadata"]["resourceVersion"] = version
        answered = api.answer("POST", SERVICES, body)
        assert answered.status == status
    body["metadata"] |= {"name": "dry", "resourceVersion": "5"}
    assert api.answer("POST", SERVICES, body, dryRun="All").status == 201
    body["metadata"]["name"] = "new"
    refused = api.answer("POST", SERVICES, body).body
    assert refused["message"] == "resourceVersion should not be set on objects to be created"


def test_an_update_of_another_version_is_a_conflict() -> None:
    api = Api(service("web"))
    body = labelled(service("web"), x="y")
    body["metadata"]["resourceVersion"] = "99"
    answered = api.answer("PUT", f"{SERVICES}/web", body)
    assert (answered.status, answered.body["reason"]) == (409, "Conflict")
    body["metadata"]["resourceVersion"] = "1"
    assert api.answer("PUT", f"{SERVICES}/web", body).version == "2"
    body["metadata"] |= {"resourceVersion": "", "uid": "other"}
    assert api.answer("PUT", f"{SERVICES}/web", body).status == 409


def test_a_status_has_a_path_of_its_own() -> None:
    api = Api(service("web"))
    ingress = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    body = {**service("web", type="NodePort"), "status": ingress}
    made = api.answer("PUT", f"{SERVICES}/web/status", body).body
    assert (made["spec"]["type"], made["status"]) == ("ClusterIP", ingress)
    patch = {"status": {"loadBalancer": {"ingress": None}}}
    made = api.answer("PATCH", f"{SERVICES}/web/status", patch, content_type=MERGE).body
    assert made["status"] == {"loadBalancer": {}}


PATCHES: list[tuple[str, object]] = [
    (MERGE, {"spec": {"type": "NodePort"}}),
    (STRATEGIC, {"spec": {"type": "NodePort"}}),
    (JSON_PATCH, [{"op": "replace", "path": "/spec/type", "value": "NodePort"}]),
]


@pytest.mark.parametrize(("content_type", "patch"), PATCHES)
def test_a_patch(content_type: str, patch: object) -> None:
    api = Api(service("web"))
    made = api.answer("PATCH", f"{SERVICES}/web", patch, content_type=content_type)
    assert (made.status, made.body["spec"]["type"]) == (200, "NodePort")
    again = api.answer("PATCH", f"{SERVICES}/web", patch, content_type=content_type)
    assert again.version == made.version


def test_a_patch_that_insists_on_a_version() -> None:
    api = Api(service("web"))
    patch = {"metadata": {"resourceVersion": "99"}, "spec": {"type": "NodePort"}}
    assert api.answer("PATCH", f"{SERVICES}/web", patch, content_type=MERGE).status == 409


def test_a_patch_cannot_rename() -> None:
    api = Api(service("web"))
    patch = {"metadata": {"name": "other"}}
    assert api.answer("PATCH", f"{SERVICES}/web", patch, content_type=MERGE).status == 400
    assert api.answer("PATCH", f"{SERVICES}/no", patch, content_type=MERGE).status == 404


def test_an_apply_creates_and_changes_and_meets_others() -> None:
    api = Api()
    query = {"fieldManager": "me"}
    path = f"{SERVICES}/web"
    made = api.answer("PATCH", path, service("web"), content_type=APPLY, query=query)
    assert made.status == 201
    assert made.body["metadata"]["managedFields"][0]["operation"] == "Apply"
    same = api.answer("PATCH", path, service("web"), content_type=APPLY, query=query)
    assert (same.status, same.version) == (200, made.version)
    wanted = service("web", type="NodePort")
    other = api.answer("PATCH", path, wanted, content_type=APPLY, fieldManager="you")
    assert (other.status, other.body["reason"]) == (409, "Conflict")
    assert other.body["details"]["causes"][0]["field"] == ".spec.type"
    forced = api.answer("PATCH", path, wanted, content_type=APPLY, fieldManager="you", force="true")
    assert forced.body["spec"]["type"] == "NodePort"
    nameless = api.answer("PATCH", path, wanted, content_type=APPLY)
    assert nameless.status == 422
    assert nameless.body["details"]["causes"][0]["field"] == "fieldManager"
    forced = api.answer("PATCH", path, {}, content_type=MERGE, force="true")
    assert "may not be specified for non-apply patch" in forced.body["message"]


def test_who_wrote_a_field_is_told() -> None:
    made = Api().answer("POST", SERVICES, service("web"), fieldManager="me").body
    [entry] = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("me", "Update")
    assert "f:type" in entry["fieldsV1"]["f:spec"]


def test_defaults_belong_to_who_left_them_out() -> None:
    """As recorded of real clusters: all that decoding adds, and nothing that is allocated."""
    api = Api()
    spec: Json = {"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "web"}}
    body = {"metadata": {"name": "web"}, "spec": spec}
    [entry] = api.answer("POST", SERVICES, body).body["metadata"]["managedFields"]
    port: Json = {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}
    assert entry["fieldsV1"]["f:spec"] == {
        "f:externalTrafficPolicy": {},
        "f:internalTrafficPolicy": {},
        "f:ports": {".": {}, 'k:{"port":80,"protocol":"TCP"}': port},
        "f:selector": {},
        "f:sessionAffinity": {},
        "f:type": {},
    }
    [entry] = api.answer("POST", DEPLOYMENTS, deployment()).body["metadata"]["managedFields"]
    fields = entry["fieldsV1"]["f:spec"]
    assert {"f:progressDeadlineSeconds", "f:replicas", "f:revisionHistoryLimit"} <= fields.keys()
    assert fields["f:strategy"] == {
        "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
        "f:type": {},
    }
    pod = fields["f:template"]["f:spec"]
    assert pod["f:containers"]['k:{"name":"web"}'].keys() == {
        *(".", "f:image", "f:imagePullPolicy", "f:name", "f:resources"),
        *("f:terminationMessagePath", "f:terminationMessagePolicy"),
    }
    assert pod.keys() == {
        *("f:containers", "f:dnsPolicy", "f:restartPolicy", "f:schedulerName"),
        *("f:securityContext", "f:terminationGracePeriodSeconds"),
    }
    made = api.answer("POST", PODS, {**POD, "metadata": {"name": "p"}}).body
    pod_fields = made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert pod_fields.keys() - pod.keys() == {"f:enableServiceLinks"}


def test_who_applies_owns_only_what_they_state() -> None:
    about = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    body = {**about, "spec": {"ports": [{"port": 80}]}}
    path = f"{SERVICES}/web?fieldManager=me"
    made = Api().answer("PATCH", path, body, content_type=APPLY).body
    [entry] = made["metadata"]["managedFields"]
    assert entry["fieldsV1"]["f:spec"].keys() == {"f:ports"}


def test_a_field_manager_is_short_and_printable() -> None:
    api = Api()
    too_long = api.answer("POST", SERVICES, service("web"), fieldManager="é" * 65)
    assert "Too long: may not be more than 128 bytes" in too_long.body["message"]
    unprintable = api.answer("POST", SERVICES, service("web"), fieldManager="é\x01")
    assert unprintable.status == 422
    assert unprintable.body["details"]["causes"][0]["message"] == (
        'Invalid value: "é\\x01": invalid character U+0001 (at position 2)'
    )


def test_an_apply_that_means_an_object_with_a_uid_creates_none() -> None:
    wanted = service("web")
    wanted["metadata"]["uid"] = "5"
    api = Api()
    query = {"fieldManager": "me"}
    answer = api.answer("PATCH", f"{SERVICES}/web", wanted, content_type=APPLY, query=query)
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert answer.body["message"] == (
        'Operation cannot be fulfilled on services "web": uid mismatch: the provided object'
        " specified uid 5, and no existing object was found"
    )
    assert api.get(f"{SERVICES}/web").status == 404


ABSENT = [each for each in RESOURCES if each.absent]


@pytest.mark.parametrize("resource", ABSENT, ids=lambda each: each.kind)
def test_a_kind_that_there_is_never_any_of_is_refused_with_a_sentence(resource: Resource) -> None:
    root = "apis" if resource.group else "api"
    place = "/namespaces/default" if resource.namespaced else ""
    path = f"/{root}/{resource.api_version}{place}/{resource.plural}"
    for answered in (
        Api().answer("POST", path, {"metadata": {"name": "x"}}),
        Api().answer("PUT", f"{path}/x", {"metadata": {"name": "x"}}),
        Api().answer("PATCH", f"{path}/x?fieldManager=m", {}, content_type=APPLY),
    ):
        assert (answered.status, answered.body["reason"]) == (405, "MethodNotAllowed")
        assert answered.body["message"].startswith("this cluster serves no ")
    assert Api().get(path).body["items"] == []
    assert Api().get(f"{path}/x").status == 404
