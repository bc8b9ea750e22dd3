"""Whatever is sent, the API answers, and goes on answering; nothing is an internal error."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.apiserver.request import Answer, Watch
from kproxy.apiserver.resources import BY_PATH, RESOURCES, Resource
from kproxy.apiserver.strict_fields import fits, problems, refuse_wrong_types
from kproxy.controlplane.plane import Json, Refused
from tests.apiserver.asking import SERVICES, TABLE, Api, service
from tests.apiserver.test_tables import PODS, ROWS, document
from tests.apiserver.test_writes import APPLY, JSON_PATCH, MERGE, STRATEGIC

STORED = [each for each in RESOURCES if "create" in each.verbs and "patch" in each.verbs]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def whole_documents() -> Iterator[Json]:
    for kind, fields, _ in ROWS:
        yield document(kind, **fields)
    for spec, status, _ in PODS:
        yield document("Pod", spec=spec, status=status)
    about = {"kind": "Pod", "name": "p"}
    yield document("Event", involvedObject=about, source={"component": "c"}, message="m", count=2)


WHOLE = list(whole_documents())


def collection(resource: Resource) -> str:
    root = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    return (
        f"{root}/namespaces/default/{resource.plural}"
        if resource.namespaced
        else (f"{root}/{resource.plural}")
    )


def resource_of(document: Json) -> Resource:
    return next(each for each in RESOURCES if each.kind == document["kind"])


@st.composite
def damaged(draw: st.DrawFn) -> Json:
    """Return a document of any kind of which some parts are missing, or are something else."""
    made = deepcopy(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 3))):
        where: Any = made
        for _ in range(draw(st.integers(0, 6))):
            inner = [
                each
                for each in (where.values() if isinstance(where, dict) else where)
                if isinstance(each, dict | list) and each
            ]
            if not inner:
                break
            where = draw(st.sampled_from(inner))
        place = draw(
            st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where)))
        )
        if where is made and place in ("kind", "apiVersion", "metadata"):
            continue
        if draw(st.booleans()):
            del where[place]
        else:
            where[place] = draw(st.sampled_from([None, {}, [], "", 0, [None], [{}], {"a": None}]))
        if not where:
            break
    return made


@settings(max_examples=200, deadline=None)
@given(damaged())
def test_whatever_is_stored_can_be_shown(document: Json) -> None:
    document["metadata"].pop("managedFields", None)
    resource = resource_of(document)
    path, name = collection(resource), document["metadata"].get("name", "")
    api = Api()
    status = document.pop("status", None)
    made = api.answer("POST", path, document)
    assert made.status in (201, 400, 422), made.body
    if made.status != 201 or not name:
        return
    if status is not None and resource.subresource("status"):
        body = {**made.body, "status": status}
        assert api.answer("PUT", f"{path}/{name}/status", body).status in (200, 400)
    table = api.get(path, accept=TABLE)
    assert len(table.body["rows"]) == 1
    assert api.watch(path, accept=TABLE).events()
    for field in resource.fields:
        assert api.get(path, fieldSelector=f"{field}=x").status == 200
    if resource.subresource("scale"):
        assert api.get(f"{path}/{name}/scale").status == 200
        patch = {"spec": {"replicas": 3}}
        scaled = api.answer("PATCH", f"{path}/{name}/scale", patch, content_type=MERGE)
        assert scaled.status == 200
    for content_type in (MERGE, STRATEGIC, APPLY):
        body = {"metadata": {"name": name, "labels": {"a": "b"}}}
        body |= {"kind": resource.kind, "apiVersion": resource.api_version}
        answered = api.answer(
            "PATCH", f"{path}/{name}", body, content_type=content_type, fieldManager="me"
        )
        assert answered.status == 200, answered.body


def is_fine(document: Json, kind: tuple[str, str, str]) -> bool:
    try:
        refuse_wrong_types(document, kind)
    except Refused:
        return False
    return problems(document, kind) == []


@settings(max_examples=500, deadline=None)
@given(damaged())
def test_a_quick_look_sees_whatever_a_slow_one_does(document: Json) -> None:
    resource = resource_of(document)
    kind = (resource.group, resource.version, resource.kind)
    assert is_fine(document, kind) or not fits(document, kind)


@pytest.mark.parametrize("document", WHOLE, ids=lambda each: each["kind"])
def test_a_quick_look_is_enough_for_usual_objects(document: Json) -> None:
    resource = resource_of(document)
    kind = (resource.group, resource.version, resource.kind)
    assert fits(document, kind) is is_fine(document, kind)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "")
TYPES: tuple[str, ...] = (
    MERGE,
    STRATEGIC,
    JSON_PATCH,
    APPLY,
    "application/json",
    "application/yaml",
)
TYPES += ("application/vnd.kubernetes.protobuf", "", ";", "text/plain")
PATHS: tuple[str, ...] = (
    SERVICES,
    f"{SERVICES}/web",
    f"{SERVICES}/web/status",
    "/apis/apps/v1/deployments",
)
PATHS += ("/api/v1/namespaces", "/api/v1/namespaces/default", "/apis", "/api", "/openapi/v3")
PATHS += ("/apis/apps/v1/namespaces/default/deployments/web/scale", "//", "/%ff/%00", "")
PATHS += ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "/api/v1/watch")
NAMES: tuple[str, ...] = (
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "watch",
)
NAMES += ("resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "includeObject", "force")
NAMES += ("dryRun", "fieldManager", "fieldValidation", "gracePeriodSeconds", "propagationPolicy")
QUERIES = st.dictionaries(
    st.sampled_from(NAMES),
    st.text(max_size=8) | st.sampled_from(("true", "1", "All", "0")),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS) | st.text(max_size=20),
    body=st.binary(max_size=30) | JSON_VALUES,
    content_type=st.sampled_from(TYPES),
    accept=st.sampled_from((TABLE, "", ";", "application/json;as=Table", "*/*;q=x")),
    query=QUERIES,
)
def test_whatever_is_asked_is_answered(
    method: str, path: str, body: object, content_type: str, accept: str, query: dict[str, str]
) -> None:
    api = Api(service("web"))
    outcome = api.ask(method, path, body, content_type=content_type, accept=accept, query=query)
    if isinstance(outcome, Watch):
        assert outcome.watcher.take() is not None
    else:
        assert isinstance(outcome, Answer)
        assert outcome.status != 500
    assert api.get(SERVICES).status == 200


@pytest.mark.parametrize("resource", STORED, ids=lambda each: each.full_name)
def test_every_resource_can_be_written_read_and_deleted(resource: Resource) -> None:
    api = Api()
    path = collection(resource)
    assert BY_PATH[resource.api_version, resource.plural] is resource
    assert api.answer("POST", path, {"metadata": {"name": "a"}}).status == 201
    assert api.get(f"{path}/a").body["kind"] == resource.kind
    assert api.get(path).names == ["a"]
    assert api.watch(path).told() == [("ADDED", "a")]
    assert len(api.get(path, accept=TABLE).body["rows"]) == 1
    assert api.answer("DELETE", f"{path}/a").status == 200
    assert api.get(path).names == []
