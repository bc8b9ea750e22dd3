"""Rows of all kinds, as kubectl prints them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kproxy.apiserver.ages import age
from kproxy.apiserver.cells import CELLS
from kproxy.apiserver.resources import RESOURCES
from kproxy.apiserver.tables import cells, columns
from kproxy.controlplane.plane import Json
from tests.apiserver.memory_plane import START

NOW = START + timedelta(hours=2)
META: Json = {"name": "x", "creationTimestamp": "2026-01-31T12:00:00Z"}

AGES = [  # seconds ago -> told
    (0, "0s"),
    (-1, "0s"),
    (-2, "<invalid>"),
    (119, "119s"),
    (120, "2m"),
    (125, "2m5s"),
    (600, "10m"),
    (3 * 3600 - 1, "179m"),
    (3 * 3600, "3h"),
    (3 * 3600 + 60, "3h1m"),
    (8 * 3600, "8h"),
    (47 * 3600, "47h"),
    (48 * 3600, "2d"),
    (49 * 3600, "2d1h"),
    (8 * 86400, "8d"),
    (729 * 86400, "729d"),
    (730 * 86400, "2y"),
    (731 * 86400, "2y1d"),
    (8 * 365 * 86400, "8y"),
]


@pytest.mark.parametrize(("seconds", "told"), AGES)
def test_an_age(seconds: int, told: str) -> None:
    assert age("2026-01-31T12:00:00Z", START + timedelta(seconds=seconds)) == told


def test_no_age() -> None:
    assert age(None, NOW) == age("", NOW) == age("yesterday", NOW) == "<unknown>"


def document(kind: str, **fields: object) -> Json:
    version = next(each.api_version for each in RESOURCES if each.kind == kind)
    return {"kind": kind, "apiVersion": version, "metadata": META, **fields}


def status(*states: Json, phase: str = "Running", **more: object) -> Json:
    return {"phase": phase, "containerStatuses": list(states), **more}


def ready(restarts: int = 0) -> Json:
    return {"ready": True, "restartCount": restarts, "state": {"running": {}}}


ONE: Json = {"containers": [{"name": "a", "image": "i"}]}
TWO: Json = {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}
CRASHED: Json = {
    "ready": False,
    "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"finishedAt": "2026-01-31T13:55:00Z"}},
}
GONE: Json = {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
PODS = [  # spec, status -> ready, status, restarts
    (ONE, {}, ["0/1", "", "0"]),
    (ONE, {"phase": "Pending"}, ["0/1", "Pending", "0"]),
    (ONE, status(ready()), ["1/1", "Running", "0"]),
    (TWO, status(ready(1), ready(2)), ["2/2", "Running", "3"]),
    (ONE, status(CRASHED), ["0/1", "CrashLoopBackOff", "3 (5m ago)"]),
    (ONE, status(GONE, phase="Succeeded"), ["0/1", "Completed", "0"]),
    (TWO, status(GONE, ready()), ["1/2", "NotReady", "0"]),
    (ONE, status({"state": {"terminated": {"exitCode": 3}}}), ["0/1", "ExitCode:3", "0"]),
    (ONE, status({"state": {"terminated": {"signal": 9}}}), ["0/1", "Signal:9", "0"]),
    (ONE, {"phase": "Failed", "reason": "Evicted"}, ["0/1", "Evicted", "0"]),
    (
        {**ONE, "initContainers": [{}, {}]},
        status(initContainerStatuses=[{"state": {"running": {}}}], phase="Pending"),
        ["0/1", "Init:0/2", "0"],
    ),
    (
        {**ONE, "initContainers": [{}]},
        status(initContainerStatuses=[{"state": {"terminated": {"exitCode": 1}}}]),
        ["0/1", "Init:ExitCode:1", "0"],
    ),
    (
        ONE,
        {"conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
        ["0/1", "SchedulingGated", "0"],
    ),
]


@pytest.mark.parametrize(("spec", "state", "told"), PODS)
def test_a_pod(spec: Json, state: Json, told: list[str]) -> None:
    made = cells(document("Pod", spec=spec, status=state), NOW)
    assert made[1:4] == told


def test_a_pod_that_ends() -> None:
    pod = document("Pod", spec=ONE, status=status(ready()))
    pod["metadata"] = {**META, "deletionTimestamp": "2026-01-31T13:00:00Z"}
    assert cells(pod, NOW)[2] == "Terminating"


def test_a_pod_has_an_address_a_node_and_gates() -> None:
    spec = {**ONE, "nodeName": "node-a", "readinessGates": [{"conditionType": "good"}]}
    state = {
        "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [{"type": "good", "status": "True"}],
    }
    made = cells(document("Pod", spec=spec, status=state), NOW)
    assert made[4:] == ["120m", "10.0.0.1", "node-a", "<none>", "1/1"]


def ports(*numbers: int) -> list[Json]:
    return [{"port": number} for number in numbers]


BALANCED: Json = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}}
META_NODE: Json = {**META, "labels": {"node-role.kubernetes.io/control-plane": ""}}
NODE_STATUS: Json = {
    "conditions": [{"type": "Ready", "status": "True"}],
    "nodeInfo": {"kubeletVersion": "v1.37.1", "osImage": "Linux"},
    "addresses": [{"type": "InternalIP", "address": "192.168.0.1"}],
}
WORKLOAD: Json = {
    "replicas": 3,
    "selector": {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["b", "a"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "new", "operator": "Exists"},
        ],
    },
    "template": {"spec": {**TWO, "nodeSelector": {"disk": "fast"}}},
}
SELECTOR = "app=web,tier in (a,b),!old,new"
COUNTS: Json = {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}
DAEMONS: Json = {
    "desiredNumberScheduled": 5,
    "currentNumberScheduled": 4,
    "numberReady": 3,
    "updatedNumberScheduled": 2,
    "numberAvailable": 1,
}
MANY: Json = {"ports": ports(1), "addresses": [{"ip": f"10.0.0.{last}"} for last in range(1, 6)]}
OWNER: Json = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": True}
ROWS: list[tuple[str, Json, list[object]]] = [  # kind, fields -> cells after the name
    (
        "Service",
        {"spec": {"type": "NodePort", "clusterIPs": ["10.0.0.1"]}}
        | {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}},
        ["NodePort", "<none>", "<none>", "80:30080/TCP", "120m", "<none>"],
    ),
    (
        "Service",
        {"spec": {"type": "ExternalName", "externalName": "a.example"}},
        ["ExternalName", "<none>", "a.example", "<none>", "120m", "<none>"],
    ),
    (
        "Service",
        {"spec": {"type": "LoadBalancer", "clusterIPs": ["None"], "selector": {"b": "c"}}},
        ["LoadBalancer", "None", "<pending>", "<none>", "120m", "b=c"],
    ),
    (
        "Service",
        {"spec": {"type": "LoadBalancer", "externalIPs": ["192.0.2.9"]}, "status": BALANCED},
        ["LoadBalancer", "<none>", "192.0.2.1,lb.example,192.0.2.9", "<none>", "120m", "<none>"],
    ),
    ("Endpoints", {}, ["<none>", "120m"]),
    (
        "Endpoints",
        {"subsets": [MANY]},
        ["10.0.0.1:1,10.0.0.2:1,10.0.0.3:1 + 2 more...", "120m"],
    ),
    ("Endpoints", {"subsets": [{"addresses": [{"ip": "fd00::1"}]}]}, ["fd00::1", "120m"]),
    ("EndpointSlice", {"addressType": "IPv4"}, ["IPv4", "<unset>", "<unset>", "120m"]),
    (
        "EndpointSlice",
        {"addressType": "IPv6", "ports": [{}], "endpoints": [{"addresses": ["fd00::1"]}]},
        ["IPv6", "*", "fd00::1", "120m"],
    ),
    (
        "Node",
        {"metadata": META_NODE, "spec": {"unschedulable": True}, "status": NODE_STATUS},
        [
            *("Ready,SchedulingDisabled", "control-plane", "120m", "v1.37.1", "192.168.0.1"),
            *("<none>", "Linux", "<unknown>", "<unknown>"),
        ],
    ),
    ("Node", {}, ["Unknown", "<none>", "120m", "", *["<none>"] * 2, *["<unknown>"] * 3]),
    ("Namespace", {"status": {"phase": "Active"}}, ["Active", "120m"]),
    ("ConfigMap", {"data": {"a": "b"}, "binaryData": {"c": "d"}}, [2, "120m"]),
    ("Secret", {"type": "Opaque", "data": {"a": "b"}}, ["Opaque", 1, "120m"]),
    ("ServiceAccount", {}, [0, "120m"]),
    (
        "Deployment",
        {"spec": WORKLOAD, "status": COUNTS},
        ["2/3", 3, 1, "120m", "a,b", "i,j", SELECTOR],
    ),
    ("ReplicaSet", {"spec": WORKLOAD, "status": COUNTS}, [3, 3, 2, "120m", "a,b", "i,j", SELECTOR]),
    ("StatefulSet", {"spec": WORKLOAD, "status": COUNTS}, ["2/3", "120m", "a,b", "i,j"]),
    ("ControllerRevision", {"revision": 2}, ["<none>", 2, "120m"]),
    (
        "ControllerRevision",
        {"revision": 1, "metadata": {**META, "ownerReferences": [OWNER]}},
        ["statefulset.apps/db", 1, "120m"],
    ),
    (
        "DaemonSet",
        {"spec": WORKLOAD, "status": DAEMONS},
        [5, 4, 3, 2, 1, "disk=fast", "120m", "a,b", "i,j", SELECTOR],
    ),
    (
        "Ingress",
        {"spec": {"rules": [{"host": "a"}, {}], "tls": [{}], "ingressClassName": "c"}}
        | {"status": BALANCED},
        ["c", "a", "192.0.2.1,lb.example", "80, 443", "120m"],
    ),
    ("Ingress", {}, ["<none>", "*", "", "80", "120m"]),
    (
        "IngressClass",
        {"spec": {"controller": "x/y", "parameters": {"kind": "K", "apiGroup": "g", "name": "n"}}},
        ["x/y", "K.g/n", "120m"],
    ),
    ("ServiceCIDR", {"spec": {"cidrs": ["10.0.0.0/16", "fd00::/108"]}}, ["10.0.0.0/16,fd00::/108"]),
    (
        "IPAddress",
        {"spec": {"parentRef": {"resource": "services", "namespace": "a", "name": "b"}}},
        ["services/a/b", "120m"],
    ),
    ("Lease", {"spec": {"holderIdentity": "me"}}, ["me", "120m"]),
    ("NetworkPolicy", {"spec": {"podSelector": {}}}, ["<none>", "120m"]),
]


@pytest.mark.parametrize(("kind", "fields", "told"), ROWS)
def test_a_row(kind: str, fields: Json, told: list[object]) -> None:
    assert cells(document(kind, **fields), NOW)[1 : len(told) + 1] == told


def test_an_event() -> None:
    event = document(
        "Event",
        involvedObject={"kind": "Pod", "name": "p"},
        reason="Seen",
        type="Normal",
        message=" hello\n",
        lastTimestamp="2026-01-31T13:58:00Z",
        firstTimestamp="2026-01-31T12:00:00Z",
        source={"component": "kubelet", "host": "node-a"},
        count=3,
    )
    assert cells(event, NOW) == [
        *("2m", "Normal", "Seen", "pod/p", "", "kubelet, node-a", "hello", "120m", 3, "x"),
    ]


def test_every_kind_has_as_many_cells_as_columns() -> None:
    for kind in CELLS:
        if kind != "Scale":
            assert len(cells(document(kind), NOW)) == len(columns(kind)), kind
    listed = {each.kind for each in RESOURCES if "list" in each.verbs and not each.absent}
    assert listed <= {*CELLS}
