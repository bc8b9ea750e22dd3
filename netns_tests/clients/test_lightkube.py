"""The client `lightkube`: objects, patches, watches, server-side apply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import (
    Container,
    PodSpec,
    PodTemplateSpec,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Node, Pod, Service
from lightkube.types import PatchType

from netns_tests.clients.served import Served


@pytest.fixture
def client(lab: Served, namespace: str) -> Iterator[Client]:
    config = KubeConfig.from_file(lab.kubeconfig)
    with Client(config=config, namespace=namespace, field_manager="lightkube") as found:
        yield found


def test_objects_are_made_changed_and_deleted(client: Client) -> None:
    made = client.create(ConfigMap(metadata=ObjectMeta(name="greeting"), data={"text": "hello"}))
    assert made.metadata
    assert made.metadata.uid
    patches: dict[PatchType, Any] = {
        PatchType.MERGE: {"data": {"merged": "yes"}},
        PatchType.STRATEGIC: {"metadata": {"labels": {"tier": "front"}}},
        PatchType.JSON: [{"op": "add", "path": "/data/added", "value": "yes"}],
    }
    for kind, patch in patches.items():
        client.patch(ConfigMap, "greeting", patch, patch_type=kind)
    found = client.get(ConfigMap, "greeting")
    assert found.data == {"text": "hello", "merged": "yes", "added": "yes"}
    assert found.metadata
    assert found.metadata.labels == {"tier": "front"}
    with pytest.raises(ApiError) as conflict:
        client.replace(made)
    assert conflict.value.status.code == 409
    assert [each.data for each in client.list(ConfigMap, labels={"tier": ["front", "back"]})]
    client.delete(ConfigMap, "greeting")
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "greeting")
    assert missing.value.status.code == 404


def test_lists_in_pages_and_in_all_namespaces(client: Client) -> None:
    every = [each.metadata.uid for each in client.list(Pod, namespace="*") if each.metadata]
    pages = client.list(Pod, namespace="*", chunk_size=1)
    assert [each.metadata.uid for each in pages if each.metadata] == every
    assert len(every) >= 3
    nodes = client.list(Node)
    assert [each.metadata.name for each in nodes if each.metadata] == ["node-a", "node-b"]


def test_watch_sees_what_is_there_and_what_comes(client: Client) -> None:
    client.create(ConfigMap(metadata=ObjectMeta(name="first")))
    found = []
    for kind, each in client.watch(ConfigMap, fields={"metadata.name": "first"}):
        found.append(kind)
        match kind:
            case "ADDED":
                client.patch(ConfigMap, "first", {"data": {"a": "b"}})
            case "MODIFIED" if each.data == {"a": "b"}:
                client.delete(ConfigMap, "first")
            case "DELETED":
                break
    assert found == ["ADDED", "MODIFIED", "DELETED"]


def service(**selector: str) -> Service:
    spec = ServiceSpec(ports=[ServicePort(port=80, name="http")], selector=selector)
    return Service(apiVersion="v1", kind="Service", metadata=ObjectMeta(name="applied"), spec=spec)


def test_server_side_apply(client: Client) -> None:
    applied = client.apply(service(app="web"))
    assert applied.spec
    assert applied.spec.clusterIP
    with pytest.raises(ApiError) as conflict:
        client.apply(service(app="other"), field_manager="another")
    assert conflict.value.status.code == 409
    forced = client.apply(service(app="other"), field_manager="another", force=True)
    assert forced.spec
    assert forced.spec.selector == {"app": "other"}


def test_wait_for_a_deployment(client: Client) -> None:
    labels = {"app": "shop"}
    pod = PodSpec(containers=[Container(name="shop", image="none")])
    wanted = Deployment(
        metadata=ObjectMeta(name="shop"),
        spec=DeploymentSpec(
            replicas=2,
            selector=LabelSelector(matchLabels=labels),
            template=PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=pod),
        ),
    )
    client.create(wanted)
    ready = client.wait(Deployment, "shop", for_conditions=["Available"])
    assert ready.status
    assert ready.status.readyReplicas == 2
    client.delete(Deployment, "shop")
