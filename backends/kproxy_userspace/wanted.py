"""The listeners and addresses that service ports need, computed from their plans. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from typing import NamedTuple

from msgspec import Struct

from kproxy.backend import (
    Claims,
    Endpoint,
    Frontend,
    FrontendKind,
    NodeSettings,
    OnEmpty,
    Ruleset,
    ServicePlan,
    ServicePortName,
    contains,
    host_port,
    is_loopback,
)

PROTOCOLS = ("TCP", "UDP")


class Place(NamedTuple):
    """An address and port that clients connect to. Each has at most one listener."""

    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{host_port(self.address, self.port)}/{self.protocol}"


class Listener(Struct, frozen=True, kw_only=True):
    """The service port that a place belongs to, and the clients that it accepts.

    `source_ranges`: only these clients are accepted (CIDRs and single addresses); empty: all.
    `endpoints`: empty if all clients are to be dropped rather than refused.
    """

    service: ServicePortName
    endpoints: tuple[Endpoint, ...]
    source_ranges: tuple[str, ...] = ()
    affinity_timeout_s: int = 0


def listens(service: ServicePlan, frontend: Frontend) -> bool:
    """Tell whether a frontend has a listener. If it has none, the kernel itself refuses clients.

    A frontend without endpoints that must drop clients (traffic policy Local) has a listener that
    accepts none.
    """
    return service.protocol in PROTOCOLS and (
        bool(service.pool(frontend)) or frontend.on_empty is OnEmpty.DROP
    )


def in_words(addresses: Iterable[str], listeners: Mapping[Place, Listener]) -> Ruleset:
    """Return what there is of this mode: see `UserspaceBackend.read`."""
    held = tuple(sorted(addresses))
    return {
        "addresses": {"lo": held} if held else {},
        "listeners": {str(place): _rules(listeners[place]) for place in sorted(listeners)},
    }


def _rules(listener: Listener) -> tuple[str, ...]:
    """Return what a listener does, in words."""
    if not listener.endpoints:
        return ("silence",)
    heard = [f"from {cidr}" for cidr in listener.source_ranges]
    kept = [f"affinity {listener.affinity_timeout_s} s"] if listener.affinity_timeout_s else []
    return (*heard, *kept, *map(str, listener.endpoints))


class Changes(NamedTuple):
    """Changes to make. `listeners`: None for places that are to have no listener any more."""

    listeners: dict[Place, Listener | None]
    added: set[str]  # addresses
    removed: set[str]


class Wanted:
    """The listeners and addresses that all service ports of a node need together."""

    def __init__(self, node_addresses: Collection[str], settings: NodeSettings) -> None:
        """Start with no service port.

        `node_addresses`: those that the node has anyway. Some of them answer node ports.
        """
        self._listeners: Claims[Place, Listener] = Claims()
        self._addresses: Claims[str, bool] = Claims()
        self._selected = settings.node_port_addresses
        self._own = frozenset(node_addresses)
        self._answer = self._answering(node_addresses)

    def suits(self, node_addresses: Set[str], ours: Set[str]) -> bool:
        """Tell whether addresses need no change.

        `node_addresses`: the node's own; `ours`: those added for Services.
        """
        needed = self._addresses.keys() - ours
        return needed <= node_addresses and self._answering(node_addresses) == self._answer

    def change(
        self, name: ServicePortName, former: ServicePlan | None, fresh: ServicePlan | None
    ) -> None:
        """Replace the plan of `name`. `former` must be the `fresh` of the last call for it."""
        self._listeners.change(name, self._listeners_of(former), self._listeners_of(fresh))
        self._addresses.change(name, self._addresses_of(former), self._addresses_of(fresh))

    def take_changes(self, again: Iterable[Place] = ()) -> Changes:
        """Return the changes since the last call. `again`: places that are included in any case."""
        listeners = {each.key: each.after for each in self._listeners.take_changes()}
        addresses = self._addresses.take_changes()
        return Changes(
            {place: self._listeners.get(place) for place in again} | listeners,
            {each.key for each in addresses if each.after} - self._own,
            {each.key for each in addresses if not each.after} - self._own,
        )

    def take_difference(self, places: Iterable[Place], addresses: Collection[str]) -> Changes:
        """Return the changes to make if there are listeners at `places`, and `addresses` on lo.

        Listeners are included even if they exist.
        """
        self.take_changes()
        due = dict.fromkeys([*places, *self._listeners.keys()])
        wanted = self._addresses.keys() - self._own
        return Changes(
            {place: self._listeners.get(place) for place in due},
            {each for each in wanted if each not in addresses},
            {each for each in addresses if each not in wanted},
        )

    def _listeners_of(self, service: ServicePlan | None) -> dict[Place, Listener]:
        found = {}
        for frontend in service.frontends if service else ():
            if service and listens(service, frontend):
                node_port = frontend.kind is FrontendKind.NODE_PORT
                for address in self._answer if node_port else (frontend.address,):
                    place = Place(service.protocol, address, frontend.port)
                    found[place] = Listener(
                        service=service.name,
                        endpoints=service.pool(frontend),
                        source_ranges=frontend.source_ranges,
                        affinity_timeout_s=service.affinity_timeout_s,
                    )
        return found

    def _addresses_of(self, service: ServicePlan | None) -> dict[str, bool]:
        frontends = service.frontends if service else ()
        return {frontend.address: True for frontend in frontends if frontend.address}

    def _answering(self, node_addresses: Iterable[str]) -> set[str]:
        """Return the addresses that answer node ports."""
        selected = self._selected
        return {
            address
            for address in node_addresses
            if not is_loopback(address)
            and (selected.match_all or any(contains(cidr, address) for cidr in selected.cidrs))
        }
