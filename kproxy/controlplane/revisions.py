"""ControllerRevisions: the templates that a StatefulSet or a DaemonSet has had.

Source: pkg/controller/history and daemon/update.go of Kubernetes, v1.36
"""

from __future__ import annotations

from kproxy.controlplane.deployments import annotations_of, template_hash
from kproxy.controlplane.plane import Json
from kproxy.controlplane.pod_templates import controller_reference
from kproxy.controlplane.stateful_sets import REVISION_LABEL, revision_name
from kproxy.controlplane.writes import Writes
from kproxy.store import ObjectKey


def keep(document: Json, writes: Writes) -> None:
    """Let there be a revision of the workload's template, the latest; forget the oldest."""
    documents = writes.registry.documents
    metadata = document["metadata"]
    owner: ObjectKey = (document["kind"], metadata["namespace"], metadata["name"])
    name = revision_name(document)
    known: dict[str, Json] = {}
    for key in documents.dependents(owner, metadata["uid"]):
        if key[0] == "ControllerRevision" and (found := documents.get(key)):
            known[key[2]] = found
    own, others = known.get(name), [each for key, each in known.items() if key != name]
    latest = max((each["revision"] for each in others), default=0) + 1
    if own and own["revision"] >= latest:
        return
    if own:
        writes.write_document({**own, "revision": latest})
    else:
        writes.write_document(_made(document, name, latest))
    most = document["spec"].get("revisionHistoryLimit", 10)
    others.sort(key=lambda each: int(each["revision"]))
    for each in others[: max(len(others) - most, 0)]:
        writes.remove(("ControllerRevision", owner[1], each["metadata"]["name"]))


def _made(document: Json, name: str, revision: int) -> Json:
    template, metadata = document["spec"]["template"], document["metadata"]
    reference = controller_reference(document)
    digest = template_hash(template)
    label = name if document["kind"] == "StatefulSet" else digest
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**labels, REVISION_LABEL: label},
            "annotations": annotations_of(document),
            "ownerReferences": [
                {
                    "apiVersion": reference.api_version,
                    "kind": reference.kind,
                    "name": reference.name,
                    "uid": reference.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        "revision": revision,
    }
