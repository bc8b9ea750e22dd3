"""Who has set which fields: `metadata.managedFields` after each write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode

from kproxy.apiserver.field_sets import NotTyped, compared, from_fields_v1, path_text, to_fields_v1
from kproxy.apiserver.managed_fields import managers_of, schema_of_document, updated, without
from kproxy.apiserver.schema_data import Schema, schema_of
from kproxy.controlplane.plane import Json

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def deployment(**spec: Any) -> Json:
    container = {"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container]},
            },
            **spec,
        },
    }


def service(*ports: Json, **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [*ports], "selector": {"app": "web"}, **spec},
    }


def entries(document: Json) -> list[Json]:
    found: list[Json] = document["metadata"].get("managedFields", [])
    return found


def test_a_creation_in_the_form_of_a_real_server() -> None:
    """Shares of types that Go always writes, such as the strategy, are no fields of their own."""
    created = updated(None, deployment(replicas=3), manager="kubectl-create", now=NOW)
    assert entries(created) == [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "apps/v1",
            "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                    "f:template": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                        "f:spec": {
                            "f:containers": {
                                'k:{"name":"c"}': {
                                    ".": {},
                                    "f:image": {},
                                    "f:name": {},
                                    "f:ports": {
                                        ".": {},
                                        'k:{"containerPort":80,"protocol":"TCP"}': {
                                            ".": {},
                                            "f:containerPort": {},
                                        },
                                    },
                                }
                            }
                        },
                    },
                },
            },
        }
    ]


def test_ports_of_a_service() -> None:
    port = {"port": 80, "protocol": "TCP", "targetPort": 8080}
    (entry,) = entries(updated(None, service(port), manager="kubectl-create", now=NOW))
    assert entry["fieldsV1"]["f:spec"] == {
        "f:ports": {
            ".": {},
            'k:{"port":80,"protocol":"TCP"}': {
                ".": {},
                "f:port": {},
                "f:protocol": {},
                "f:targetPort": {},
            },
        },
        "f:selector": {},
    }


def test_a_field_goes_to_who_changes_it_last() -> None:
    first = updated(None, deployment(replicas=1), manager="kubectl-create", now=NOW)
    second = updated(first, deployment(replicas=2), manager="scaler", now=LATER)
    create, scaler = entries(second)
    assert scaler["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in create["fieldsV1"]["f:spec"]
    assert (create["time"], scaler["time"]) == (NOW, LATER)


def test_a_write_that_changes_nothing_keeps_the_time() -> None:
    first = updated(None, deployment(), manager="a", now=NOW)
    assert updated(first, deployment(), manager="a", now=LATER) == first


def test_a_removed_field_belongs_to_nobody() -> None:
    first = updated(None, deployment(replicas=1), manager="a", now=NOW)
    second = updated(first, deployment(), manager="b", now=LATER)
    (entry,) = entries(second)
    assert entry["manager"] == "a"
    assert "f:replicas" not in entry["fieldsV1"]["f:spec"]


def test_a_status_is_of_its_subresource() -> None:
    stated = updated(None, {**deployment(), "status": {"replicas": 1}}, manager="a", now=NOW)
    assert "f:status" not in entries(stated)[0]["fieldsV1"]
    first = updated(None, deployment(), manager="a", now=NOW)
    with_status = {**first, "status": {"replicas": 1}}
    second = updated(first, with_status, manager="a", now=LATER, subresource="status")
    assert entries(second)[1]["subresource"] == "status"
    assert entries(second)[1]["fieldsV1"] == {"f:status": {"f:replicas": {}}}


@pytest.mark.parametrize(
    ("stated", "managers"),
    [
        ([], ["a", "b"]),
        ([{}], ["b"]),
        ([{"manager": "c", "operation": "Update", "apiVersion": "apps/v1", "time": NOW,
           "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:selector": {}}}}], ["c", "b"]),
        ([{"manager": "c", "operation": "Update", "fieldsV1": {"k:{": {}}}], ["a", "b"]),
    ],
)  # fmt: skip
def test_a_writer_may_state_managers(stated: list[Json], managers: list[str]) -> None:
    first = updated(None, deployment(), manager="a", now=NOW)
    wanted = deployment(replicas=2)
    wanted["metadata"]["managedFields"] = stated
    second = updated(first, wanted, manager="b", now=LATER)
    if stated == [{}]:
        assert entries(second) == []  # until somebody applies
    else:
        assert [each["manager"] for each in entries(second)] == managers


def test_an_object_without_managers_is_not_tracked_until_somebody_applies() -> None:
    assert entries(updated(deployment(), deployment(replicas=1), manager="a", now=NOW)) == []


def test_the_oldest_of_many_managers_are_put_together() -> None:
    document = updated(None, service({"port": 80}), manager="m", now=NOW)
    for number in range(15):
        wanted = service({"port": 80})
        wanted["metadata"]["labels"] = {f"l{each}": "" for each in range(number + 1)}
        wanted["metadata"]["managedFields"] = entries(document)
        time = f"2026-01-02T00:00:{number:02}Z"
        document = updated(document, wanted, manager=f"m{number}", now=time)
    names = [each["manager"] for each in entries(document)]
    assert "ancient-changes" in names
    assert len(names) == 11
    owned = [owned.fields for owned in managers_of(document).values()]
    assert ("f:metadata", "f:labels", "f:l0") in owned[0].union(*owned)


def test_a_list_without_keys_of_an_unknown_kind_is_one_field() -> None:
    toy = {"apiVersion": "example.com/v1", "kind": "Toy", "spec": {"list": [{"a": 1}]}}
    (entry,) = entries(updated(None, {**toy, "metadata": {"name": "t"}}, manager="a", now=NOW))
    assert entry["fieldsV1"] == {"f:spec": {".": {}, "f:list": {}}}


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", 0, 80, False, {}, [], {"x": {}}, [{}]]
)
NAMES = (
    *("apiVersion", "kind", "metadata", "name", "labels", "finalizers", "ownerReferences", "uid"),
    *("creationTimestamp", "spec", "ports", "port", "protocol", "containerPort", "selector"),
    *("template", "containers", "strategy", "rollingUpdate", "resources", "status"),
    *("loadBalancer", "replicas", "data"),
)


def values(schema: Schema, depth: int) -> st.SearchStrategy[Any]:
    """Values that mostly fit a schema, of few of its fields."""
    if not depth:
        return ODD
    names = [name for name in NAMES if name in schema.fields] or ["x", "y"]
    inner = {name: later(schema.field(name), depth - 1) for name in names}
    items = later(schema.items, depth - 1)
    match schema.type:
        case "object":
            return st.fixed_dictionaries({}, optional=inner) | ODD
        case "array":
            return st.lists(items, max_size=3) | ODD
    return ODD


def later(schema: Schema, depth: int) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: values(schema, depth))


def documents(api_version: str, kind: str) -> st.SearchStrategy[Json]:
    group, _, version = api_version.rpartition("/")
    schema = schema_of(group, version, kind)
    about = {"apiVersion": st.just(api_version), "kind": st.just(kind)}
    parts = {
        name: values(schema.field(name), 6)
        for name in ("spec", "status", "data")
        if name in schema.fields
    }
    metadata = st.fixed_dictionaries(
        {"name": st.just("x")},
        optional={
            name: values(schema.field("metadata").field(name), 3)
            for name in ("labels", "finalizers", "ownerReferences", "uid", "creationTimestamp")
        },
    )
    return st.fixed_dictionaries({**about, "metadata": metadata}, optional=parts)


@given(
    documents("v1", "Service")
    | documents("v1", "ConfigMap")
    | documents("v1", "Pod")
    | documents("apps/v1", "Deployment")
    | documents("example.com/v1", "Toy"),
    st.sampled_from(["", "status", "scale"]),
)
def test_who_creates_an_object_owns_all_that_was_not_there(document: Json, part: str) -> None:
    created = updated(None, document, manager="a", now=NOW, subresource=part)
    try:
        difference = compared({}, document, schema_of_document(document))
    except NotTyped:
        assert entries(created) == []
        return
    fields = without(difference.added | difference.modified, part)
    told = [each["fieldsV1"] for each in entries(created)]
    assert encode(told) == encode([to_fields_v1(fields)] if fields else [])


PATHS = st.lists(
    st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"', "v:1"]), min_size=1, max_size=4
).map(tuple)


@given(st.frozensets(PATHS, max_size=6))
def test_fields_are_read_as_written(fields: frozenset[tuple[str, ...]]) -> None:
    assert from_fields_v1(to_fields_v1(fields)) == fields


def test_paths_as_messages_have_them() -> None:
    path = ("f:spec", 'k:{"port":80,"protocol":"TCP"}', 'v:"a"', "f:x", "i:1")
    assert path_text(path) == '.spec[port=80,protocol="TCP"][="a"].x[1]'
