"""kubectl itself against the API: what it prints, and how it exits."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.json import encode

from kproxy.controlplane.plane import Json
from tests.apiserver.asking import deployment, service
from tests.apiserver.served import PATIENCE_S, Served

KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
Ran = subprocess.CompletedProcess[str]
Kubectl = Callable[..., Ran]


@pytest.fixture
def kubectl(served: Served, tmp_path: Path) -> Kubectl:
    """Runs kubectl; `given` is its standard input."""
    config = served.kubeconfig(tmp_path)
    environment = {**os.environ, "KUBECONFIG": str(config), "HOME": str(tmp_path)}
    for name in ("default", "kube-system"):
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        served.plane.create({**document, "status": {"phase": "Active"}})

    def run(*arguments: str, given: object = None) -> Ran:
        return subprocess.run(
            [KUBECTL, *arguments],
            env=environment,
            input="" if given is None else encode(given).decode(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run


def said(ran: Ran) -> str:
    """Return what a command that went well has printed."""
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_apply_on_the_clients_side(kubectl: Kubectl) -> None:
    assert said(kubectl("apply", "-f", "-", given=deployment())) == "deployment.apps/web created\n"
    assert "unchanged" in said(kubectl("apply", "-f", "-", given=deployment()))
    assert "configured" in said(kubectl("apply", "-f", "-", given=deployment(5)))
    assert kubectl("diff", "-f", "-", given=deployment(5)).returncode == 0
    different = kubectl("diff", "-f", "-", given=deployment(6))
    assert different.returncode == 1
    assert "+  replicas: 6" in different.stdout


def test_apply_on_the_servers_side(kubectl: Kubectl) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    assert "serverside-applied" in said(kubectl(*apply, given=deployment()))
    said(kubectl("scale", "deploy/web", "--replicas=7"))
    conflict = kubectl(*apply, given=deployment(3))
    assert conflict.returncode == 1
    assert ".spec.replicas" in conflict.stderr
    said(kubectl(*apply, "--force-conflicts", given=deployment(3)))
    assert said(kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")) == "3"


def test_from_one_kind_of_apply_to_the_other(kubectl: Kubectl) -> None:
    said(kubectl("apply", "-f", "-", given=deployment()))
    said(kubectl("apply", "--server-side", "-f", "-", given=deployment(4)))
    assert said(kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")) == "4"


def test_commands_that_send_protobuf(kubectl: Kubectl) -> None:
    assert "created" in said(kubectl("create", "namespace", "school"))
    said(kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2"))
    said(kubectl("create", "service", "clusterip", "web", "--tcp=80:8080"))
    said(kubectl("create", "configmap", "notes", "--from-literal=a=b"))
    told = said(kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].targetPort}"))
    assert told == "8080"
    assert said(kubectl("auth", "can-i", "create", "pods")) == "yes\n"
    assert "teacher" in said(kubectl("auth", "whoami"))


def test_get(kubectl: Kubectl, served: Served) -> None:
    served.plane.create(service("web", selector={"app": "web"}))
    header, row = said(kubectl("get", "svc", "-o", "wide")).splitlines()
    assert header.split() == [
        *("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"),
    ]
    assert row.split()[:5] == ["web", "ClusterIP", "10.96.0.1", "<none>", "80/TCP"]
    assert said(kubectl("get", "svc", "-A")).splitlines()[1].startswith("default")
    assert said(kubectl("get", "svc", "-o", "name")) == "service/web\n"
    assert "clusterIP: 10.96.0.1" in said(kubectl("get", "svc", "web", "-o", "yaml"))
    assert "web" in said(kubectl("get", "svc", "--sort-by=.metadata.name"))
    assert "web" in said(kubectl("get", "all"))
    assert "No resources found" in kubectl("get", "svc", "-l", "x=y").stderr
    assert kubectl("get", "svc", "nothing").returncode == 1
    assert "web" in said(kubectl("describe", "svc", "web"))


def test_watching(kubectl: Kubectl, served: Served, tmp_path: Path) -> None:
    served.plane.create(service("web"))
    command = [str(KUBECTL), "get", "svc", "-w"]
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("NAME")
        assert process.stdout.readline().startswith("web")
        said(kubectl("label", "svc", "web", "x=y"))
        assert process.stdout.readline().startswith("web")
        process.terminate()


def test_changes(kubectl: Kubectl) -> None:
    said(kubectl("create", "-f", "-", given=deployment()))
    said(kubectl("create", "-f", "-", given=service("web")))
    commands = [
        ("label", "svc", "web", "x=y"),
        ("annotate", "svc", "web", "note=hello"),
        ("patch", "svc", "web", "-p", '{"spec":{"type":"NodePort"}}'),
        ("patch", "svc", "web", "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels"}]'),
        ("set", "image", "deploy/web", "web=nginx:2"),
        ("scale", "deploy", "web", "--replicas=4"),
        ("rollout", "restart", "deploy/web"),
        ("expose", "deploy", "web", "--name=other", "--port=80"),
        ("run", "pod", "--image=nginx"),
        ("wait", "--for=jsonpath={.spec.replicas}=4", "deploy/web"),
        ("replace", "-f", "-"),
        ("delete", "pod", "pod"),
        ("delete", "svc", "web", "other"),
        ("delete", "deploy", "--all"),
    ]
    for command in commands:
        said(kubectl(*command, given=deployment()))
    assert said(kubectl("get", "all")) == ""


def test_refusals_are_shown(kubectl: Kubectl) -> None:
    body = service("web", foo=1)
    refused = kubectl("create", "-f", "-", given=body)
    assert refused.returncode == 1
    assert 'strict decoding error: unknown field "spec.foo"' in refused.stderr
    crd: Json = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    crd["metadata"] = {"name": "a.b.c"}
    refused = kubectl("create", "--validate=false", "-f", "-", given=crd)
    assert "serves no custom resources" in refused.stderr
    assert "deprecated" in kubectl("get", "endpoints").stderr


def test_what_there_is(kubectl: Kubectl) -> None:
    listed = said(kubectl("api-resources", "-o", "wide"))
    assert "deployments" in listed
    assert "events.k8s.io/v1" in said(kubectl("api-versions"))
    assert "ports\t<[]ServicePort>" in said(kubectl("explain", "service.spec"))
    assert "Server Version: v1.37" in said(kubectl("version"))
    assert kubectl("get", "unknown").returncode == 1
