"""The client `kr8s`: objects, watches, commands in pods, forwarded ports."""

from __future__ import annotations

import json
import random
import socket
import urllib.request
from contextlib import suppress
from typing import Any

import kr8s
import pytest
from kr8s.objects import ConfigMap, Deployment, Service

from netns_tests.clients.served import TIMEOUT_S, Served

# It says so of every Kubernetes that is newer than itself.
pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")


@pytest.fixture
def api(lab: Served) -> Any:
    return kr8s.api(kubeconfig=str(lab.kubeconfig))


def free_port() -> int:
    """Return a port of loopback that no connection of others has: none that the kernel chooses.

    kr8s looks for one itself, but does not notice ports of connections.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as attempt, suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port


def config_map(api: Any, namespace: str, name: str) -> ConfigMap:
    metadata = {"name": name, "namespace": namespace}
    return ConfigMap({"metadata": metadata, "data": {"text": "hello"}}, api=api)


def test_objects_are_made_changed_and_deleted(api: Any, namespace: str) -> None:
    made = config_map(api, namespace, "greeting")
    made.create()
    made.patch({"data": {"to": "you"}})
    made.label({"tier": "front"})
    made.annotate({"why": "because"})
    (found,) = api.get("configmaps", namespace=namespace, label_selector={"tier": "front"})
    assert found.data == {"text": "hello", "to": "you"}
    assert found.annotations["why"] == "because"
    made.delete()
    assert not made.exists()
    with pytest.raises(kr8s.NotFoundError):
        made.refresh()


def test_watch(api: Any, namespace: str) -> None:
    made = config_map(api, namespace, "watched")
    made.create()
    found = []
    for kind, each in api.watch("configmaps", namespace=namespace):
        if each.name != "watched":
            continue
        found.append(kind)
        if kind == "ADDED":
            made.patch({"data": {"to": "you"}})
        elif kind == "MODIFIED":
            made.delete()
        else:
            break
    assert found == ["ADDED", "MODIFIED", "DELETED"]


def test_scale_and_wait(api: Any) -> None:
    web = Deployment.get("web", namespace="default", api=api)
    former = web.replicas
    web.scale(former + 1)
    web.wait(f"jsonpath='{{.status.readyReplicas}}'={former + 1}", timeout=TIMEOUT_S)
    assert len(web.pods()) == former + 1
    web.scale(former)
    web.wait(f"jsonpath='{{.status.replicas}}'={former}", timeout=TIMEOUT_S)


def test_exec_in_a_pod(api: Any) -> None:
    (pod,) = api.get("pods", "shell", namespace="default")
    done = pod.exec(["sh", "-c", "hostname; exit 3"], check=False)
    assert (done.returncode, done.stdout) == (3, b"shell\n")


def test_logs_of_a_pod_that_was_asked(api: Any) -> None:
    """The one that answers writes of it."""
    (shell,) = api.get("pods", "shell", namespace="default")
    said = json.loads(shell.exec(["curl", "-sS", "http://web.default"]).stdout)
    (pod,) = api.get("pods", said["pod"], namespace="default")
    assert [*pod.logs()]


@pytest.mark.parametrize("what", ["pod", "service"])
def test_port_forward(api: Any, what: str) -> None:
    web = Service.get("web", namespace="default", api=api)
    target = web.ready_pods()[0] if what == "pod" else web
    with (
        target.portforward(remote_port=8080, local_port=free_port()) as local,
        urllib.request.urlopen(f"http://127.0.0.1:{local}", timeout=TIMEOUT_S) as answer,
    ):
        assert json.load(answer)["pod"].startswith("web-")
