"""Findings in manifests: as they were written, and as a cluster prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.doctor import Diagnosis, Severity, diagnose
from kproxy.doctor.from_objects import from_manifests
from kproxy.errors import BadInput

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]}
"""
NODES = """
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: node-a}}
- {apiVersion: v1, kind: Node, metadata: {name: node-b}}
"""
SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.5], nodeName: NODE}]
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {nodeName: node-a, containers: [{name: web, image: web}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.5}], conditions: [{type: Ready, status: "READY"}]}
"""


def service(spec: str, namespace: str = "default") -> str:
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec: {{{spec}}}
"""


def examined(
    folder: Path, *texts: str, namespace: str = "", service: tuple[str, str] | None = None
) -> Diagnosis:
    file = folder / "manifests.yaml"
    file.write_text("".join(texts))
    facts = from_manifests([str(file)])
    return diagnose(facts, looked_at="", namespace=namespace, service=service)


def local(policy: str) -> str:
    return service(
        f"clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ipFamilies: [IPv4], {policy}: Local,"
        f" type: {'NodePort' if policy[0] == 'e' else 'ClusterIP'}, selector: {{app: web}},"
        f" ports: [{{port: 80{', nodePort: 30080' if policy[0] == 'e' else ''}}}]"
    )


OF_WEB = "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]"
ADMITTED = (
    "clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack"
)
FOUND = [  # manifests -> the findings
    ((DEPLOYMENT, service(OF_WEB)), []),
    (
        (DEPLOYMENT, service("selector: {app: wep}, ports: [{port: 80}]")),
        ["selector-matches-nothing"],
    ),
    ((DEPLOYMENT, service(OF_WEB, "prod")), ["selector-matches-nothing"]),
    ((DEPLOYMENT.replace("Deployment", "StatefulSet"), service(OF_WEB)), []),
    ((DEPLOYMENT, service("selector: {app: web}, ports: [{port: 80}]")), ["target-port-closed"]),
    (
        (DEPLOYMENT, service("selector: {app: web}, ports: [{port: 80, targetPort: https}]")),
        ["target-port-unnamed"],
    ),
    (
        (DEPLOYMENT, service("selector: {app: web}, ports: [{port: 80, targetPort: http}]")),
        [],
    ),
    ((POD.replace("READY", "True"), service(OF_WEB)), []),
    ((POD.replace("READY", "False"), service(OF_WEB)), ["pods-not-ready"]),
    (
        (
            POD.replace("READY", "False"),
            service(f"{OF_WEB}, publishNotReadyAddresses: true"),
        ),
        [],
    ),
    # No cluster has seen these.
    ((DEPLOYMENT, service(f"{OF_WEB}, type: LoadBalancer")), []),
    ((DEPLOYMENT, service(f"{OF_WEB}, type: LoadBalancer, clusterIP: 10.96.0.7")), []),
    (
        (DEPLOYMENT, service(f"{OF_WEB}, type: LoadBalancer, {ADMITTED}")),
        ["load-balancer-pending"],
    ),
    (
        (NODES, SLICE.replace("NODE", "node-a"), local("externalTrafficPolicy")),
        ["external-policy-local"],
    ),
    (
        (NODES, SLICE.replace("NODE", "elsewhere"), local("internalTrafficPolicy")),
        ["internal-policy-local"],
    ),
    # No Pod is on node-b: nobody there would ask.
    ((NODES, SLICE.replace("NODE", "node-a"), local("internalTrafficPolicy")), []),
]


@pytest.mark.parametrize(("manifests", "found"), FOUND)
def test_findings(tmp_path: Path, manifests: tuple[str, ...], found: list[str]) -> None:
    assert [each.id for each in examined(tmp_path, *manifests).findings] == found


TEMPLATE = """
    metadata: {labels: {app: web}}
    spec: {restartPolicy: Always, containers: [{name: web, image: web, ports: [
      {name: http, containerPort: 8080}]}]}
"""
WORKLOADS = {  # kind -> its manifest, without kind and metadata
    "StatefulSet": f"apiVersion: apps/v1\nspec:\n  serviceName: web\n  template:{TEMPLATE}",
    "DaemonSet": f"apiVersion: apps/v1\nspec:\n  template:{TEMPLATE}",
    "ReplicaSet": f"apiVersion: apps/v1\nspec:\n  template:{TEMPLATE}",
    "ReplicationController": f"apiVersion: v1\nspec:\n  template:{TEMPLATE}",
    "Job": f"apiVersion: batch/v1\nspec:\n  template:{TEMPLATE}",
    "CronJob": "apiVersion: batch/v1\nspec:\n  jobTemplate:\n   spec:\n    template:"
    + TEMPLATE.replace("\n    ", "\n     "),
    "Rollout": f"apiVersion: argoproj.io/v1alpha1\nspec:\n  template:{TEMPLATE}",
}


@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize(
    ("spec", "found", "seen"),
    [
        (OF_WEB, [], ""),
        ("selector: {app: web}, ports: [{port: 80, targetPort: http}]", [], ""),
        (
            "selector: {app: wep}, ports: [{port: 80}]",
            ["selector-matches-nothing"],
            "closest is KIND default/web, with app=web",
        ),
        (
            "selector: {app: web}, ports: [{port: 80}]",
            ["target-port-closed"],
            "80/TCP, but the containers of KIND default/web name only 8080/TCP",
        ),
        (
            "selector: {app: web}, ports: [{port: 80, targetPort: https}]",
            ["target-port-unnamed"],
            "KIND default/web is one",
        ),
    ],
)
def test_workloads_of_any_kind(
    tmp_path: Path, kind: str, spec: str, found: list[str], seen: str
) -> None:
    """None of their Pods exists, and no finding speaks of one."""
    workload = f"kind: {kind}\nmetadata: {{name: web}}\n{WORKLOADS[kind]}"
    findings = examined(tmp_path, workload, service(spec)).findings
    assert [each.id for each in findings] == found
    text = "\n".join(line for each in findings for line in each.evidence)
    assert seen.replace("KIND", kind) in text
    assert "Pod default/web" not in text


OWNED = """
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-1, ownerReferences: [{kind: Deployment, name: web, controller: true}]}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]}
"""


def test_a_replica_set_of_a_deployment_is_none_of_its_own(tmp_path: Path) -> None:
    wrong = service("selector: {app: web}, ports: [{port: 80, targetPort: https}]")
    (found,) = examined(tmp_path, DEPLOYMENT, OWNED, wrong).findings
    assert "1 of 1 workloads" in found.evidence[0]


@pytest.mark.parametrize(
    ("selector", "labels", "closest", "patch"),
    [
        ("{app: wep}", "{app: web}", "app=web", '{"app":"web"}'),
        ("{app: web, tier: x}", "{app: web}", "app=web", '{"app":"web","tier":null}'),
        ("{app: web}", "{run: web}", "run=web", '{"app":null,"run":"web"}'),
        ("{app: db}", "{app: web}", "", ""),
    ],
)
def test_what_is_closest(
    tmp_path: Path, selector: str, labels: str, closest: str, patch: str
) -> None:
    pod = POD.replace("READY", "True").replace("{app: web}", labels)
    wrong = service(f"selector: {selector}, ports: [{{port: 80}}]")
    (found,) = examined(tmp_path, pod, wrong).findings
    assert (f"closest is Pod default/web-1, with {closest}" in found.evidence) is bool(closest)
    commands = [each for each in found.remedy if " patch " in each]
    assert [patch in each for each in commands] == [True] * bool(closest)


@pytest.mark.parametrize(
    ("where", "severity"), [("node-a", Severity.WARNING), ("elsewhere", Severity.ERROR)]
)
def test_a_policy_is_worse_if_no_node_serves(
    tmp_path: Path, where: str, severity: Severity
) -> None:
    texts = (NODES, SLICE.replace("NODE", where), local("externalTrafficPolicy"))
    (found,) = examined(tmp_path, *texts).findings
    assert found.severity is severity
    assert ("node-b" in found.evidence[0]) is (severity is Severity.WARNING)
    assert "dropped there; in ipvs mode" in found.evidence[1]  # the mode is not known


RANGES = [  # ranges, addresses -> the finding
    ("[10.0.0.0/8]", "[{ip: 192.0.2.9}]", None),
    ("[127.0.0.0/8, 0.0.0.0/32]", "[{ip: 192.0.2.9}]", "source-ranges-shut-out"),
    ("[127.0.0.0/8, 10.0.0.0/8]", "[{ip: 192.0.2.9}]", None),
    ("['fd00::/8']", "[{ip: 192.0.2.9}]", "source-ranges-ignored"),
    ("[10.0.0.0/8]", "[{ip: 192.0.2.9, ipMode: Proxy}]", "source-ranges-ignored"),
    ("[10.0.0.0/8, 0.0.0.0/0]", "[{ip: 192.0.2.9}]", "source-ranges-ignored"),
    ("[0.0.0.0/0]", "[{ip: 192.0.2.9}]", None),
]


@pytest.mark.parametrize(("ranges", "ingress", "found"), RANGES)
def test_source_ranges(tmp_path: Path, ranges: str, ingress: str, found: str | None) -> None:
    text = service(
        f"{OF_WEB}, type: LoadBalancer, clusterIP: 10.96.0.7, loadBalancerSourceRanges: {ranges}"
    )
    text += f"status: {{loadBalancer: {{ingress: {ingress}}}}}\n"
    ids = [each.id for each in examined(tmp_path, DEPLOYMENT, text).findings]
    assert ids == ([found] if found else [])


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    found = examined(tmp_path, service(OF_WEB))
    assert found.findings == ()
    left = {each: left.why for left in found.left_out for each in left.checks}
    assert left["selector-matches-nothing"] == "no Pod and no workload is among the manifests"
    assert left["external-policy-local"] == "no EndpointSlice is among the manifests"
    assert left["foreign-rule"] == "only --lab and --node look at kernels"
    assert not {*left} & {*found.made}
    assert "load-balancer-pending" in found.made


def test_one_service_or_one_namespace(tmp_path: Path) -> None:
    wrong = "selector: {app: wep}, ports: [{port: 80}]"
    texts = (DEPLOYMENT, service(wrong), service(wrong, "prod"))
    both = examined(tmp_path, *texts)
    assert [each.object for each in both.findings] == ["Service default/web", "Service prod/web"]
    (one,) = examined(tmp_path, *texts, namespace="prod").findings
    assert one.object == "Service prod/web"
    (one,) = examined(tmp_path, *texts, service=("default", "web")).findings
    assert one.object == "Service default/web"
    with pytest.raises(BadInput, match="there is no Service prod/other; there are: prod/web"):
        examined(tmp_path, *texts, namespace="prod", service=("prod", "other"))
    with pytest.raises(BadInput, match=r"no Service is in namespace prdo; .* default, prod"):
        examined(tmp_path, *texts, namespace="prdo")


def test_bad_manifests(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        from_manifests([str(tmp_path / "none.yaml")])
