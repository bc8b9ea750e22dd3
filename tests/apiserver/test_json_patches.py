"""JSON Patch and JSON merge patch, with the examples of their RFCs."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.apiserver.json_patches import json_patched, merge_patched
from kproxy.controlplane.plane import Refused

JSON = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


def test_operations_of_rfc_6902() -> None:
    document = {"spec": {"replicas": 3, "list": ["a", "c"]}}
    patch = [
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
        {"op": "add", "path": "/spec/list/1", "value": "b"},
        {"op": "add", "path": "/spec/list/-", "value": "d"},
        {"op": "copy", "from": "/spec/list", "path": "/copy"},
        {"op": "move", "from": "/spec/replicas", "path": "/n"},
        {"op": "remove", "path": "/copy/0"},
    ]
    assert json_patched(document, patch) == {
        "spec": {"list": ["a", "b", "c", "d"]},
        "copy": ["b", "c", "d"],
        "n": 4,
    }
    assert document == {"spec": {"replicas": 3, "list": ["a", "c"]}}


def test_null_is_found_where_there_is_no_field() -> None:
    """Patches insist so on a field that nobody has set; the parent must be there."""
    patch = [{"op": "test", "path": "/a/b", "value": None}, {"op": "add", "path": "/b", "value": 1}]
    assert json_patched({"a": {}}, patch) == {"a": {}, "b": 1}
    assert json_patched({"a": {"b": None}}, patch)["b"] == 1
    for document in ({"a": {"b": 0}}, {"a": [1]}, {}):
        with pytest.raises(Refused) as refused:
            json_patched(document, patch)
        assert refused.value.status == 422


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ({"op": "add"}, 400),
        ("x", 400),
        (["x"], 400),
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "remove", "path": "/b"}], 422),
        ([{"op": "replace", "path": "/b/c", "value": 1}], 422),
        ([{"op": "jump", "path": "/a"}], 422),
        ([{"path": "/a"}], 422),
        ([{"op": "add", "path": "a", "value": 1}], 422),
        ([{"op": "add", "path": 7, "value": 1}], 422),
        ([{"op": "copy", "path": "/b"}], 422),
        ([{"op": "replace", "path": "", "value": 1}], 422),
        ([{"op": "test", "path": "/a", "value": 1}] * 10_001, 413),
        ([{"op": "copy", "from": "", "path": "/b"}] * 99, 422),  # twice as large each time
        ([{"op": "add", "path": "/b" * each, "value": {}} for each in range(1, 200)], 422),
    ],
)
def test_refused(patch: object, status: int) -> None:
    with pytest.raises(Refused) as refused:
        json_patched({"a": 1, "x": "y" * 40_000}, patch)
    assert refused.value.status == status


@pytest.mark.parametrize("times", [200, 3000])
def test_copies_of_copies_are_refused(times: int) -> None:
    with pytest.raises(Refused):
        json_patched({}, [{"op": "copy", "from": "", "path": "/a"}] * times)


@pytest.mark.parametrize(
    ("document", "patch", "made"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({"a": "foo"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_examples_of_rfc_7386(document: Any, patch: Any, made: Any) -> None:
    assert merge_patched(document, patch) == made


def test_a_merge_patch_is_an_object() -> None:
    with pytest.raises(Refused, match="cannot unmarshal array"):
        merge_patched({}, [])


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_twice_is_once_and_leaves_the_document(document: Any, patch: Any) -> None:
    before = deepcopy(document)
    once = merge_patched(document, patch)
    assert merge_patched(once, patch) == once
    assert document == before
