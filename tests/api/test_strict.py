"""Submitted manifests are decoded strictly, as under kubectl; stored ones as kube-proxy does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kproxy.api import decode, decode_texts
from kproxy.api.go import time_problem
from kproxy.api.types import EndpointSlice, Service
from tests.api.objects import (
    DEPLOYMENT,
    ENDPOINTS,
    INGRESS,
    NODE,
    POD,
    SERVICE,
    SLICE,
    Manifest,
    edited,
    subject,
)

STRICT = "strict decoding error: "
UNMARSHAL = "json: cannot unmarshal "
FIELD = "Go struct field"
LAYOUT = '"2006-01-02T15:04:05Z07:00"'
REFUSED: list[tuple[Manifest, str, object, str]] = [  # what is wrong -> the server's words
    (SERVICE, "spec.foo", 1, f'{STRICT}unknown field "spec.foo"'),
    (SERVICE, "foo", None, f'{STRICT}unknown field "foo"'),
    (SERVICE, "metadata.Name", "a", f'{STRICT}unknown field "metadata.Name"'),
    (SERVICE, "spec.ports[1].nodeport", 1, f'{STRICT}unknown field "spec.ports[1].nodeport"'),
    (SLICE, "endpoints[0].hints.zones", [], f'{STRICT}unknown field "endpoints[0].hints.zones"'),
    (ENDPOINTS, "subsets[0].ips", [], f'{STRICT}unknown field "subsets[0].ips"'),
    (POD, "spec.containers[0].port", 1, f'{STRICT}unknown field "spec.containers[0].port"'),
    (DEPLOYMENT, "spec.replica", 1, f'{STRICT}unknown field "spec.replica"'),
    (INGRESS, "spec.host", "a", f'{STRICT}unknown field "spec.host"'),
    (NODE, "spec.taint", [], f'{STRICT}unknown field "spec.taint"'),
    (
        SERVICE,
        "spec.ports[0].port",
        "80",
        f"{UNMARSHAL}string into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    (
        SERVICE,
        "spec.ports[0].port",
        2**31,
        f"{UNMARSHAL}number 2147483648 into {FIELD} ServicePort.spec.ports.port of type int32",
    ),
    (
        SERVICE,
        "spec.type",
        7,
        f"{UNMARSHAL}number into Go struct field ServiceSpec.spec.type of type v1.ServiceType",
    ),
    (
        SERVICE,
        "spec.ports",
        {"port": 80},
        f"{UNMARSHAL}object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
    ),
    (
        SERVICE,
        "spec.publishNotReadyAddresses",
        "yes",
        f"{UNMARSHAL}string into {FIELD} ServiceSpec.spec.publishNotReadyAddresses of type bool",
    ),
    (
        SERVICE,
        "spec.ports[0].targetPort",
        [1],
        f"{UNMARSHAL}array into Go value of type int32",
    ),
    (
        SLICE,
        "ports[0].port",
        True,
        f"{UNMARSHAL}bool into Go struct field EndpointPort.ports.port of type int32",
    ),
    (
        POD,
        "metadata.creationTimestamp",
        "2024-01-01",
        f'parsing time "2024-01-01" as {LAYOUT}: cannot parse "" as "T"',
    ),
]


@pytest.mark.parametrize(("manifest", "path", "value", "said"), REFUSED)
def test_refused(manifest: Manifest, path: str, value: object, said: str) -> None:
    found = decode(json.dumps(edited(manifest, path, value)), "f.json")
    kind, version = manifest["kind"], manifest["apiVersion"].rpartition("/")[2]
    what = f'{kind} in version "{version}" cannot be handled as a {kind}'
    assert (found.objects, found.problems) == (
        (),
        (f"f.json:1: {subject(manifest)}{what}: {said}",),
    )


TYPO = """\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
  - port: 80
    nodeport: 30080
"""


@pytest.mark.parametrize(
    ("wrong", "line"),
    [("", 8), ("- port: x", 7), ("clusterip: 10.0.0.1\n  ports:\n  - port: 80", 6)],
)
def test_the_line_of_the_first_one(wrong: str, line: int) -> None:
    text = TYPO if not wrong.startswith("c") else TYPO.replace("ports:\n  - port: 80", wrong)
    text = text.replace("- port: 80", wrong) if wrong.startswith("-") else text
    (problem,) = decode(text, "f").problems
    assert problem.startswith(f'f:{line}: Service web: Service in version "v1" cannot be handled')


def test_all_that_is_unknown_or_repeated_is_told_in_the_order_of_the_text() -> None:
    text = (
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "name": "b"},'
        ' "a": 1, "spec": {"type": "NodePort", "type": "", "ports": [{"b": 1}]}}'
    )
    (problem,) = decode(text, "f.json").problems
    assert problem.partition(STRICT)[2] == (
        'duplicate field "metadata.name", unknown field "a", duplicate field "spec.type",'
        ' unknown field "spec.ports[0].b"'
    )


def test_an_unknown_field_is_told_once_and_at_most_a_hundred_are() -> None:
    text = (
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": {"b": "1",'
        ' "c": "2", "b": "3"}}, "spec": {"a": 1, "ports": [{"port": 80, "b": 1}], "a": 2,'
        ' "ports": [{"port": 80, "b": 1, "d": 1}]}}'
    )
    (problem,) = decode(text, "f.json").problems
    assert problem.partition(STRICT)[2] == (
        'duplicate field "metadata.labels.b", unknown field "spec.a",'
        ' unknown field "spec.ports[0].b", duplicate field "spec.ports",'
        ' unknown field "spec.ports[0].d"'
    )
    many = edited(SERVICE, "spec", SERVICE["spec"] | {f"x{i}": 1 for i in range(200)})
    (problem,) = decode(json.dumps(many), "f.json").problems
    assert problem.count("unknown field") == 100


FORM = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
NO_QUANTITY = f"quantities must match the regular expression '{FORM}'"
VALID: list[object] = ["1", 1, 0.5, "-1.5Gi", "1e3", " 1m ", None]
MALFORMED: list[object] = ["x", "", "1.2.3", "1 Gi", "1Gib", True, []]
QUANTITIES: list[tuple[object, list[str]]] = [(each, []) for each in VALID]
QUANTITIES += [(each, [NO_QUANTITY]) for each in MALFORMED]
QUANTITIES += [("1mM", ["unable to parse quantity's suffix"])]


@pytest.mark.parametrize("path", ["limits", "requests"])
@pytest.mark.parametrize(("quantity", "problems"), QUANTITIES)
def test_quantities(path: str, quantity: object, problems: list[str]) -> None:
    manifest = edited(POD, "spec.containers[0].resources", {path: {"cpu": quantity}})
    found = decode(json.dumps(manifest), "f.json").problems
    assert [each.partition(" cannot be handled as a Pod: ")[2] for each in found] == problems


def test_a_wrong_type_hides_what_is_unknown() -> None:
    wrong = edited(edited(SERVICE, "spec.foo", 1), "metadata.labels", {"a": 1})
    (problem,) = decode(json.dumps(wrong), "f.json").problems
    assert problem.endswith("struct field ObjectMeta.metadata.labels of type string")


TIMES = [
    ("2024-02-29T23:59:59Z", ""),
    ("2024-01-31T12:00:00.123+05:30", ""),
    ("2024-13-01T00:00:00Z", ": month out of range"),
    ("2023-02-29T00:00:00Z", ": day out of range"),
    ("2024-01-01T24:00:00Z", ": hour out of range"),
    ("2024-01-01T00:00:00Z ", ': extra text: " "'),
    ("", f' as {LAYOUT}: cannot parse "" as "2006"'),
    ("2024-01-01 00:00:00Z", f' as {LAYOUT}: cannot parse " 00:00:00Z" as "T"'),
]


@pytest.mark.parametrize(("text", "problem"), TIMES)
def test_times(text: str, problem: str) -> None:
    assert time_problem(text) == (f'parsing time "{text}"{problem}' if problem else "")


def test_kube_proxy_reads_what_the_api_server_would_not_take_now() -> None:
    """Old objects are stored as they were; unknown fields come from newer API servers."""
    old: dict[str, Any] = {"clusterIP": "010.96.0.010", "clusterIPs": [], "ipFamilies": []}
    service = edited(SERVICE, "spec", SERVICE["spec"] | old | {"foo": 1, "sessionAffinity": ""})
    slices = edited(edited(SLICE, "endpoints[0].addresses", ["010.244.0.5"]), "ports[0].port", 0)
    found = decode_texts({"a": json.dumps(service), "b": json.dumps(slices)})
    assert found.problems == ()
    read, endpoints = found.objects
    assert isinstance(read, Service)
    assert (read.spec.cluster_ip, read.spec.session_affinity) == ("10.96.0.10", "None")
    assert isinstance(endpoints, EndpointSlice)
    assert endpoints.endpoints[0].addresses == ("10.244.0.5",)


def test_a_control_plane_gets_what_was_written() -> None:
    service = edited(SERVICE, "spec.externalIPs", ["FD00::0:1"])
    (obj,) = decode(json.dumps(service), "f.json").objects
    assert isinstance(obj, Service)
    assert obj.spec.external_ips == ("FD00::0:1",)
    (read,) = decode_texts({"f.json": json.dumps(service)}).objects
    assert isinstance(read, Service)
    assert read.spec.external_ips == ("fd00::1",)
