"""The objects of a lab without a control plane, as its API has them."""

from __future__ import annotations

import pytest

from kproxy.api.types import Metadata, Node, ServicePort
from kproxy.controlplane.plane import Json, Refused, Write
from kproxy.errors import BadInput
from kproxy.lab import Lab, LabSpec, NodeSpec, service
from kproxy.resident.document_plane import DocumentPlane
from kproxy.resident.proxy_commands import ProxyCommand
from kproxy.store import Update, object_key

WEB = service("web", cluster_ips=["10.96.0.20"], ports=[ServicePort(port=80)])
NODE = Node(metadata=Metadata(name="node-a"))


def config_map(name: str, **metadata: str) -> Json:
    metadata = {"name": name, "namespace": "default", **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_it_has_what_the_lab_has() -> None:
    plane = DocumentPlane([NODE])
    told: list[Write] = []
    there, revision = plane.follow(told.append)
    assert [each["metadata"]["name"] for each in there] == ["node-a"]
    assert revision == 1
    plane.follow_update(Update(upserts=(WEB,)))
    found = plane.get(object_key(WEB))
    assert found
    assert (found["apiVersion"], found["kind"]) == ("v1", "Service")
    assert found["spec"]["clusterIPs"] == ["10.96.0.20"]
    plane.follow_update(Update(upserts=(WEB,)))
    again = plane.get(object_key(WEB))
    assert again
    assert again["metadata"]["uid"] == found["metadata"]["uid"]
    plane.follow_update(Update(deletes=(object_key(WEB), ("Service", "default", "unknown"))))
    assert plane.get(object_key(WEB)) is None
    assert [each.revision for each in told] == [2, 3, 4]
    assert [each.document is None for each in told] == [False, False, True]


def test_what_cannot_be_written_is_refused() -> None:
    plane = DocumentPlane([])
    made, _ = plane.create(config_map("shop"))
    plane.create(config_map("other"), dry_run=True)
    with pytest.raises(Refused, match='configmaps "shop" already exists'):
        plane.create(config_map("shop"))
    plane.update(config_map("shop"), version=made["metadata"]["resourceVersion"])
    with pytest.raises(Refused, match="has been modified"):
        plane.update(config_map("shop"), version=made["metadata"]["resourceVersion"])
    with pytest.raises(Refused, match='configmaps "other" not found'):
        plane.delete(("ConfigMap", "default", "other"))


def test_other_proxies_are_compared_with_a_mode() -> None:
    spec = LabSpec(nodes=(NodeSpec(name="node-a"),))
    with pytest.raises(BadInput, match="need a mode"):
        Lab(spec, None, others=ProxyCommand(["true"]))
