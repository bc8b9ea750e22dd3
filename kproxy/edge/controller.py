"""The cloud controller of a lab: gives Services addresses, and load balancers their listeners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kproxy.api.types import Service
from kproxy.edge.balancing import Balancing, PlaceHost
from kproxy.edge.listeners import (
    CheckTimes,
    Edge,
    concerns,
    listeners_of,
    problems_of,
    with_status,
)
from kproxy.edge.state import ListenerState
from kproxy.errors import BadInput
from kproxy.store import ObjectKey, Store, Update, object_key

_THRESHOLD = 2  # with the time-out below, a dead backend is out of use within three intervals
_TIMEOUT_MIN_S = 0.15


def check_times(interval_s: float) -> CheckTimes:
    """Return the times of a lab's health checks, for Services that do not ask for others."""
    return CheckTimes(
        interval_s=interval_s,
        timeout_s=max(interval_s / 2, _TIMEOUT_MIN_S),
        threshold=_THRESHOLD,
    )


class EdgeController:
    """Keeps load balancers and the DNAT gateway in step with the objects of a cluster."""

    def __init__(
        self, edge: Edge, hosts: Mapping[str, PlaceHost], variant: str, drain_s: float
    ) -> None:
        """Keep the hosts of the edge's places, by name. `variant`: of iptables.

        `drain_s`: how long connections of a removed backend may go on.
        """
        self._edge = edge
        self._balancing = Balancing(hosts, variant, drain_s)
        self._store = Store()

    @property
    def state(self) -> tuple[ListenerState, ...]:
        """Return the state as of the last health check."""
        return self._balancing.state

    def admit(self, update: Update) -> Update:
        """Return the update with the addresses that its Services get.

        Raises BadInput if the edge could not serve all Services that there are after the update;
        nothing is changed either way.
        """
        upserts = tuple(
            with_status(each, self._edge)
            if isinstance(each, Service) and concerns(each, self._edge)
            else each
            for each in update.upserts
        )
        deleted = {*update.deletes}
        future = {key: service for key, service in self._services() if key not in deleted}
        future |= {object_key(each): each for each in upserts if isinstance(each, Service)}
        if found := problems_of(
            (each for each in future.values() if concerns(each, self._edge)), self._edge
        ):
            raise BadInput(found)
        return Update(upserts=upserts, deletes=update.deletes)

    def follow(self, update: Update) -> None:
        """Give the load balancers their listeners, after the nodes' proxies have synced.

        Returns when backends have been checked once and the rules are written. Raises
        KernelRefused, Unsupported.
        """
        self._store.apply(update)
        self._store.take_changes()
        self._balancing.update(
            listener
            for _, service in self._services()
            if concerns(service, self._edge)
            for listener in listeners_of(
                service,
                self._store.slices((service.metadata.namespace, service.metadata.name)),
                self._edge,
            )
        )

    def close(self) -> None:
        """Stop the thread."""
        self._balancing.close()

    def _services(self) -> Iterator[tuple[ObjectKey, Service]]:
        for key in self._store.services():
            if service := self._store.service(key):
                yield object_key(service), service
