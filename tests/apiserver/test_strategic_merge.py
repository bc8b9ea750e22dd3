"""Strategic merge patch, with the schemas of Kubernetes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.apiserver.strategic_merge import merged
from kproxy.controlplane.plane import Json, Refused

SERVICE = ("", "v1", "Service")
DEPLOYMENT = ("apps", "v1", "Deployment")
POD = ("", "v1", "Pod")


def ports(*numbers: int) -> Json:
    return {"spec": {"ports": [{"port": each, "name": f"p{each}"} for each in numbers]}}


def pod(*containers: Json, **spec: Any) -> Json:
    return {"spec": {"containers": [*containers], **spec}}


@pytest.mark.parametrize(
    ("document", "patch", "made", "kind"),
    [
        # a list with a merge key
        (ports(80), {"spec": {"ports": [{"port": 80, "nodePort": 30080}]}},
         {"spec": {"ports": [{"port": 80, "name": "p80", "nodePort": 30080}]}}, SERVICE),
        (ports(80), ports(81), ports(81, 80), SERVICE),  # a new item without an order: first
        (ports(80, 81, 82), {"spec": {"ports": [{"port": 81, "$patch": "delete"}]}},
         ports(80, 82), SERVICE),
        (ports(80, 81), {"spec": {"ports": [{"$patch": "replace"}, *ports(82)["spec"]["ports"]]}},
         ports(82), SERVICE),
        # an order is stated: others keep their place
        (ports(80, 81, 82), {"spec": {"$setElementOrder/ports": [{"port": 82}, {"port": 80}]}},
         ports(81, 82, 80), SERVICE),
        (ports(80), {"spec": {"$setElementOrder/ports": [{"port": 79}, {"port": 80}],
                              "ports": ports(79)["spec"]["ports"]}},
         ports(79, 80), SERVICE),
        # other lists are replaced, maps merged
        ({"spec": {"clusterIPs": ["a", "b"], "selector": {"a": "1"}}},
         {"spec": {"clusterIPs": ["a"], "selector": {"b": "2", "a": None}}},
         {"spec": {"clusterIPs": ["a"], "selector": {"b": "2"}}}, SERVICE),
        ({"spec": {"selector": {"a": "1"}}},
         {"spec": {"selector": {"$patch": "replace", "b": "2"}}},
         {"spec": {"selector": {"b": "2"}}}, SERVICE),
        ({"spec": {"selector": {"a": "1"}}}, {"spec": {"selector": {"$patch": "delete"}}},
         {"spec": {"selector": {}}}, SERVICE),
        # lists of scalars
        ({"metadata": {"finalizers": ["a", "b"]}}, {"metadata": {"finalizers": ["c"]}},
         {"metadata": {"finalizers": ["c", "a", "b"]}}, SERVICE),
        ({"metadata": {"finalizers": ["a", "b"]}},
         {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"],
                       "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}},
         {"metadata": {"finalizers": ["c", "b"]}}, SERVICE),
        ({"metadata": {"ownerReferences": [{"uid": "1"}, {"uid": "2"}]}},
         {"metadata": {"ownerReferences": [{"uid": "1", "$patch": "delete"}]}},
         {"metadata": {"ownerReferences": [{"uid": "2"}]}}, SERVICE),
        # one list in another
        (pod({"name": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}),
         pod({"name": "a", "env": [{"name": "Y", "value": "2"}]}),
         pod({"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
             {"name": "b"}), POD),
        # the volume gets another source
        (pod(volumes=[{"name": "v", "emptyDir": {}}]),
         pod(volumes=[{"name": "v", "configMap": {"name": "c"},
                       "$retainKeys": ["name", "configMap"]}]),
         pod(volumes=[{"name": "v", "configMap": {"name": "c"}}]), POD),
        ({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
         {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
         {"spec": {"strategy": {"type": "Recreate"}}}, DEPLOYMENT),
        # nothing there yet: no null and no directive is stored
        ({}, {"spec": {"a": None, "strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
         {"spec": {"strategy": {"type": "Recreate"}}}, DEPLOYMENT),
        # an unknown kind: lists are replaced
        (ports(80), ports(81), ports(81), ("example.com", "v1", "Toy")),
    ],
)  # fmt: skip
def test_merged(document: Json, patch: Json, made: Json, kind: tuple[str, str, str]) -> None:
    before = deepcopy(document)
    assert merged(document, patch, kind=kind) == made
    assert document == before


@pytest.mark.parametrize(
    ("patch", "status", "message"),
    [
        ([], 400, "Invalid JSON document"),
        ({"spec": {"ports": [{"name": "x"}]}}, 500,
         "map: map[name:x] does not contain declared merge key: port"),
        ({"spec": {"$setElementOrder/ports": 7}}, 400, "a list is expected"),
        ({"spec": {"$retainKeys": ["type"], "selector": {}}}, 400, "of retainKeys"),
        ({"spec": {"$patch": "jump"}}, 500, "unknown patch type: [jump]"),
        ({"spec": {"$setElementOrder/ports": [{"port": 1}], "ports": [{"port": 2}]}}, 500,
         "doesn't match $setElementOrder list"),
    ],
)  # fmt: skip
def test_refused(patch: Any, status: int, message: str) -> None:
    with pytest.raises(Refused) as refused:
        merged(ports(80), patch, kind=SERVICE)
    assert refused.value.status == status
    assert message in str(refused.value)


NUMBERS = st.lists(st.integers(1, 6), unique=True)


@given(NUMBERS, NUMBERS)
def test_a_patch_as_kubectl_makes_it_gives_what_is_wanted(has: list[int], wants: list[int]) -> None:
    """`kubectl apply` states new items, deleted items, and the order of all that it wants."""
    new = [each for each in ports(*wants)["spec"]["ports"] if each["port"] not in has]
    gone = [{"port": each, "$patch": "delete"} for each in has if each not in wants]
    order = [{"port": each} for each in wants]
    patch = {"spec": {"ports": [*new, *gone], "$setElementOrder/ports": order}}
    made = merged(ports(*has), patch, kind=SERVICE)
    assert made == ports(*wants)
    assert merged(made, patch, kind=SERVICE) == made


@given(NUMBERS, NUMBERS)
def test_items_of_others_keep_their_order(has: list[int], states: list[int]) -> None:
    order = [{"port": each} for each in states]
    made = merged(ports(*has), {"spec": {"$setElementOrder/ports": order}}, kind=SERVICE)
    numbers = [each["port"] for each in made["spec"]["ports"]]
    assert sorted(numbers) == sorted(has)
    assert [each for each in numbers if each in states] == [each for each in states if each in has]
    others = [each for each in has if each not in states]
    assert [each for each in numbers if each not in states] == others
