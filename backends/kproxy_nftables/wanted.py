"""The objects that one service port needs in the table, in either layout. Pure.

Source: kube-proxy v1.36 nftables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from kproxy.forwarding.plan import (
    Frontend,
    FrontendKind,
    NodeSettings,
    OnEmpty,
    ServicePlan,
    ServicePortName,
)
from kproxy.forwarding.routing import is_loopback
from kproxy.kernel.nftables.expressions import Verdict, verdict_data
from kproxy.kernel.nftables.objects import Set
from kproxy_nftables import localhost
from kproxy_nftables.frame import Chains
from kproxy_nftables.localhost_rejected import rejects
from kproxy_nftables.names import (
    CLUSTER_IPS,
    HAIRPIN,
    NO_ENDPOINT_NODE_PORTS,
    NO_ENDPOINT_SERVICES,
    NODE_PORT_IPS,
    REJECT,
    SERVICE_IPS,
    SERVICE_NODE_PORTS,
)
from kproxy_nftables.words import address_bytes, frontend_bytes


# Structs, not tuples: cheaper to make, and ignored by the garbage collector.
class ElementKey(Struct, frozen=True, gc=False):
    set: str
    key: bytes
    last: bytes = b""  # the end of an interval


class Balancer(Struct, frozen=True, gc=False):
    """A chain of the flat layout, shared by all frontends of a protocol with `slots` endpoints."""

    kind: Literal["lb", "masq-lb", "local-lb"]
    protocol: str
    slots: int
    node_port: bool

    @property
    def name(self) -> str:
        prefix = "nodeport-" if self.node_port else ""
        return f"{prefix}{self.kind}-{self.protocol.lower()}-{self.slots}"


class Balanced(Struct, frozen=True, gc=False):
    """Endpoints in a map of the flat layout, whose keys are this one and a slot."""

    key: ElementKey
    endpoints: tuple[bytes, ...]


class Element(Struct, frozen=True, gc=False):
    """The data of an element, and in the flat layout the objects that come with it."""

    data: bytes = b""
    """In the form the kernel takes; b"" in a set."""
    comment: str = ""
    chains: tuple[Balancer, ...] = ()
    """Shared chains that must exist."""
    balanced: tuple[Balanced, ...] = ()
    """Endpoints by slot."""
    others: tuple[tuple[ElementKey, bytes], ...] = ()
    """Other elements with their data."""


class Wanted(Struct, frozen=True, gc=False):
    """Elements of shared sets and maps, and the service port's own chains and sets."""

    elements: dict[ElementKey, Element]
    chains: Chains
    sets: dict[str, Set]


_LONGEST_COMMENT = 128  # nft refuses to load longer ones; names are ASCII

NOTHING = Wanted({}, {}, {})
MEMBER = Element()
NODE = ServicePortName("", "", "", "")  # stands for the node, which needs elements of its own


@lru_cache(maxsize=256)
def goto(chain: str) -> bytes:
    return verdict_data(Verdict.GOTO, chain)


def jump(chain: str) -> bytes:
    return verdict_data(Verdict.JUMP, chain)


_DROP = verdict_data(Verdict.DROP)
_REJECT = goto(REJECT)


def frontend_key(service: ServicePlan, frontend: Frontend) -> bytes:
    return frontend_bytes(frontend.address, service.protocol, frontend.port)


def frontend_map(frontend: Frontend) -> str:
    return SERVICE_NODE_PORTS if frontend.kind is FrontendKind.NODE_PORT else SERVICE_IPS


def node_elements(addresses: Iterable[str]) -> Wanted:
    """Return what the node itself needs: elements for those of its selected addresses that answer
    node ports.
    """
    elements = {
        ElementKey(NODE_PORT_IPS, address_bytes(address)): MEMBER
        for address in addresses
        if not is_loopback(address)
    }
    return Wanted(elements, {}, {})


def common_elements(
    service: ServicePlan, settings: NodeSettings
) -> Iterator[tuple[ElementKey, Element]]:
    """Yield the elements that are the same in both layouts."""
    yield ElementKey(CLUSTER_IPS, address_bytes(service.cluster_ip.address)), MEMBER
    for endpoint in service.reachable:
        if endpoint.local:
            address = address_bytes(endpoint.address)
            behind = frontend_bytes(endpoint.address, service.protocol, endpoint.port)
            yield ElementKey(HAIRPIN, address + behind), MEMBER
    for frontend in service.frontends:
        if rejects(service, frontend, settings):
            key = ElementKey(localhost.REJECT_PORTS, frontend_key(service, frontend))
            yield key, Element(goto(localhost.chain(service.protocol)))
        if not service.serves(frontend):
            node_port = frontend.kind is FrontendKind.NODE_PORT
            refusing = NO_ENDPOINT_NODE_PORTS if node_port else NO_ENDPOINT_SERVICES
            verdict = _REJECT if frontend.on_empty is OnEmpty.REJECT else _DROP
            key = ElementKey(refusing, frontend_key(service, frontend))
            yield key, Element(verdict, str(service.name)[:_LONGEST_COMMENT])


def is_dispatched(service: ServicePlan, frontend: Frontend) -> bool:
    """Tell whether its packets go to a chain. They may without an endpoint on this node, because
    pods and processes of this node may use the others.
    """
    if frontend.kind is FrontendKind.CLUSTER_IP:
        return service.serves(frontend)
    return service.has_endpoints


def firewalled(service: ServicePlan) -> Iterator[Frontend]:
    return (frontend for frontend in service.frontends if frontend.source_ranges)
