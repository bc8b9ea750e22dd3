"""Services and allocators for the tests of admission."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec import convert

from kproxy.address import family_of
from kproxy.api.types import Metadata, Service, ServiceSpec
from kproxy.controlplane.admission import Allocator
from kproxy.errors import BadInput

V4, V6 = "10.96.0.0/24", "fd00:10:96::/112"
DUAL = (V4, V6)
HTTP = {"name": "http", "port": 80}
DNS = [
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
]
LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
BOTH, TURNED = ("IPv4", "IPv6"), ("IPv6", "IPv4")
NONE = {"clusterIP": "None"}
NO_SELECTOR = {**NONE, "selector": {}}
PREFER, REQUIRE = {"ipFamilyPolicy": "PreferDualStack"}, {"ipFamilyPolicy": "RequireDualStack"}
SINGLE = {"ipFamilyPolicy": "SingleStack"}
TYPES: dict[str, dict[str, Any]] = {
    "ClusterIP": {},
    "NodePort": {"type": "NodePort"},
    "LoadBalancer": {"type": "LoadBalancer"},
    "Local": LOCAL,
    "ExternalName": {"type": "ExternalName", "externalName": "a.example"},
}
HEADLESS_TOLD = "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for "
POLICY_TOLD = "spec.ipFamilyPolicy: Invalid value: "


def service(name: str = "web", **spec: Any) -> Service:
    """Return a Service from fields in Kubernetes' spelling; it has an HTTP port and a selector."""
    whole = {"ports": [HTTP], "selector": {"app": name}, **spec}
    return Service(metadata=Metadata(name=name), spec=convert(whole, ServiceSpec, strict=True))


def allocator(*cidrs: str, seed: int = 0, node_ports: range = range(30000, 32768)) -> Allocator:
    return Allocator(cidrs or (V4,), Random(seed), node_ports)


def free(cluster: Allocator) -> tuple[int, ...]:
    """Return how many addresses of each family and how many node ports are free."""
    return (*(each.free for each in cluster._ips.values()), cluster._ports.free)


def kinds(spec: ServiceSpec) -> tuple[str, ...]:
    return tuple(ip if ip == "None" else family_of(ip).replace("IP", "") for ip in spec.cluster_ips)


def refused(cluster: Allocator, new: Service, former: Service | None = None) -> list[str]:
    """Return the problems, after checking that nothing was allocated or freed."""
    before = free(cluster)
    with pytest.raises(BadInput) as error:
        cluster.admit(new, former)
    assert free(cluster) == before
    return error.value.problems


def told(problems: list[str], what: str = 'Service "web"') -> list[str]:
    """Return the refusal as the API server words it: several problems in brackets."""
    listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return [f"{what} is invalid: {listed}"]
