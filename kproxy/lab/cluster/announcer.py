"""The routes of load balancers' addresses without a cloud: the router sends each one to a node.

As with MetalLB on layer 2, only a node with a ready endpoint of its own is used for policy Local.
Source: https://metallb.io/concepts/layer2/, https://metallb.io/usage/#traffic-policies
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Protocol

from kproxy.api.types import EndpointSlice, Service
from kproxy.lab.spec import LabSpec
from kproxy.store import ServiceKey, Store, Update


class Routes(Protocol):
    """The routes to nodes that an announcer changes, such as those of a lab's router."""

    def add(self, cidr: str, node: str) -> None:
        """Send a CIDR to a node, replacing an earlier route to it."""

    def remove(self, cidr: str) -> None:
        """Refuse a CIDR that is sent to a node."""


class Announcer:
    """A follower of Services that routes their addresses, if these are of the lab's own pools."""

    def __init__(self, spec: LabSpec, router: Routes) -> None:
        cidrs = spec.load_balancer_cidrs if spec.assigns_balancers else ()
        self._pools = tuple(map(ip_network, cidrs))
        self._nodes = tuple(node.name for node in spec.nodes)
        self._router = router
        self._store = Store()
        self._announced: dict[ServiceKey, dict[str, str]] = {}  # address -> node
        self._routes: dict[str, str] = {}  # the same of all Services

    def follow(self, update: Update) -> None:
        """Route the addresses of changed Services. Raises KernelRefused.

        The nodes must have followed, so that no packet arrives before its rule.
        """
        self._store.apply(update)
        concerned: set[str] = set()
        for key in self._store.take_changes().services:
            concerned.update(self._announced.pop(key, {}))
            if own := self._wanted(key):
                self._announced[key] = own
                concerned.update(own)
        # An address that one Service releases may belong to another one, now or from before.
        wanted = {
            address: node
            for own in self._announced.values()
            for address, node in own.items()
            if address in concerned
        }
        for address in sorted(concerned):
            self._lead(address, wanted.get(address, ""))

    def _lead(self, address: str, node: str) -> None:
        """Route an address to a node, or to none with ""."""
        former = self._routes.get(address, "")
        if former == node:
            return
        if node:
            self._router.add(_single_cidr(address), node)
            self._routes[address] = node
        else:
            self._router.remove(_single_cidr(address))
            del self._routes[address]

    def _wanted(self, key: ServiceKey) -> dict[str, str]:
        service = self._store.service(key)
        if service is None:
            return {}
        node = announcing_node(service, self._store.slices(key), self._nodes)
        addresses = (each.ip for each in service.status.load_balancer.ingress if each.ip)
        return {address: node for address in addresses if node and self._is_ours(address)}

    def _is_ours(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in pool for pool in self._pools)


def announcing_node(service: Service, slices: Iterable[EndpointSlice], nodes: Sequence[str]) -> str:
    """Return the first node that may have the Service's addresses; "" if none may."""
    if service.spec.external_traffic_policy != "Local":
        return nodes[0]
    serving = {
        endpoint.node_name
        for each in slices
        for endpoint in each.endpoints
        if endpoint.conditions.ready is not False
    }
    return next((node for node in nodes if node in serving), "")


def _single_cidr(address: str) -> str:
    return str(ip_network(address))
