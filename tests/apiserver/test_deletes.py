"""The verb delete, of one object and of a collection, and evictions."""

from __future__ import annotations

import pytest

from kproxy.apiserver.request import Request
from kproxy.apiserver.writes import delete_options
from kproxy.controlplane.plane import Json
from tests.apiserver.asking import (
    DEPLOYMENTS,
    PODS,
    SERVICES,
    Api,
    deployment,
    labelled,
    service,
    services,
)
from tests.apiserver.test_writes import POD


def test_a_deleted_object_is_told_or_a_status_is() -> None:
    api = Api(service("a"), deployment())
    assert api.answer("DELETE", f"{SERVICES}/a").body["kind"] == "Service"
    status = api.answer("DELETE", f"{DEPLOYMENTS}/web").body
    assert (status["kind"], status["status"]) == ("Status", "Success")
    assert (status["details"]["name"], status["details"]["kind"]) == ("web", "deployments")


DRY = {"dryRun": ["All"]}


def test_a_collection_is_deleted_as_selected() -> None:
    api = Api(*services(["a", "b"]), labelled(service("c"), x="y"))
    gone = api.answer("DELETE", SERVICES, labelSelector="!x")
    assert (gone.status, gone.names) == (200, ["a", "b"])
    assert api.get(SERVICES).names == ["c"]


@pytest.mark.parametrize("version", ["policy/v1", "policy/v1beta1"])
def test_an_eviction_deletes(version: str) -> None:
    api = Api(POD)
    eviction = {"apiVersion": version, "kind": "Eviction", "metadata": {"name": "p"}}
    tried = api.answer("POST", f"{PODS}/p/eviction", {**eviction, "deleteOptions": DRY})
    assert (tried.status, api.get(f"{PODS}/p").status) == (201, 200)
    assert api.answer("POST", f"{PODS}/p/eviction", eviction).status == 201
    assert api.get(f"{PODS}/p").status == 404
    assert api.answer("POST", f"{PODS}/p/eviction", eviction).status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": {"name": "other"}},
        {"metadata": {}},
        {"metadata": []},
        {"kind": "Pod"},
        {"apiVersion": "v1"},
        {"deleteOptions": []},
    ],
    ids=str,
)
def test_what_is_no_eviction_of_the_pod_deletes_nothing(wrong: Json) -> None:
    api = Api(POD)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert api.answer("POST", f"{PODS}/p/eviction", eviction | wrong).status == 400
    assert api.get(f"{PODS}/p").status == 200


def test_a_negative_time_of_grace_is_a_second() -> None:
    request = Request(method="DELETE", path="/", query=(("gracePeriodSeconds", "-5"),))
    assert delete_options(request).grace_s == 1
    body = b'{"gracePeriodSeconds":-1}'
    assert delete_options(Request(method="DELETE", path="/", body=body)).grace_s == 1
