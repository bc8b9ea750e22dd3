"""Server-side apply: ownership, removal, conflicts, and what client-side apply has made before."""

from __future__ import annotations

import json
from copy import deepcopy
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode, encode

from kproxy.apiserver.field_sets import Fields
from kproxy.apiserver.managed_fields import managers_of, updated
from kproxy.apiserver.server_side_apply import LAST_APPLIED, applied
from kproxy.controlplane.plane import Json, Refused

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def service(*ports: int, **spec: Any) -> Json:
    stated: Json = {"ports": [{"port": each} for each in ports]} if ports else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {**stated, **spec},
    }


def config_map(**data: str) -> Json:
    metadata = {"name": "test-cm", "labels": {"test-label": "test"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def apply(
    former: Json | None, wanted: Json, manager: str = "a", *, force: bool = False, now: str = NOW
) -> Json:
    before = deepcopy(former)
    made = applied(former, wanted, manager=manager, force=force, now=now)
    assert former == before
    return made


def names(document: Json) -> list[str]:
    return [each["manager"] for each in document["metadata"]["managedFields"]]


def test_the_example_of_the_documentation() -> None:
    """Source: kubernetes.io/docs/reference/using-api/server-side-apply"""
    document = apply(None, config_map(key="some value"), "kubectl")
    assert document["metadata"]["managedFields"] == [
        {
            "manager": "kubectl",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:data": {"f:key": {}},
                "f:metadata": {"f:labels": {"f:test-label": {}}},
            },
        }
    ]
    changed = {**document, "data": {"key": "new value"}}
    document = updated(document, changed, manager="kube-controller-manager", now=LATER)
    assert document["metadata"]["managedFields"][1]["fieldsV1"] == {"f:data": {"f:key": {}}}
    with pytest.raises(Refused) as refused:
        apply(document, config_map(key="some value"), "kubectl")
    assert str(refused.value) == (
        'Apply failed with 1 conflict: conflict with "kube-controller-manager" using v1: .data.key'
    )
    assert refused.value.causes == (
        ("FieldManagerConflict", ".data.key", 'conflict with "kube-controller-manager" using v1'),
    )
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    forced = apply(document, config_map(key="some value"), "kubectl", force=True)
    assert names(forced) == ["kubectl"]


def test_several_conflicts_are_told_by_manager() -> None:
    document = apply(None, service(80, type="NodePort"), "a")
    document = apply(document, service(sessionAffinity="None"), "b")
    wanted = service(80, type="ClusterIP", sessionAffinity="ClientIP")
    with pytest.raises(Refused) as refused:
        apply(document, wanted, "c")
    assert str(refused.value) == (
        "Apply failed with 2 conflicts: "
        'conflicts with "a":\n- .spec.type\nconflicts with "b":\n- .spec.sessionAffinity'
    )


def test_a_manager_of_a_subresource_is_named_with_it() -> None:
    document = updated(None, service(80), manager="a", now=NOW)
    changed = {**document, "spec": {**document["spec"], "type": "NodePort"}}
    document = updated(document, changed, manager="b", now=NOW, subresource="scale")
    with pytest.raises(
        Refused, match=r'conflict with "b" with subresource "scale" using v1: .spec'
    ):
        apply(document, service(type="ClusterIP"), "c")


def test_what_is_not_applied_any_more_is_removed() -> None:
    document = apply(None, service(80, 81, selector={"app": "web"}, type="NodePort"))
    document = apply(document, service(81, 82))
    assert document["spec"] == {
        "ports": [{"port": 81}, {"port": 82}],
    }
    assert apply(document, service(type="ClusterIP"))["spec"] == {"type": "ClusterIP"}


def test_what_another_manager_has_too_stays() -> None:
    document = apply(None, service(80, type="NodePort"), "a")
    document = apply(document, service(80, type="NodePort"), "b")
    document = apply(document, service(81), "a")
    assert document["spec"] == {"ports": [{"port": 80}, {"port": 81}], "type": "NodePort"}
    document = apply(document, service(82), "b")
    assert document["spec"] == {"ports": [{"port": 81}, {"port": 82}]}


def test_what_nobody_has_stays_unless_its_item_goes() -> None:
    document = apply(None, service(80, 81))
    document["spec"]["clusterIP"] = "10.96.0.1"
    document["spec"]["ports"][0]["nodePort"] = 30080
    again = apply(document, service(80))
    assert again["spec"] == {"ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "10.96.0.1"}
    assert apply(again, service(82))["spec"]["ports"] == [{"port": 82}]


def test_a_field_shared_at_the_same_value_is_no_conflict() -> None:
    document = apply(None, service(80, type="NodePort"), "a")
    assert names(apply(document, service(type="NodePort"), "b")) == ["a", "b"]


def test_an_atomic_list_is_one_field() -> None:
    document = apply(None, service(80, externalIPs=["192.0.2.1"]), "a")
    with pytest.raises(Refused, match=r"conflict with \"a\": .spec.externalIPs"):
        apply(document, service(externalIPs=["192.0.2.2"]), "b")


def test_a_set_is_united() -> None:
    def with_finalizers(*found: str) -> Json:
        return {**service(80), "metadata": {"name": "web", "finalizers": [*found]}}

    document = apply(None, with_finalizers("x/a"), "a")
    document = apply(document, with_finalizers("x/b"), "b")
    assert document["metadata"]["finalizers"] == ["x/a", "x/b"]
    assert apply(document, with_finalizers(), "a")["metadata"]["finalizers"] == ["x/b"]


def test_an_object_without_managers_is_of_before_first_apply() -> None:
    document = apply(service(80, type="NodePort"), service(80), "a")
    assert names(document) == ["a", "before-first-apply"]
    with pytest.raises(Refused, match=r'"before-first-apply" using v1: .spec.type'):
        apply(service(80, type="NodePort"), service(80, type="ClusterIP"), "a")


def client_side(document: Json) -> Json:
    """As `kubectl apply` without --server-side creates it."""
    text = encode(document).decode() + "\n"
    metadata = {**document["metadata"], "annotations": {LAST_APPLIED: text}}
    return updated(
        None, {**document, "metadata": metadata}, manager="kubectl-client-side-apply", now=NOW
    )


def test_kubectl_takes_over_what_it_applied_on_the_clients_side() -> None:
    document = client_side(service(80, type="ClusterIP"))
    made = apply(document, service(80, type="NodePort"), "kubectl", now=LATER)
    assert made["spec"]["type"] == "NodePort"
    kept = made["metadata"]["annotations"][LAST_APPLIED]
    assert decode(kept)["spec"]["type"] == "NodePort"
    assert kept == json.dumps(decode(kept), sort_keys=True, separators=(",", ":")) + "\n"
    with pytest.raises(Refused, match=r'"kubectl-client-side-apply" using v1: .spec.type'):
        apply(document, service(80, type="NodePort"), "other")


def test_kubectl_does_not_take_over_what_another_has_changed() -> None:
    document = client_side(service(80))
    changed = {**document, "spec": {**document["spec"], "type": "LoadBalancer"}}
    document = updated(document, changed, manager="other", now=LATER)
    with pytest.raises(Refused, match=r'"other" using v1: .spec.type'):
        apply(document, service(80, type="NodePort"), "kubectl")


@pytest.mark.parametrize(
    ("wanted", "status", "says"),
    [
        (service(ports=[{"name": "x"}]), 500,
         r"patch object \(default/web; /v1, Kind=Service\): .spec.ports: element 0: associative"),
        (service(80, foo=1, bar=2), 500,
         r"errors:\n  .spec.foo: field not declared in schema\n  .spec.bar: field not declared"),
        (service(ports=[{"port": "x"}]), 500,
         r'.spec.ports\[port="x",protocol="TCP"\].port: expected numeric \(int or float\)'),
        (service(type=7), 500,
         r"\): .spec.type: expected string, got &value.valueUnstructured{Value:7}$"),
        (service(selector=["a"]), 500, r"spec.selector: expected map, got &{\[a\]}$"),
        (service(ports={"port": 80}), 500, r"spec.ports: expected list, got &{map\[port:80\]}$"),
        (service(externalIPs=[True]), 500, r"spec.externalIPs\[0\]: expected string"),
        (service(publishNotReadyAddresses="x"), 500, r"expected boolean, got &{x}$"),
        (service(80, 80), 500, r"duplicate entries for key \[port=80,protocol=\"TCP\"\]"),
        ({**service(80), "metadata": {"name": "web", "managedFields": [{}]}}, 400, "must be nil"),
    ],
)  # fmt: skip
def test_refused(wanted: Json, status: int, says: str) -> None:
    with pytest.raises(Refused, match=says) as refused:
        apply(None, wanted)
    assert refused.value.status == status


def test_without_a_schema_maps_are_merged_and_lists_are_one_field() -> None:
    def toy(**spec: Any) -> Json:
        return {"apiVersion": "example.com/v1", "kind": "Toy", "metadata": {}, "spec": spec}

    document = apply(None, toy(a=1, list=[1]), "a")
    document = apply(document, toy(b={"c": 2}), "b")
    assert document["spec"] == {"a": 1, "list": [1], "b": {"c": 2}}
    assert apply(document, toy(list=[2]), "a")["spec"] == {"list": [2], "b": {"c": 2}}


SPECS: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {},
    optional={
        "ports": st.lists(
            st.fixed_dictionaries(
                {"port": st.integers(80, 83)},
                optional={"name": st.sampled_from("xy"), "nodePort": st.integers(1, 2)},
            ),
            unique_by=itemgetter("port"),
            max_size=3,
        ),
        "type": st.sampled_from(["NodePort", "ClusterIP"]),
        "selector": st.dictionaries(st.sampled_from("ab"), st.sampled_from("12")),
        "externalIPs": st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), max_size=2),
    },
)
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), SPECS), min_size=1, max_size=6)


@given(STEPS)
def test_laws_of_apply(steps: list[tuple[str, bool, Json]]) -> None:
    document: Json | None = None
    for manager, force, spec in steps:
        wanted = service(**spec)
        wanted["metadata"]["labels"] = {manager: "applies"}  # so that it owns something
        try:
            after = apply(document, wanted, manager, force=force)
        except Refused:
            if force:
                raise
            continue
        # Again is no change, and everything that was stated is there.
        assert apply(after, wanted, manager, now=LATER) is after
        for name, value in spec.items():
            if name == "ports":
                made = {each["port"]: each for each in after["spec"].get("ports", ())}
                assert all(made[each["port"]].items() >= each.items() for each in value)
            elif value:
                assert after["spec"][name] == value
        # Nothing that somebody owns is missing.
        for owned in managers_of(after).values():
            assert not missing(owned.fields, after)
        document = after


def missing(fields: Fields, document: Json) -> list[tuple[str, ...]]:
    return [path for path in fields if not there(path, document)]


def there(path: tuple[str, ...], value: Any) -> bool:
    for element in path:
        if element.startswith("f:"):
            if element[2:] not in value:
                return False
            value = value[element[2:]]
        else:
            key = {"protocol": "TCP", **decode(element[2:])}
            found = [each for each in value if key.items() <= {"protocol": "TCP", **each}.items()]
            if not found:
                return False
            value = found[0]
    return True
