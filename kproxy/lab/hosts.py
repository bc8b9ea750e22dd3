"""The machines of a running lab, a network namespace each; pods of the host network share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kproxy.address import Family
from kproxy.lab.spec import BalancerSpec, NodeSpec, PodSpec

if TYPE_CHECKING:
    from kproxy.kernel.netns import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """A machine of the lab.

    `addresses` has its own address of each family of the lab; for the router, the nodes' gateway.
    """

    name: str
    namespace: Namespace
    addresses: Mapping[Family, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabClient(LabHost):
    """A machine outside the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabNode(LabHost):
    """A node. `subnets` is its share of the pod CIDRs, `gateways` its address on the links to its
    pods, `public` its public addresses, if there is an edge.
    """

    spec: NodeSpec
    subnets: Mapping[Family, str]
    gateways: Mapping[Family, str]
    public: Mapping[Family, str] = field(default_factory=dict)

    @property
    def zone(self) -> str:
        return self.spec.zone


@dataclass(frozen=True, slots=True, kw_only=True)
class LabBalancer(LabHost):
    """A load balancer. `check_sources` has the addresses that send its health checks."""

    spec: BalancerSpec
    public: Mapping[Family, str]
    check_sources: Mapping[Family, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPod(LabHost):
    """A pod. It runs on `node`, in `zone`; its Kubernetes namespace and labels are in `spec`."""

    spec: PodSpec
    node: str
    zone: str

    @property
    def serves(self) -> tuple[tuple[str, int], ...]:
        """Return the addresses and ports that its program listens on."""
        return tuple(
            (address, port.port) for port in self.spec.ports for address in self.addresses.values()
        )
