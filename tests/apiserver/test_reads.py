"""The verbs get and list."""

from __future__ import annotations

import pytest

from kproxy.apiserver import read_model
from tests.apiserver.asking import (
    PARTIAL,
    SERVICES,
    TABLE,
    USER,
    Api,
    labelled,
    service,
    services,
)


def test_a_list_has_items_without_their_kind_in_the_order_of_names() -> None:
    answered = Api(*services(["b", "a"])).get(SERVICES)
    assert answered.body["kind"] == "ServiceList"
    assert answered.names == ["a", "b"]
    assert "kind" not in answered.body["items"][0]
    assert answered.version == "2"


def test_an_empty_list() -> None:
    assert Api().get(SERVICES).body["items"] == []


def test_a_list_of_all_namespaces_and_of_one() -> None:
    other = {**service("a"), "metadata": {"name": "a", "namespace": "other"}}
    api = Api(service("a"), other)
    assert len(api.get("/api/v1/services").body["items"]) == 2
    assert len(api.get(SERVICES).body["items"]) == 1


def test_an_object_begins_with_its_kind() -> None:
    assert (
        Api(service("a"))
        .get(f"{SERVICES}/a")
        .text.startswith(b'{"kind":"Service","apiVersion":"v1","metadata":{"name":"a"')
    )


def test_an_object_that_is_not_there() -> None:
    answered = Api().get(f"{SERVICES}/web")
    assert answered.status == 404
    assert answered.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'services "web" not found',
        "reason": "NotFound",
        "details": {"name": "web", "kind": "services"},
        "code": 404,
    }


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/foos",
        "/api/v2",
        "/apis/foo/v1/bars",
        "/api/v1/namespaces/default/nodes",
        "/api/v1/services/web",
        f"{SERVICES}/web/exec",
        f"{SERVICES}/web/status/more",
    ],
)
def test_a_path_that_names_nothing(path: str) -> None:
    answered = Api(service("web")).get(path)
    assert (answered.status, answered.body["reason"]) == (404, "NotFound")
    assert answered.body["message"].startswith("the server could not find the requested resource")
    assert answered.body["details"] == {}  # kubectl debug follows a missing one to a crash


def test_a_resource_that_a_lab_has_not_is_named() -> None:
    path = "/api/v1/namespaces/default/resourcequotas"
    answered = Api().answer("POST", path, {})
    assert answered.status == 404
    assert answered.body["message"].endswith(": this cluster serves no resourcequotas of v1")


def test_pages_show_the_collection_as_it_was() -> None:
    api = Api(*services(["a", "b", "c"]))
    first = api.get(SERVICES, limit="2")
    assert first.names == ["a", "b"]
    assert first.body["metadata"]["remainingItemCount"] == 1
    api.answer("DELETE", f"{SERVICES}/c")
    api.answer("POST", SERVICES, service("d"))
    second = api.get(SERVICES, limit="2", query={"continue": first.body["metadata"]["continue"]})
    assert second.names == ["c"]
    assert second.version == first.version
    assert "continue" not in second.body["metadata"]


def test_a_token_that_is_too_old_comes_with_a_fresh_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read_model, "MOST_WRITES", 2)
    api = Api(*services(["a", "b", "c"]))
    token = api.get(SERVICES, limit="2").body["metadata"]["continue"]
    for name in "defg":
        api.answer("POST", SERVICES, service(name))
    old = api.get(SERVICES, limit="9", query={"continue": token})
    assert (old.status, old.body["reason"]) == (410, "Expired")
    fresh = api.get(SERVICES, limit="9", query={"continue": old.body["metadata"]["continue"]})
    assert fresh.names == ["c", "d", "e", "f", "g"]
    exact = {"resourceVersion": "3", "resourceVersionMatch": "Exact"}
    answered = api.get(SERVICES, query=exact)
    assert answered.status == 410
    assert answered.body["message"] == "The resourceVersion for the provided list is too old."


@pytest.mark.parametrize("token", ["x", "%%%", "e30", "W10", "WzEsWyJQb2QiLCJhIiwiYiJdXQ"])
def test_a_token_that_is_none(token: str) -> None:
    answered = Api().get(SERVICES, query={"continue": token})
    assert answered.status == 400
    assert answered.body["message"].startswith("continue key is not valid")


def test_a_token_has_a_version_of_its_own() -> None:
    """Clients may only say that any version will do."""
    api = Api(*services(["a", "b"]))
    query = {"continue": api.get(SERVICES, limit="1").body["metadata"]["continue"]}
    assert api.get(SERVICES, query=query, resourceVersion="0").names == ["b"]
    refused = api.get(SERVICES, query=query, resourceVersion="1")
    assert (refused.status, refused.body["message"]) == (
        400,
        "specifying resource version is not allowed when using continue",
    )


def test_a_list_as_of_an_exact_version() -> None:
    api = Api(service("a"))
    version = api.get(SERVICES).version
    api.answer("POST", SERVICES, service("b"))
    api.answer("PUT", f"{SERVICES}/a", labelled(service("a"), x="y"))
    exact = api.get(SERVICES, resourceVersion=version, resourceVersionMatch="Exact")
    assert exact.names == ["a"]
    assert "labels" not in exact.body["items"][0]["metadata"]


def test_a_version_of_the_future() -> None:
    answered = Api().get(SERVICES, resourceVersion="99")
    assert (answered.status, answered.body["reason"]) == (504, "Timeout")
    assert answered.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


REFUSED = [  # query -> status, a part of the message
    ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
    ("resourceVersion=x", 422, "resourceVersion"),
    ("resourceVersionMatch=Exact", 422, "unless resourceVersion is provided"),
    ("resourceVersion=0&resourceVersionMatch=Exact", 422, 'forbidden for resourceVersion "0"'),
    ("resourceVersion=1&resourceVersionMatch=Foo", 422, "resourceVersionMatch"),
    ("limit=x", 400, "invalid syntax"),
    ("labelSelector=a in", 400, "unable to parse requirement"),
    ("fieldSelector=spec.foo%3D1", 400, "field label not supported: spec.foo"),
    ("includeObject=All", 400, "includeObject"),
]


@pytest.mark.parametrize(("query", "status", "message"), REFUSED)
def test_a_list_that_is_refused(query: str, status: int, message: str) -> None:
    answered = Api().answer("GET", f"{SERVICES}?{query}")
    assert answered.status == status
    assert message in answered.body["message"]


def test_selectors_select() -> None:
    api = Api(labelled(service("a"), x="y"), service("b"))
    assert api.get(SERVICES, labelSelector="x=y").names == ["a"]
    assert api.get(SERVICES, fieldSelector="metadata.name=b").names == ["b"]


def test_a_table() -> None:
    table = Api(*services(["a", "b", "c"])).get(SERVICES, accept=TABLE, limit="2").body
    assert table["kind"] == "Table"
    assert table["metadata"]["remainingItemCount"] == 1
    told = [(each["name"], each["priority"]) for each in table["columnDefinitions"]]
    assert told == [
        *((name, 0) for name in ("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age")),
        ("Selector", 1),
    ]
    row = table["rows"][0]
    assert row["cells"] == ["a", "ClusterIP", "10.96.0.1", "<none>", "80/TCP", "60s", "<none>"]
    assert row["object"]["kind"] == "PartialObjectMetadata"


def test_a_table_with_whole_objects_and_without_any() -> None:
    api = Api(service("a"))
    whole = api.get(SERVICES, accept=TABLE, includeObject="Object").body
    assert whole["rows"][0]["object"]["spec"]["type"] == "ClusterIP"
    none = api.get(f"{SERVICES}/a", accept=TABLE, includeObject="None").body
    assert "object" not in none["rows"][0]


def test_metadata_alone() -> None:
    listed = Api(service("a")).get(SERVICES, accept=PARTIAL).body
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed["items"][0].keys() == {"kind", "apiVersion", "metadata"}


ACCEPTED = [  # Accept -> status, content type
    ("application/vnd.kubernetes.protobuf,application/json", 200, "application/json"),
    ("application/vnd.kubernetes.protobuf", 200, "application/json"),
    ("application/vnd.kubernetes.protobuf, */*", 200, "application/json"),
    ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", 200, "application/json"),
    ("application/yaml", 200, "application/yaml"),
    ("text/html;q=0.9, application/*;q=0.1", 200, "application/json"),
    ("application/json;q=0", 406, "application/json"),
    ("text/plain", 406, "application/json"),
]


@pytest.mark.parametrize(("accept", "status", "content_type"), ACCEPTED)
def test_what_a_client_accepts(accept: str, status: int, content_type: str) -> None:
    answered = Api(service("a")).get(f"{SERVICES}/a", accept=accept)
    assert (answered.status, answered.content_type) == (status, content_type)


def test_endpoints_are_deprecated() -> None:
    words = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    path = "/api/v1/namespaces/default/endpoints"
    api = Api()
    assert api.get(path).warnings == [words]
    assert api.answer("POST", path, {"metadata": {"name": "a"}}).warnings == [words]
    assert api.answer("DELETE", f"{path}/a").warnings == [words]
    assert api.watch(path).watch.headers == (("Warning", words),)


def test_events_are_told_in_both_versions() -> None:
    api = Api()
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    event = {"metadata": {"name": "e"}, "regarding": about, "note": "hello", "reason": "Seen"}
    path = "namespaces/default/events"
    assert api.answer("POST", f"/apis/events.k8s.io/v1/{path}", event).status == 201
    old = api.get(f"/api/v1/{path}/e").body
    assert (old["apiVersion"], old["message"], old["involvedObject"]) == ("v1", "hello", about)
    new = api.get(f"/apis/events.k8s.io/v1/{path}", fieldSelector="regarding.name=p").body
    assert new["items"][0]["note"] == "hello"
    assert api.get(f"/api/v1/{path}", fieldSelector="involvedObject.name=p").names == ["e"]
    cells = api.get(f"/apis/events.k8s.io/v1/{path}", accept=TABLE).body["rows"][0]["cells"]
    assert cells[2:4] == ["Seen", "pod/p"]


def test_who_may_ask() -> None:
    api = Api()
    for path in ("/version", "/healthz", "/livez", "/readyz"):
        assert api.ask("GET", path, user=USER)
    refused = api.answer("GET", "/version", user=None)
    assert refused.status == 401
    assert refused.body["reason"] == refused.body["message"] == "Unauthorized"
