"""The collections that a service proxy reads, and the part of each that it asks for. Pure.

Source: requests of kube-proxy v1.36 at its start, recorded
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Resource(Struct, frozen=True, kw_only=True):
    """A collection of an API server: the kind of its objects, its path, and its selectors.

    `optional`: an API server may be too old to have it, or a role to allow it, and then there are
    none of these objects.
    """

    kind: str
    path: str
    selectors: Mapping[str, str] = {}
    optional: bool = False

    @property
    def plural(self) -> str:
        """Return the name of the collection, such as `endpointslices`."""
        return self.path.rpartition("/")[2]


SERVICES = Resource(
    kind="Service",
    path="/api/v1/services",
    selectors={
        "fieldSelector": "spec.clusterIP!=None",
        "labelSelector": "!service.kubernetes.io/service-proxy-name",
    },
)
ENDPOINT_SLICES = Resource(
    kind="EndpointSlice",
    path="/apis/discovery.k8s.io/v1/endpointslices",
    selectors={"labelSelector": "!service.kubernetes.io/headless"},
)
SERVICE_CIDRS = Resource(
    kind="ServiceCIDR", path="/apis/networking.k8s.io/v1/servicecidrs", optional=True
)

# What a proxy does not read, but who explains it to people.
ALL_SERVICES = Resource(kind="Service", path=SERVICES.path)
NODES = Resource(kind="Node", path="/api/v1/nodes", optional=True)
PODS = Resource(kind="Pod", path="/api/v1/pods", optional=True)


def own_node(name: str) -> Resource:
    """Return the collection that has one Node only."""
    return Resource(
        kind="Node", path="/api/v1/nodes", selectors={"fieldSelector": f"metadata.name={name}"}
    )
