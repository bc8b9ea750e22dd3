"""Groups and resources as the API tells of them, and reviews of who asks."""

from __future__ import annotations

import pytest
from msgspec.json import decode

from kproxy.apiserver.request import Answer
from kproxy.apiserver.resources import GROUP_VERSIONS, RESOURCES
from kproxy.controlplane.plane import Json
from tests.apiserver.asking import TOKEN, USER, Api

REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
FORM = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
BOTH = f"{FORM.format('v2')},{FORM.format('v2beta1')},application/json"


def test_the_aggregated_form() -> None:
    api = Api()
    answered = api.get("/apis", accept=BOTH)
    assert answered.content_type == FORM.format("v2")
    assert ("Vary", "Accept") in answered.headers
    [apps] = [each for each in answered.body["items"] if each["metadata"]["name"] == "apps"]
    [version] = apps["versions"]
    deployments = next(r for r in version["resources"] if r["resource"] == "deployments")
    assert deployments["responseKind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert deployments["shortNames"] == ["deploy"]
    assert deployments["categories"] == ["all"]
    assert [each["subresource"] for each in deployments["subresources"]] == ["scale", "status"]
    core = api.get("/api", accept=BOTH).body["items"]
    assert [each["version"] for each in core[0]["versions"]] == ["v1"]
    assert api.get("/apis", accept=FORM.format("v2beta1")).content_type == FORM.format("v2beta1")


def test_what_is_known_is_not_sent_again() -> None:
    api = Api()
    tag = dict(api.get("/apis", accept=BOTH).headers)["ETag"]
    again = api.ask("GET", "/apis", accept=BOTH, headers={"if-none-match": tag})
    assert isinstance(again, Answer)
    assert (again.status, again.body) == (304, b"")


def test_the_older_form() -> None:
    api = Api()
    assert api.get("/api").body["versions"] == ["v1"]
    groups = {each["name"] for each in api.get("/apis").body["groups"]}
    assert "apps" in groups
    assert api.get("/apis/apps").body["preferredVersion"]["groupVersion"] == "apps/v1"
    for group_version in GROUP_VERSIONS:
        root = "apis" if "/" in group_version else "api"
        body = api.get(f"/{root}/{group_version}").body
        told = {each["name"] for each in body["resources"]}
        served = [each for each in RESOURCES if each.api_version == group_version]
        assert {each.plural for each in served} <= told
    scale = next(
        each
        for each in api.get("/apis/apps/v1").body["resources"]
        if each["name"] == "deployments/scale"
    )
    assert (scale["group"], scale["kind"]) == ("autoscaling", "Scale")


@pytest.mark.parametrize(
    "path", ["/apis/foo", "/apis/foo/v1", "/api/v9", "/apis/v1", "/apis/apps/v9"]
)
def test_a_group_that_is_not_served(path: str) -> None:
    assert Api().get(path).status == 404


def test_discovery_is_read_only() -> None:
    assert Api().answer("POST", "/apis", {}).status == 405


def test_the_version() -> None:
    body = Api().get("/version").body
    assert (body["major"], body["minor"]) == ("1", "37")


def test_schemas() -> None:
    api = Api()
    paths = api.get("/openapi/v3").body["paths"]
    assert {"api/v1", "apis/apps/v1"} <= paths.keys()
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    answered = api.answer("GET", url)
    assert answered.headers == (("Cache-Control", "public, max-age=31536000, immutable"),)
    schemas = decode(answered.text)["components"]["schemas"]
    assert "io.k8s.api.apps.v1.Deployment" in schemas
    for path in ("/openapi/v3/apis/foo/v1", "/openapi/v3/apis/v1", "/openapi/v9", "/openapi"):
        assert api.get(path).status == 404


def test_a_page_that_is_not_there() -> None:
    answered = Api().get("/nothing")
    assert (answered.status, answered.text) == (404, b"404 page not found\n")


AUTHORIZATION = "/apis/authorization.k8s.io/v1"


def test_everybody_may_do_everything_and_is_told_why() -> None:
    api = Api()
    spec = {"resourceAttributes": {"verb": "create", "resource": "pods"}}
    made = api.answer("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", {"spec": spec})
    assert made.status == 201
    assert made.body["status"]["allowed"] is True
    assert "not enforced" in made.body["status"]["reason"]
    assert made.body["spec"] == spec
    rules = api.answer("POST", f"{AUTHORIZATION}/selfsubjectrulesreviews", {"spec": {}})
    assert rules.body["status"]["resourceRules"][0]["verbs"] == ["*"]


def test_who_am_i() -> None:
    made = Api().answer("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    told = made.body["status"]["userInfo"]
    assert (told["username"], told["groups"]) == ("teacher", ["system:authenticated"])


def test_whose_a_token_is() -> None:
    api = Api()
    made = api.answer("POST", REVIEWS, {"spec": {"token": TOKEN}})
    assert made.status == 201
    assert made.body["kind"] == "TokenReview"
    assert made.body["status"] == {
        "authenticated": True,
        "user": {"username": USER.name, "groups": [*USER.groups]},
        "audiences": ["https://kubernetes.default.svc.cluster.local"],
    }
    assert made.body["metadata"] == {"creationTimestamp": None}


@pytest.mark.parametrize("spec", [{"token": "x"}, {"token": TOKEN, "audiences": ["vault"]}])
def test_a_token_that_is_nobodys_here(spec: Json) -> None:
    made = Api().answer("POST", REVIEWS, {"spec": spec})
    assert made.status == 201
    assert made.body["status"] == {"user": {}, "error": "invalid bearer token"}


@pytest.mark.parametrize("spec", [None, {}, [], {"token": 3}, {"token": "x", "audiences": "y"}])
def test_what_is_no_token(spec: object) -> None:
    assert Api().answer("POST", REVIEWS, {"spec": spec}).status == 400


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"user": "anybody"}, True),
        ({"groups": ["system:authenticated"]}, True),
        ({"user": "system:anonymous", "groups": ["system:unauthenticated"]}, False),
    ],
)
@pytest.mark.parametrize(
    "path", ["subjectaccessreviews", "namespaces/default/localsubjectaccessreviews"]
)
def test_what_others_may_do(path: str, spec: Json, allowed: bool) -> None:
    spec = {**spec, "resourceAttributes": {"verb": "get", "resource": "pods"}}
    made = Api().answer("POST", f"{AUTHORIZATION}/{path}", {"spec": spec})
    assert (made.status, made.body["status"]["allowed"]) == (201, allowed)
    assert Api().answer("POST", f"{AUTHORIZATION}/{path}", {"spec": {}}).status == 400
