"""The machines of a running lab. Each is one network namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kproxy.forwarding.plan import Family
from kproxy.kernel.netns import Namespace
from kproxy.lab.spec import NodeSpec, PodSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """`addresses`: its own address of each family of the lab; of the router, the nodes' gateway."""

    name: str
    namespace: Namespace
    addresses: Mapping[Family, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabClient(LabHost):
    """A machine outside the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabNode(LabHost):
    """`subnets`: its share of the pod CIDRs; `gateways`: its address on the links to its pods."""

    spec: NodeSpec
    subnets: Mapping[Family, str]
    gateways: Mapping[Family, str]

    @property
    def zone(self) -> str:
        return self.spec.zone


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPod(LabHost):
    """`node` and `zone`: where it runs. Its Kubernetes namespace and labels are in `spec`."""

    spec: PodSpec
    node: str
    zone: str
