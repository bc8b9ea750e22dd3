"""An operator written with kopf, as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netns_tests.clients.served import TIMEOUT_S, Served
from netns_tests.run.running import until

OPERATOR = Path(__file__).with_name("operator_of_labels.py")
MANIFEST = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "guest", "labels": {"greet": "please"}},
    "data": {"text": "hello"},
}


@pytest.fixture
def operator(lab: Served, namespace: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "kopf", "run", "--standalone", "-n", namespace, str(OPERATOR)],
        env={**os.environ, "KUBECONFIG": str(lab.kubeconfig)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_an_operator_labels_what_it_watches(
    lab: Served, namespace: str, operator: subprocess.Popen[str], tmp_path: Path
) -> None:
    def guest() -> dict[str, Any]:
        done = lab.machine.kproxy("get", "configmaps", "-n", namespace, "-o", "json")
        items = json.loads(done.stdout)["items"]
        found: dict[str, Any] = next(each for each in items if each["metadata"]["name"] == "guest")
        return found

    def labelled(text: str) -> bool:
        return bool(guest()["metadata"]["labels"].get("greeting") == text)

    path = tmp_path / "guest.json"
    for text in ("hello", "welcome"):
        path.write_text(json.dumps(MANIFEST | {"data": {"text": text}}))
        lab.machine.ok("apply", "-n", namespace, "-f", str(path))
        until(f"{text} is labelled", partial(labelled, text))
    assert guest()["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
    events = lab.machine.ok("get", "events", "-n", namespace, "-o", "json")
    assert {"Greeted"} <= {each["reason"] for each in json.loads(events)["items"]}
    lab.machine.ok("delete", "configmap", "guest", "-n", namespace)
    operator.terminate()
    said, _ = operator.communicate(timeout=TIMEOUT_S)
    assert "farewell, guest" in said
    assert operator.returncode == 0, said
    left = lab.machine.ok("get", "configmaps", "-n", namespace, "-o", "name").split()
    assert "configmap/guest" not in left
