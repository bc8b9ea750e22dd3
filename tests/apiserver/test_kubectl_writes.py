"""The real kubectl applies, explains and edits by the schemas, patches and managers of the API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.served import Served

KUBECTL = Path(sys.executable).with_name("kubectl")
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: nginx, ports: [{containerPort: 80}]}
"""


class Kubectl:
    """kubectl with a kubeconfig and folders of its own."""

    def __init__(self, served: Served, folder: Path) -> None:
        self._folder = folder
        self._kubeconfig = served.kubeconfig(folder)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "KUBECONFIG": str(self._kubeconfig),
            "HOME": str(self._folder),
            "PATH": "/usr/bin:/bin",
        }
        return subprocess.run(
            [str(KUBECTL), *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ok(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *arguments: str) -> Any:
        return json.loads(self.ok("get", *arguments, "-o", "json", "--show-managed-fields"))


@pytest.fixture
def kubectl(served: Served, tmp_path: Path) -> Kubectl:
    return Kubectl(served, tmp_path)


def managers(document: Any) -> list[tuple[str, str]]:
    found = document["metadata"]["managedFields"]
    return [(each["manager"], each["operation"]) for each in found]


def test_apply_on_the_clients_side(kubectl: Kubectl) -> None:
    assert kubectl.ok("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web created\n"
    assert kubectl.ok("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web unchanged\n"
    other = DEPLOYMENT.replace("replicas: 2", "replicas: 3").replace(
        "ports: [{containerPort: 80}]", "ports: [{containerPort: 81}]"
    )
    differs = kubectl.run("diff", "-f", "-", stdin=other)
    assert differs.returncode == 1
    assert "+  replicas: 3" in differs.stdout
    assert kubectl.ok("apply", "-f", "-", stdin=other) == "deployment.apps/web configured\n"
    made = kubectl.get("deployment", "web")
    assert made["spec"]["replicas"] == 3
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert [each["containerPort"] for each in container["ports"]] == [81]
    assert managers(made) == [("kubectl-client-side-apply", "Update")]


def test_apply_on_the_servers_side(kubectl: Kubectl) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    done = "deployment.apps/web serverside-applied\n"
    assert kubectl.ok(*apply, stdin=DEPLOYMENT) == done
    first = kubectl.get("deployment", "web")
    assert managers(first) == [("kubectl", "Apply")]
    assert kubectl.ok(*apply, stdin=DEPLOYMENT) == done
    assert kubectl.get("deployment", "web") == first
    kubectl.ok("scale", "deployment", "web", "--replicas", "5")
    refused = kubectl.run(*apply, stdin=DEPLOYMENT)
    assert refused.returncode == 1
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in (
        refused.stderr
    )
    assert kubectl.ok(*apply, "--force-conflicts", stdin=DEPLOYMENT) == done
    assert kubectl.get("deployment", "web")["spec"]["replicas"] == 2


def test_from_the_clients_side_to_the_servers(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", stdin=DEPLOYMENT)
    other = DEPLOYMENT.replace("replicas: 2", "replicas: 4")
    other = other.replace(", labels: {app: web}}", "}", 1)
    done = kubectl.run("apply", "--server-side", "-f", "-", stdin=other)
    assert (done.returncode, done.stderr) == (0, "")  # no warning of a migration that failed
    made = kubectl.get("deployment", "web")
    assert made["spec"]["replicas"] == 4
    assert "labels" not in made["metadata"]
    assert ("kubectl", "Apply") in managers(made)
    assert ("kubectl-client-side-apply", "Update") not in managers(made)


def test_unknown_and_mistyped_fields(kubectl: Kubectl) -> None:
    unknown = DEPLOYMENT.replace("replicas: 2", "replicaz: 2")
    refused = kubectl.run("create", "-f", "-", stdin=unknown)
    assert 'strict decoding error: unknown field "spec.replicaz"' in refused.stderr
    mistyped = DEPLOYMENT.replace("replicas: 2", "replicas: two")
    refused = kubectl.run("create", "-f", "-", stdin=mistyped)
    assert "unmarshal string into Go struct field DeploymentSpec.spec.replicas" in refused.stderr


def test_a_patch_that_makes_no_object(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", stdin=DEPLOYMENT)
    patch = ("patch", "deployment", "web", "-p")
    refused = kubectl.run(*patch, '{"spec": {"replicas": "two"}}')
    assert refused.stderr.startswith(
        'The request is invalid: patch: Invalid value: "map[spec:map[replicas:two]]": json: cannot'
    )
    refused = kubectl.run(*patch, '{"spec": {"replicas": "two"}}', "--type", "merge")
    assert 'The request is invalid: patch: Invalid value: "{\\"' in refused.stderr


def test_server_side_apply_declares_every_field(kubectl: Kubectl) -> None:
    unknown = DEPLOYMENT.replace("replicas: 2", "replicaz: 2")
    refused = kubectl.run("apply", "--server-side", "-f", "-", stdin=unknown)
    assert refused.stderr == (
        "Error from server: failed to create typed patch object (default/web; apps/v1, "
        "Kind=Deployment): .spec.replicaz: field not declared in schema\n"
    )


def test_what_kubectl_generates(kubectl: Kubectl) -> None:
    kubectl.ok("create", "deployment", "web", "--image", "nginx", "--port", "80")
    kubectl.ok("create", "service", "clusterip", "web", "--tcp", "80:8080")
    kubectl.ok("create", "configmap", "c", "--from-literal", "a=b")
    kubectl.ok("set", "image", "deployment/web", "nginx=redis")
    kubectl.ok("label", "deployment/web", "tier=front")
    patch = '[{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]'
    kubectl.ok("patch", "service", "web", "--type", "json", "-p", patch)
    made = kubectl.get("deployment", "web")
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "redis"
    assert made["metadata"]["labels"]["tier"] == "front"
    names = {name for name, _ in managers(made)}
    assert names == {"kubectl-create", "kubectl-set", "kubectl-label"}
    assert kubectl.get("service", "web")["spec"]["ports"][0]["port"] == 81


def test_explain(kubectl: Kubectl) -> None:
    text = kubectl.ok("explain", "service.spec.ports")
    assert "FIELD: ports <[]ServicePort>" in text
    assert "The port that will be exposed by this service." in text
    recursive = kubectl.ok("explain", "deployment", "--recursive")
    assert "maxSurge\t<IntOrString>" in recursive
