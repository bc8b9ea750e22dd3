"""Every command of kubectl has the outcome that it has on any cluster, or says why it has not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from netns_tests.kubectl import reading, writing
from netns_tests.kubectl.clients import Asked, Kubectl

STORIES = {
    "read": reading.READ,
    "about": reading.ABOUT,
    "apply": writing.APPLY,
    "create": writing.CREATE,
    "change": writing.CHANGE,
    "roll": writing.ROLL,
    "delete": writing.WAIT_AND_DELETE,
    "nodes": writing.NODES,
    "pods": writing.PODS,
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_story(kubectl: Kubectl, story: tuple[Asked, ...]) -> None:
    for asked in story:
        kubectl.ask(asked)


@contextmanager
def lines(kubectl: Kubectl, command: str) -> Iterator[Iterator[str]]:
    """Yield the lines of a command that goes on; it ends with the block."""
    with subprocess.Popen(
        kubectl.argv(command),
        env=kubectl.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        try:
            yield iter(process.stdout)
        finally:
            process.kill()


def test_watch(kubectl: Kubectl) -> None:
    kubectl.ok("create configmap first")
    with lines(kubectl, "get configmaps -w") as told:
        assert next(told).split() == ["NAME", "DATA", "AGE"]
        assert next(told).split()[:2] == ["first", "0"]
        kubectl.ok("create configmap second --from-literal a=b")
        second = (each.split()[:2] for each in told)
        assert ["second", "1"] in second


def test_follow_and_forward(kubectl: Kubectl) -> None:
    """A forwarded port leads to a pod of the Service, whose log has the request."""
    kubectl.ok("apply -f web.yaml")
    kubectl.ok("wait --for condition=Available deployment/web --timeout 10s")
    for command in ("port-forward svc/web :80", "port-forward deployment/web :80"):
        with lines(kubectl, command) as told:
            found = re.search(r"127\.0\.0\.1:(\d+) -> 80", next(told))
            assert found
            connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
            connection.request("GET", "/asked")
            answered = connection.getresponse().read().decode()
            connection.close()
        pod = re.search(r'"pod": "(web-\d+)\.', answered)
        assert pod, answered
        with lines(kubectl, f"logs -f {pod[1]}") as log:
            assert any("/asked" in each for each in log)


def test_proxy(kubectl: Kubectl) -> None:
    with lines(kubectl, "proxy --port 0") as told:
        found = re.search(r"Starting to serve on 127\.0\.0\.1:(\d+)", next(told))
        assert found
        connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
        connection.request("GET", "/api/v1/namespaces/default")
        assert b'"name":"default"' in connection.getresponse().read()
        connection.close()
