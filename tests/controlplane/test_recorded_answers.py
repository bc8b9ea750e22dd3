"""Submissions of which the answer of a Kubernetes 1.36 API server was recorded.

Each file of `recorded` has an object, what was stored `before` (created from this), the HTTP
`status`, the `message` (one that ends with … was cut), and values `stored` afterwards by their
path.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from msgspec.json import encode

from kproxy.api import decode
from kproxy.api.types import KubernetesObject, Service
from kproxy.controlplane.cluster import Cluster
from kproxy.controlplane.kubectl_apply import merged
from kproxy.errors import BadInput
from kproxy.store import object_key

RECORDED = sorted((Path(__file__).parent / "recorded").iterdir())
STATUS = {" cannot be handled as a ": 400, " is invalid: ": 422}  # by what the message says


def submit(cluster: Cluster, manifest: dict[str, Any]) -> str:
    """Submit a manifest; return the message of its refusal."""
    found = decode(json.dumps(manifest), "f.json")
    try:
        cluster.apply(found.objects)
    except BadInput as error:
        (message,) = error.problems
        return message
    place = f"f.json:1: {manifest['kind']} {manifest['metadata']['name']}: "
    return "".join(found.problems).removeprefix(place)


def only(manifest: dict[str, Any]) -> KubernetesObject:
    (obj,) = decode(json.dumps(manifest), "f.json").objects
    return obj


def at(values: Any, path: str) -> object:
    for step in path.split("."):
        values = values[int(step)] if step.isdecimal() else values[step]
    return values


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_answer_is_that_of_the_api_server(path: Path) -> None:
    recorded = yaml.safe_load(path.read_text())
    cluster = Cluster(["10.96.0.0/16", "fd00:10:96::/112"], random=Random(0))
    manifest = recorded["object"]
    if "before" in recorded:
        assert submit(cluster, recorded["before"]) == ""
    if recorded.get("verb") == "apply":
        last, wanted = only(recorded["before"]), only(manifest)
        stored = cluster.object(object_key(wanted))
        assert isinstance(stored, Service)
        assert isinstance(last, Service)
        assert isinstance(wanted, Service)
        cluster.apply([merged(stored, last, wanted)])
        message = ""
    else:
        message = submit(cluster, manifest)

    expected = recorded.get("message", "")
    if expected.endswith("…"):
        assert message.startswith(expected.removesuffix("…"))
    else:
        assert message == expected
    if message:
        assert [code for said, code in STATUS.items() if said in message] == [recorded["status"]]
        return
    key = (manifest["kind"], "default", "x")
    values = json.loads(encode(cluster.object(key)))
    for place, value in recorded.get("stored", {}).items():
        assert at(values, place) == value


def test_a_load_balancer_without_node_ports_gets_new_ones_as_another_type() -> None:
    recorded = yaml.safe_load(
        (RECORDED[0].parent / "node-port-after-load-balancer.yaml").read_text()
    )
    cluster = Cluster(["10.96.0.0/16"], random=Random(0))
    assert submit(cluster, recorded["before"]) == ""
    assert submit(cluster, recorded["object"]) == ""
    (port,) = cluster.objects(Service)[0].spec.ports
    assert port.node_port not in (0, 30080)
