"""Objects of an API server that gives only some of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from kproxy.doctor import Diagnosis, diagnose, from_objects
from tests.doctor.test_facts import NODE

HEALTHY = {
    "/api/v1/services": {
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {
            "clusterIP": "10.96.0.10",
            "clusterIPs": ["10.96.0.10"],
            "ipFamilies": ["IPv4"],
            "selector": {"k8s-app": "kube-dns"},
            "ports": [{"port": 53, "protocol": "UDP"}],
        },
    },
    "/apis/discovery.k8s.io/v1/endpointslices": {
        "metadata": {
            "name": "kube-dns-1",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.1.5"], "nodeName": "node-a"}],
    },
    "/api/v1/nodes": {
        "metadata": {"name": "node-a"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.168.10.11"}]},
    },
    "/api/v1/pods": {
        "metadata": {"name": "d", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "node-a", "containers": [{"name": "dns", "image": "dns"}]},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": "10.244.1.5"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    },
}
WORKLOAD = "/apis/apps/v1/statefulsets"
STATEFUL_SET = {
    "metadata": {"name": "db"},
    "spec": {"replicas": 0, "template": {"metadata": {"labels": {"app": "db"}}}},
}
OF_DB = {"metadata": {"name": "db"}, "spec": {"selector": {"app": "db"}, "ports": [{"port": 1}]}}


class Server:
    """Gives an object of each collection, or a status; 404 for those that it does not know."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given

    def get(self, path: str, query: Mapping[str, str], *, timeout_s: float) -> SimpleNamespace:
        assert query["limit"]
        assert timeout_s
        found = self._given.get(path, 404)
        if isinstance(found, int):
            return SimpleNamespace(status=found, body=b"no")
        items = found if isinstance(found, list) else [found]
        return SimpleNamespace(status=200, body=json.dumps({"items": items}).encode())

    def close(self) -> None:
        """Nothing is open."""


def diagnosed(monkeypatch: pytest.MonkeyPatch, given: Mapping[str, object]) -> Diagnosis:
    """Return what is found on node-a, with these objects."""
    monkeypatch.setattr(from_objects, "Connection", lambda _: Server(given))
    facts = replace(from_objects.from_api_server("kubeconfig"), hosts=(NODE,))
    return diagnose(facts, looked_at="")


def left_out(diagnosis: Diagnosis) -> dict[str, str]:
    return {each: left.why for left in diagnosis.left_out for each in left.checks}


@pytest.mark.parametrize("refused", ["", *HEALTHY, WORKLOAD, "/api/v1/events"])
def test_what_may_not_be_read_is_not_taken_for_missing(
    monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    diagnosis = diagnosed(monkeypatch, {**HEALTHY, **({refused: 403} if refused else {})})
    assert diagnosis.findings == ()
    for kinds, checks in {
        "services": {"dns-missing", "load-balancer-pending"},
        "endpointslices": {"no-endpoints", "external-policy-local"},
        "nodes": {"node-unknown", "node-address", "internal-policy-local"},
        "pods": {"dns-no-endpoints", "pods-not-ready", "internal-policy-local"},
    }.items():
        if refused.endswith(f"/{kinds}"):
            why = f"GET {refused}: status 403"
            assert {left_out(diagnosis)[each] for each in checks} == {why}
        else:
            assert checks & {*diagnosis.made}
    unread = refused in (WORKLOAD, "/api/v1/pods")
    assert ("no-pods" in diagnosis.made) is not unread


def test_stateful_sets_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    services = [HEALTHY["/api/v1/services"], OF_DB]
    given = {**HEALTHY, "/api/v1/services": services, WORKLOAD: STATEFUL_SET}
    (found,) = diagnosed(monkeypatch, given).findings
    assert (found.id, found.evidence) == (
        "no-pods",
        ("StatefulSet db has 0 replicas, and no Pod exists",),
    )
    assert found.remedy == ("$ kubectl -n default scale statefulset db --replicas 1",)
