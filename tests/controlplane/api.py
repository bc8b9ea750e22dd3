"""A played cluster with the verbs of an API, and documents in short."""

from __future__ import annotations

from typing import Any

from kproxy.controlplane.document_verbs import DocumentVerbs
from kproxy.controlplane.plane import DeleteOptions, Json, Write
from kproxy.store import ObjectKey
from tests.controlplane.played import NODES, Played

SERVICE: Json = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
POD_SPEC: Json = {"containers": [{"name": "main", "image": "web:1", "command": ["serve"]}]}
TEMPLATE: Json = {
    "metadata": {"labels": {"app": "web"}},
    "spec": POD_SPEC,
}
SELECTOR: Json = {"matchLabels": {"app": "web"}}
WORKLOAD: Json = {"selector": SELECTOR, "template": TEMPLATE}
VERSIONS = {"Deployment": "apps/v1", "ReplicaSet": "apps/v1", "StatefulSet": "apps/v1"} | {
    "DaemonSet": "apps/v1",
    "Lease": "coordination.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}


def document(kind: str, name: str = "web", **parts: Any) -> Json:
    metadata = {"name": name, **parts.pop("metadata", {})}
    version = VERSIONS.get(kind, "v1")
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


class Api(Played):
    """A played cluster with the verbs of an API; it notes all writes."""

    def __init__(self, *documents: Json, **options: Any) -> None:
        super().__init__(*NODES, **options)
        self.verbs = DocumentVerbs(self.cluster)
        self.writes: list[Write] = []
        self.verbs.follow(self.writes.append)
        for each in documents:
            self.verbs.create(each)
        self.settle()

    def get(self, kind: str, name: str = "web", namespace: str = "default") -> Json:
        found = self.verbs.get((kind, namespace, name))
        assert found is not None
        return found

    def edit(self, kind: str, name: str = "web", **spec: Any) -> Json:
        """Change fields of a spec, as a patch does."""
        stored = self.get(kind, name)
        found, _ = self.verbs.update({**stored, "spec": {**stored["spec"], **spec}})
        self.settle()
        return found

    def edit_template(self, kind: str, **container: Any) -> None:
        template = self.get(kind)["spec"]["template"]
        containers = [{**template["spec"]["containers"][0], **container}]
        spec = {**template["spec"], "containers": containers}
        self.edit(kind, template={**template, "spec": spec})

    def end(self, key: ObjectKey, propagation: str = "Background", **options: Any) -> None:
        self.verbs.delete(key, DeleteOptions(propagation, **options))
        self.settle()

    def there(self, kind: str) -> list[str]:
        return [key[2] for key in self.cluster.documents.keys(kind)]

    def sizes(self) -> list[int]:
        found = map(self.cluster.documents.get, self.cluster.documents.keys("ReplicaSet"))
        return [each["spec"]["replicas"] for each in found if each]

    def told(self, kind: str, name: str = "web") -> tuple[str, ...]:
        events = map(self.cluster.documents.get, self.cluster.documents.keys("Event"))
        return tuple(
            each["reason"]
            for each in events
            if each
            and (each["involvedObject"]["kind"], each["involvedObject"]["name"]) == (kind, name)
        )


def pods(api: Api) -> list[Json]:
    return [api.get("Pod", each) for each in api.there("Pod")]


def uid(api: Api, name: str) -> str:
    found: str = api.get("ConfigMap", name)["metadata"]["uid"]
    return found
