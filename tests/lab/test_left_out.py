"""A lab says what it leaves out of a manifest, and only that."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.api import decode, load
from kproxy.lab import left_out

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec: {{{}, containers: [{{name: web, image: web}}]}}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{hostNetwork: {}, containers: [{{name: web, image: web, {}}}]}}
"""
HOST_PORT = "ports: [{containerPort: 80}, {containerPort: 8080, hostPort: %d}]"
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web}}
spec:
  {}
  defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}
"""
PROBE = "httpGet: {port: 80, httpHeaders: [{name: Host, value: web}]}"
NO_POD = "this lab does not run it, so its Pods do not exist"
NO_POLICY = "labs enforce no policy: what it denies is delivered"


def found(manifest: str, *, ingress: bool = False) -> list[str]:
    decoded = decode(manifest, "f")
    assert not decoded.problems, decoded.problems
    (obj,) = decoded.objects
    return [each.field for each in left_out.of_object(obj, ingress=ingress)]


PODS = [  # field, its value, whether it is left out
    ("affinity", "{nodeAffinity: {}}", True),
    ("topologySpreadConstraints", "[{}]", True),
    ("tolerations", "[{operator: Exists}]", False),
    ("readinessGates", "[{}]", True),
    ("schedulingGates", "[{name: example.org/quota}]", True),
    ("schedulerName", "binpack", True),
    ("schedulerName", "default-scheduler", False),
    ("initContainers", "[{name: first, image: sh}]", True),
    ("hostAliases", "[{ip: 192.0.2.1, hostnames: [db]}]", True),
    ("dnsConfig", "{options: [{name: ndots, value: '1'}]}", True),
    ("dnsPolicy", "Default", True),
    ("dnsPolicy", "None", True),
    ("dnsPolicy", "ClusterFirst", False),
    ("hostname", "db-0", False),
    ("nodeSelector", "{zone: east}", False),
]


@pytest.mark.parametrize(("field", "value", "is_left_out"), PODS)
def test_fields_of_pods(field: str, value: str, is_left_out: bool) -> None:
    manifest = POD.format(f"{field}: {value}")
    assert found(manifest) == ([f"spec.{field}"] if is_left_out else [])
    assert found(f"{manifest}status: {{podIP: 10.244.0.5}}\n") == []  # it runs elsewhere


CONTAINERS = [  # fields of a container, on the host network -> what is left out
    (HOST_PORT % 443, False, "ports[1].hostPort"),
    (HOST_PORT % 8080, True, ""),
    ("livenessProbe: {tcpSocket: {port: 80}}", False, "livenessProbe"),
    ("startupProbe: {exec: {command: ['true']}}", False, "startupProbe"),
    ("lifecycle: {postStart: {exec: {command: ['true']}}}", False, "lifecycle.postStart"),
    ("lifecycle: {preStop: {sleep: {seconds: 1}}}", False, ""),
    (f"readinessProbe: {{{PROBE}}}", False, "readinessProbe.httpGet.httpHeaders"),
    ("readinessProbe: {httpGet: {port: 80}}", False, ""),
]


@pytest.mark.parametrize(("fields", "host_network", "field"), CONTAINERS)
def test_fields_of_containers(fields: str, host_network: bool, field: str) -> None:
    manifest = DEPLOYMENT.format(str(host_network).lower(), fields)
    place = "spec.template.spec.containers[0]"
    assert found(manifest) == ([f"{place}.{field}"] if field else [])


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("minReadySeconds: 5", []),
        ("paused: false", []),
        ("strategy: {type: Recreate}", []),
    ],
)
def test_fields_of_rollouts(field: str, expected: list[str]) -> None:
    manifest = DEPLOYMENT.format("false", "ports: []")
    assert found(manifest.replace("spec:", f"spec:\n  {field}", 1)) == expected


def test_the_first_readiness_probe_of_a_pod_decides() -> None:
    probe = "readinessProbe: {tcpSocket: {port: 80}}"
    manifest = DEPLOYMENT.format("false", f"{probe}}}, {{name: log, image: log, {probe}")
    assert found(manifest) == ["spec.template.spec.containers[1].readinessProbe"]


INGRESSES = [  # field, whether a pod runs an ingress -> what is left out
    ("", False, [""]),
    ("", True, []),
    ("ingressClassName: nginx", True, []),
    ("ingressClassName: traefik", True, ["spec.ingressClassName"]),
    ("ingressClassName: traefik", False, [""]),
]


@pytest.mark.parametrize(("field", "ingress", "expected"), INGRESSES)
def test_ingresses(field: str, ingress: bool, expected: list[str]) -> None:
    assert found(INGRESS.format(field), ingress=ingress) == expected


KINDS = [
    ("StatefulSet", NO_POD),
    ("DaemonSet", NO_POD),
    ("CronJob", NO_POD),
    ("NetworkPolicy", NO_POLICY),
    ("CiliumNetworkPolicy", NO_POLICY),
    ("HTTPRoute", "labs have no gateway for it: nothing answers there"),
    ("ConfigMap", "labs have no such kind, so it has no effect"),
    ("FlinkDeployment", "labs have no such kind, so it has no effect"),
]


@pytest.mark.parametrize(("kind", "outcome"), KINDS)
def test_kinds(kind: str, outcome: str) -> None:
    manifest = (
        f"{{apiVersion: example.com/v1, kind: {kind}, metadata: {{name: db, namespace: prod}}}}"
    )
    skipped = left_out.of_kinds(decode(manifest, "f").skipped)
    assert skipped == {(kind, "prod", "db"): (left_out.LeftOut("", outcome),)}


SECRETS = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: prod}}
- {apiVersion: v1, kind: Secret, metadata: {name: one}}
- {apiVersion: v1, kind: Secret, metadata: {name: two, namespace: prod}}
- {apiVersion: v1, kind: Secret, metadata: 3}
"""


def test_every_object_counts_but_namespaces_exist(tmp_path: Path) -> None:
    """So it is without a control plane."""
    (tmp_path / "f.yaml").write_text(SECRETS)
    decoded = load([tmp_path / "f.yaml"], stored=True)
    assert [*left_out.of_kinds(decoded.skipped)] == [
        ("Secret", "default", "one"),
        ("Secret", "prod", "two"),
        ("Secret", "default", ""),
    ]
    notices = {each.notice for each in decoded.skipped}
    assert set(decoded.notices) == notices
    assert len(notices) == 2


TAKEN = [  # a kind that control planes take, its version, more of it -> what is left out
    ("Namespace", "v1", "", None),
    ("Secret", "v1", "data: {a: Yg==}", None),
    ("ConfigMap", "v1", "data: {a: b}", None),
    ("ServiceAccount", "v1", "", None),
    ("NetworkPolicy", "networking.k8s.io/v1", "spec: {podSelector: {}}", [("", NO_POLICY)]),
    ("StatefulSet", "apps/v1", "spec: {template: {}, replicas: 2}", []),
    ("StatefulSet", "apps/v1", "", []),
    ("DaemonSet", "apps/v1", "spec: {minReadySeconds: 5, template: {}}", []),
    (
        *("ReplicaSet", "apps/v1", "spec: {template: {spec: {hostAliases: [{ip: 192.0.2.1}]}}}"),
        [("spec.template.spec.hostAliases", "these names are unknown")],
    ),
]


@pytest.mark.parametrize(("kind", "version", "more", "expected"), TAKEN)
def test_what_a_control_plane_takes(
    kind: str, version: str, more: str, expected: list[tuple[str, str]] | None
) -> None:
    text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: db, namespace: prod}}\n{more}\n"
    decoded = decode(text, "f")
    assert not decoded.problems
    found = left_out.of_kinds(decoded.skipped).get((kind, "prod", "db"))
    assert (None if found is None else [*found]) == expected


def test_words() -> None:
    field = left_out.LeftOut("spec.containers[0].ports[1].hostPort", "nothing answers")
    kind = left_out.LeftOut("", NO_POD)
    everything = {
        ("Deployment", "default", "web"): (field,),
        ("StatefulSet", "default", "db"): (kind,),
        ("DaemonSet", "prod", "log"): (kind,),
    }
    assert list(left_out.lines(everything)) == [
        (
            "Deployment web: spec.containers[0].ports[1].hostPort is not supported and left out:"
            " nothing answers"
        ),
        f"StatefulSet db, DaemonSet log: left out: {NO_POD}",
    ]
    assert left_out.in_short(everything) == (
        "3 things in the manifest were left out: hostPort of Deployment web, StatefulSet db,"
        " DaemonSet log"
    )
    one = {("NetworkPolicy", "default", "deny"): (kind,)}
    assert left_out.in_short(one) == ("1 thing in the manifest was left out: NetworkPolicy deny")
    assert left_out.in_short({}) == ""
