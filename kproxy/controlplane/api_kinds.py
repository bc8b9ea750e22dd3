"""The kinds of an API server that control planes treat in their own ways, and their names there.

Source: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class ApiKind(NamedTuple):
    """One kind. `counted` tells whether `metadata.generation` counts changes of its spec."""

    api_version: str
    resource: str
    namespaced: bool = True
    status: bool = False
    counted: bool = False

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def qualified(self) -> str:
        """The resource as messages name it: `services`, `deployments.apps`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


_APPS, _NETWORK = "apps/v1", "networking.k8s.io/v1"
KINDS: Mapping[str, ApiKind] = {
    "Namespace": ApiKind("v1", "namespaces", namespaced=False, status=True),
    "Node": ApiKind("v1", "nodes", namespaced=False, status=True),
    "Pod": ApiKind("v1", "pods", status=True, counted=True),
    "Service": ApiKind("v1", "services", status=True),
    "Endpoints": ApiKind("v1", "endpoints"),
    "ConfigMap": ApiKind("v1", "configmaps"),
    "Secret": ApiKind("v1", "secrets"),
    "ServiceAccount": ApiKind("v1", "serviceaccounts"),
    "Event": ApiKind("v1", "events"),
    "Deployment": ApiKind(_APPS, "deployments", status=True, counted=True),
    "ReplicaSet": ApiKind(_APPS, "replicasets", status=True, counted=True),
    "StatefulSet": ApiKind(_APPS, "statefulsets", status=True, counted=True),
    "DaemonSet": ApiKind(_APPS, "daemonsets", status=True, counted=True),
    "ControllerRevision": ApiKind(_APPS, "controllerrevisions"),
    "EndpointSlice": ApiKind("discovery.k8s.io/v1", "endpointslices", counted=True),
    "Ingress": ApiKind(_NETWORK, "ingresses", status=True, counted=True),
    "IngressClass": ApiKind(_NETWORK, "ingressclasses", namespaced=False, counted=True),
    "NetworkPolicy": ApiKind(_NETWORK, "networkpolicies", counted=True),
    "ServiceCIDR": ApiKind(_NETWORK, "servicecidrs", namespaced=False, status=True),
    "IPAddress": ApiKind(_NETWORK, "ipaddresses", namespaced=False),
    "Lease": ApiKind("coordination.k8s.io/v1", "leases"),
}


def kind_of(kind: str, api_version: str = "v1") -> ApiKind:
    """Return what is known of a kind; of an unknown one, that it is namespaced."""
    return KINDS.get(kind) or ApiKind(api_version, f"{kind.lower()}s")
