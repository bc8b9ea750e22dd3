"""The wording of what is refused in a Pod, and what a lab leaves out of one with a notice."""

from __future__ import annotations

import json

import pytest

from kproxy.api import decode
from kproxy.api.types import HTTPGetAction, Pod, Probe
from tests.api.objects import ABSENT, POD, Manifest, edited, problems_of, subject
from tests.api.test_validation import (
    NOT_A_LABEL,
    NOT_A_LABEL_VALUE,
    NOT_A_PORT_NAME,
    NOT_QUALIFIED,
    RANGE,
)

MAIN = "spec.containers[0]"
PROBE = f"{MAIN}.readinessProbe"
PRE_STOP = f"{MAIN}.lifecycle.preStop"
NEGATIVE = "must be greater than or equal to 0"
HTTP = {"httpGet": {"port": 8080}}
TCP = {"tcpSocket": {"port": 8080}}
EXEC = {"exec": {"command": ["true"]}}
TOO_MANY = "may not specify more than 1 handler type"

RUNS_HERE = edited(edited(POD, "status", {"phase": "Pending"}), "spec.nodeName", ABSENT)
RUNS_HERE = edited(edited(RUNS_HERE, PROBE, HTTP), PRE_STOP, {"sleep": {"seconds": 5}})
ELSEWHERE = edited(RUNS_HERE, "status", {"podIP": "10.244.0.5"})

INVALID: list[tuple[str, object, dict[str, str]]] = [  # path, value -> field, what is said of it
    *(
        (
            "metadata.labels",
            {key: "b"},
            {
                f"metadata.labels[{key}]": (
                    f"'{key}' is not a qualified name: what is before the / is not a DNS name"
                )
            },
        )
        for key in ("/a", "-/a", "a/b/c", "A/b")
    ),
    ("metadata.labels", {"a": "-"}, {"metadata.labels.a": f"'-' {NOT_A_LABEL_VALUE}"}),
    (
        "metadata.labels",
        {"x" * 64: "b"},
        {
            f"metadata.labels.{'x' * 64}": (
                f"'{'x' * 64}' has 64 characters after its prefix; 63 are allowed"
            )
        },
    ),
    ("spec.nodeSelector", {"a b": "c"}, {"spec.nodeSelector[a b]": f"'a b' {NOT_QUALIFIED}"}),
    (
        "spec.terminationGracePeriodSeconds",
        -1,
        {"spec.terminationGracePeriodSeconds": f"-1 {NEGATIVE}"},
    ),
    (
        "spec.terminationGracePeriodSeconds",
        4,
        {
            f"{PRE_STOP}.sleep": (
                "5 must be non-negative and less than terminationGracePeriodSeconds (4)"
            )
        },
    ),
    (
        f"{PROBE}.periodSeconds",
        2**31,
        {f"{PROBE}.periodSeconds": "2147483648 does not fit into 32 bits"},
    ),
    (
        "spec.restartPolicy",
        "Sometimes",
        {"spec.restartPolicy": "expected Always, OnFailure or Never, got 'Sometimes'"},
    ),
    ("spec.containers", [], {"spec.containers": "at least one container is needed"}),
    (f"{MAIN}.name", "a.b", {f"{MAIN}.name": f"'a.b' {NOT_A_LABEL}"}),
    (f"{MAIN}.image", ABSENT, {f"{MAIN}.image": "missing"}),
    (f"{MAIN}.ports[0].name", "8080", {f"{MAIN}.ports[0].name": f"'8080' {NOT_A_PORT_NAME}"}),
    (f"{MAIN}.ports[0].name", "a--b", {f"{MAIN}.ports[0].name": f"'a--b' {NOT_A_PORT_NAME}"}),
    (
        f"{MAIN}.ports[0].name",
        "x" * 16,
        {f"{MAIN}.ports[0].name": f"'{'x' * 16}' has 16 characters; 15 are allowed"},
    ),
    (
        f"{MAIN}.ports[0].protocol",
        "HTTP",
        {f"{MAIN}.ports[0].protocol": "expected TCP, UDP or SCTP, got 'HTTP'"},
    ),
    (f"{MAIN}.ports[0].containerPort", 65536, {f"{MAIN}.ports[0].containerPort": f"65536 {RANGE}"}),
    (f"{MAIN}.ports[0].hostPort", 65536, {f"{MAIN}.ports[0].hostPort": f"65536 {RANGE}"}),
    (
        f"{MAIN}.ports",
        [{"containerPort": 80, "hostPort": 81}, {"containerPort": 82, "hostPort": 81}],
        {f"{MAIN}.ports[1].hostPort": f"TCP 81 is used by {MAIN}.ports[0].hostPort already"},
    ),
    (
        f"{MAIN}.ports",
        [{"containerPort": 80, "hostPort": 81, "hostIP": "node-a"}],
        {f"{MAIN}.ports[0].hostIP": "'node-a' is not an IP address"},
    ),
    (
        "spec.dnsPolicy",
        "Node",
        {
            "spec.dnsPolicy": (
                "expected ClusterFirst, ClusterFirstWithHostNet, Default or None, got 'Node'"
            )
        },
    ),
    (
        f"{PROBE}.terminationGracePeriodSeconds",
        5,
        {f"{PROBE}.terminationGracePeriodSeconds": "must not be set for readinessProbes"},
    ),
    (f"{MAIN}.livenessProbe", {}, {f"{MAIN}.livenessProbe": "must specify a handler type"}),
    (
        f"{MAIN}.startupProbe",
        {**TCP, "successThreshold": 2, "periodSeconds": -1, "terminationGracePeriodSeconds": 0},
        {
            f"{MAIN}.startupProbe.periodSeconds": f"-1 {NEGATIVE}",
            f"{MAIN}.startupProbe.successThreshold": "2 must be 1",
            f"{MAIN}.startupProbe.terminationGracePeriodSeconds": "0 must be greater than 0",
        },
    ),
    (PROBE, {}, {PROBE: "must specify a handler type"}),
    (PROBE, {**HTTP, **TCP}, {f"{PROBE}.tcpSocket": TOO_MANY}),
    (PROBE, EXEC, {f"{PROBE}.exec": "is not supported; httpGet and tcpSocket are"}),
    (
        PROBE,
        {"grpc": {"port": 1}},
        {f"{PROBE}.grpc": "is not supported; httpGet and tcpSocket are"},
    ),
    (PROBE, {"httpGet": {}}, {f"{PROBE}.httpGet.port": "missing"}),
    (PROBE, {"httpGet": {"port": 0}}, {f"{PROBE}.httpGet.port": f"0 {RANGE}"}),
    (PROBE, {"httpGet": {"port": ""}}, {f"{PROBE}.httpGet.port": "missing"}),
    (PROBE, {"tcpSocket": {"port": 65536}}, {f"{PROBE}.tcpSocket.port": f"65536 {RANGE}"}),
    (PROBE, {"tcpSocket": {"port": "80"}}, {f"{PROBE}.tcpSocket.port": f"'80' {NOT_A_PORT_NAME}"}),
    (
        PROBE,
        {"httpGet": {"port": 80, "scheme": "HTTPS"}},
        {f"{PROBE}.httpGet.scheme": "HTTPS is not supported; HTTP is"},
    ),
    (
        PROBE,
        {"httpGet": {"port": 80, "scheme": "ftp"}},
        {f"{PROBE}.httpGet.scheme": "expected HTTP or HTTPS, got 'ftp'"},
    ),
    *(
        (f"{PROBE}.{name}", -1, {f"{PROBE}.{name}": f"-1 {NEGATIVE}"})
        for name in (
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        )
    ),
    (PRE_STOP, {}, {PRE_STOP: "must specify a handler type"}),
    (PRE_STOP, EXEC, {f"{PRE_STOP}.exec": "is not supported; sleep is"}),
    (PRE_STOP, HTTP, {f"{PRE_STOP}.httpGet": "is not supported; sleep is"}),
    (PRE_STOP, TCP, {f"{PRE_STOP}.tcpSocket": "is not supported; sleep is"}),
    (
        PRE_STOP,
        {**EXEC, "sleep": {"seconds": 1}},
        {f"{PRE_STOP}.sleep": TOO_MANY, f"{PRE_STOP}.exec": "is not supported; sleep is"},
    ),
    (
        PRE_STOP,
        {"sleep": {"seconds": -1}},
        {
            f"{PRE_STOP}.sleep": (
                "-1 must be non-negative and less than terminationGracePeriodSeconds (30)"
            )
        },
    ),
    (
        PRE_STOP,
        {"sleep": {"seconds": 31}},
        {
            f"{PRE_STOP}.sleep": (
                "31 must be non-negative and less than terminationGracePeriodSeconds (30)"
            )
        },
    ),
]

VALID: list[tuple[Manifest, str, object]] = [
    (RUNS_HERE, PRE_STOP, {"sleep": {"seconds": 0}}),
    (RUNS_HERE, PRE_STOP, {"sleep": {"seconds": 30}}),
    (RUNS_HERE, PROBE, {"tcpSocket": {"port": "web"}, "initialDelaySeconds": 0}),
    (RUNS_HERE, "metadata.labels", {"example.com/App_1": "", "b": "1.a-B"}),
    (RUNS_HERE, "spec.terminationGracePeriodSeconds", 2**31),
    (RUNS_HERE, f"{MAIN}.resources", {"limits": {"cpu": 1}}),
    (
        RUNS_HERE,
        f"{MAIN}.ports",
        [
            {"containerPort": 80, "hostPort": 81},
            {"containerPort": 80, "hostPort": 81, "protocol": "UDP"},
            {"containerPort": 82, "hostPort": 81, "hostIP": "192.0.2.1"},
        ],
    ),
    # The API server stores these, and they are no more than objects.
    (ELSEWHERE, PROBE, EXEC),
    (ELSEWHERE, PROBE, {"httpGet": {"port": 80, "scheme": "HTTPS"}}),
    (ELSEWHERE, PRE_STOP, EXEC),
    (ELSEWHERE, "spec.containers", []),
    (ELSEWHERE, f"{MAIN}.image", ABSENT),
]


@pytest.mark.parametrize(("path", "value", "said"), INVALID)
def test_invalid(path: str, value: object, said: dict[str, str]) -> None:
    wanted = [f"{field}: {text}" for field, text in said.items()]
    assert problems_of(edited(RUNS_HERE, path, value)) == wanted


@pytest.mark.parametrize(("manifest", "path", "value"), VALID)
def test_valid(manifest: Manifest, path: str, value: object) -> None:
    decoded = decode(json.dumps(edited(manifest, path, value)), "f")
    assert (decoded.problems, decoded.notices) == ((), ())


def test_names_are_unique_and_ports_may_repeat() -> None:
    ports = [{"name": "web", "containerPort": 8080}, {"name": "web", "containerPort": 8080}]
    manifest = edited(RUNS_HERE, f"{MAIN}.ports", ports)
    second = {"name": "main", "image": "b", "ports": [{"name": "web", "containerPort": 53}]}
    manifest["spec"]["containers"].append(second)
    decoded, name = decode(json.dumps(manifest), "f"), subject(manifest)
    assert decoded.problems == (
        f"f:1: {name}{MAIN}.ports[1].name: 'web' is used by {MAIN}.ports[0].name already",
        f"f:1: {name}spec.containers[1].name: 'main' is used by {MAIN}.name already",
    )
    assert decoded.notices == (
        f"f:1: {name}{MAIN}.ports[1]: duplicate port definition with {MAIN}.ports[0]",
    )


def test_on_the_host_network_a_host_port_is_the_container_port() -> None:
    port = {"containerPort": 80, "hostPort": 81}
    manifest = edited(edited(RUNS_HERE, f"{MAIN}.ports", [port]), "spec.hostNetwork", True)
    told = "80 must match `hostPort` when `hostNetwork` is true"
    assert problems_of(manifest) == [f"{MAIN}.ports[0].containerPort: {told}"]


def test_a_probe_of_a_port_that_the_container_has_not() -> None:
    decoded = decode(json.dumps(edited(RUNS_HERE, PROBE, {"tcpSocket": {"port": "dns"}})), "f")
    assert decoded.problems == ()
    told = "no port of this container is named 'dns'; the probe fails"
    assert decoded.notices == (f"f:1: {subject(RUNS_HERE)}{PROBE}.tcpSocket.port: {told}",)


def test_zeros_of_a_probe_are_its_defaults() -> None:
    zeros = dict.fromkeys(
        ("timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"), 0
    )
    probe = {"httpGet": {"port": 80, "path": ""}, **zeros}
    (pod,) = decode(json.dumps(edited(RUNS_HERE, PROBE, probe)), "f").objects
    assert isinstance(pod, Pod)
    assert pod.spec.containers[0].readiness_probe == Probe(
        http_get=HTTPGetAction(port=80, path="/"),
        initial_delay_seconds=0,
        timeout_seconds=1,
        period_seconds=10,
        success_threshold=1,
        failure_threshold=3,
    )
