"""The Lease by which a kubelet says that its Node is alive.

Source: pkg/kubelet/kubelet.go (nodeLeaseDurationSeconds, nodeLeaseRenewIntervalFraction) and
pkg/kubelet/util/nodelease.go of Kubernetes, v1.36
"""

from __future__ import annotations

from datetime import datetime

from kproxy.controlplane.plane import Json
from kproxy.store import ObjectKey

NAMESPACE = "kube-node-lease"
DURATION_S = 40
INTERVAL_S = 10.0


def lease_key(node: str) -> ObjectKey:
    return ("Lease", NAMESPACE, node)


def renewed(node: str, uid: str, now: datetime, former: Json | None) -> Json:
    """Return the Lease of a Node with this uid, renewed `now` (UTC).

    `former` is the Lease as it is stored, None if there is none.
    """
    owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
    metadata = {"name": node, "namespace": NAMESPACE, "ownerReferences": [owner]}
    spec = (former or {}).get("spec") or {}
    held = {
        "holderIdentity": node,
        "leaseDurationSeconds": DURATION_S,
        "renewTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    document = former or {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return {
        **document,
        "metadata": document.get("metadata") or metadata,
        "spec": {**spec, **held},
    }
