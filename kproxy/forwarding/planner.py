"""Plans one node in one IP family from the objects.

This module knows Kubernetes objects and the node's settings, and nothing of any kernel. What
depends on what:

- a Service's own fields -> frontends, policies (`service_ports`)
- its EndpointSlices, this node's name and zone -> pools (`endpoints`)
- both -> one `ServicePlan` for each service port (`plan_service`, a pure function)

`Planner` adds memory: it holds the plan and replans only the Services named in a call, so the work
is proportional to the change. Nothing here depends on the order in which objects arrive.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from kproxy.api.types import EndpointSlice, Service
from kproxy.forwarding.endpoints import categorize, endpoints_of
from kproxy.forwarding.plan import (
    Delta,
    Endpoint,
    NodeSettings,
    OnEmpty,
    Plan,
    ServicePlan,
    ServicePortName,
)
from kproxy.forwarding.service_ports import (
    externally_accessible,
    frontends_of,
    policy_of,
    port_name,
)
from kproxy.store import ServiceKey, Store


def plan_service(
    service: Service, slices: Iterable[EndpointSlice], settings: NodeSettings
) -> dict[ServicePortName, ServicePlan]:
    """Return the plans of all ports of one Service on one node, in the order of its ports.

    They are empty if the Service has no cluster IP in the family or is not for this proxy.
    """
    policy = policy_of(service, settings)
    if policy is None:
        return {}
    endpoints = endpoints_of(slices, settings)
    local_addresses = _local_addresses(endpoints) if policy.health_check_node_port else 0
    plans: dict[ServicePortName, ServicePlan] = {}
    for port in service.spec.ports:
        name = port_name(service, port)
        accessible = externally_accessible(policy, port)
        members = endpoints.get((port.name, port.protocol), [])
        pools = categorize(
            members,
            settings,
            uses_cluster=not policy.internal_local or accessible,
            uses_local=policy.internal_local or (policy.external_local and accessible),
        )
        on_empty = OnEmpty.DROP if pools.has_endpoints else OnEmpty.REJECT
        plans[name] = ServicePlan(
            name=name,
            family=settings.family,
            frontends=frontends_of(policy, port, settings, on_empty),
            cluster=pools.cluster,
            local=pools.local,
            reachable=pools.reachable,
            has_endpoints=pools.has_endpoints,
            cached_endpoints=len(members),
            cached_local=tuple(member for member in members if member.local),
            internal_local=policy.internal_local,
            external_local=policy.external_local,
            externally_accessible=accessible,
            affinity_timeout_s=policy.affinity_timeout_s,
            health_check_node_port=policy.health_check_node_port,
            local_addresses=local_addresses,
        )
    return plans


class Planner:
    """The current plan of one node in one family, kept up to date Service by Service."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._services: dict[ServicePortName, ServicePlan] = {}
        self._ports: dict[ServiceKey, tuple[ServicePortName, ...]] = {}
        self._cached_endpoints = 0
        self._shown: Callable[[], Plan | None] = _nothing  # the plan that shares `_services`

    @property
    def plan(self) -> Plan:
        """The plan as it is now; a value of its own, so a kept one can be compared with it later.

        It shares the planner's dictionary until the next change, which leaves that one to whoever
        has kept the plan. A copy of 10,000 entries takes 42 microseconds, a third of a change, so
        there is none if nobody has.
        """
        plan = self._shown()
        if plan is None:
            plan = Plan(
                settings=self._settings,
                services=self._services,
                cached_endpoints=self._cached_endpoints,
            )
            self._shown = weakref.ref(plan)
        return plan

    def update(self, store: Store, services: Iterable[ServiceKey]) -> Delta:
        """Plan the named Services again. The delta is empty if the node's plan is unchanged."""
        was_large = self.plan.large_cluster
        before: dict[ServicePortName, ServicePlan | None] = {}
        for key in services:
            service = store.service(key)
            fresh = plan_service(service, store.slices(key), self._settings) if service else {}
            for name in dict.fromkeys((*self._ports.get(key, ()), *fresh)):
                former = self._services.get(name)
                if former != fresh.get(name):
                    before[name] = former
                    self._set(name, former, fresh.get(name))
            if fresh:
                self._ports[key] = tuple(fresh)
            else:
                self._ports.pop(key, None)
        # Comments differ on either side of the threshold: unchanged rules must be written again as
        # well, or they would depend on history. (kube-proxy lets them differ.)
        return Delta(full=self.plan.large_cluster != was_large, before=before)

    def replan(self, store: Store, settings: NodeSettings | None = None) -> Delta:
        """Plan everything again, with other settings if given. The delta is full."""
        if settings is not None:
            self._settings = settings
            self._part_from_shown()
        delta = self.update(store, (*store.services(), *self._ports))
        return Delta(full=True, before=delta.before)

    def _set(
        self, name: ServicePortName, former: ServicePlan | None, fresh: ServicePlan | None
    ) -> None:
        self._part_from_shown()
        if former:
            self._cached_endpoints -= former.cached_endpoints
        if fresh:
            self._cached_endpoints += fresh.cached_endpoints
            self._services[name] = fresh
        else:
            del self._services[name]

    def _part_from_shown(self) -> None:
        """Leave the dictionary to a plan that somebody has kept."""
        if self._shown() is not None:
            self._services = self._services.copy()
        self._shown = _nothing


def _local_addresses(endpoints: Mapping[tuple[str, str], list[Endpoint]]) -> int:
    """Return the number of addresses of ready endpoints on the node, of any port.

    Source: kube-proxy endpointschangetracker.go, LocalReadyEndpoints.
    """
    members = chain.from_iterable(endpoints.values())
    return len({each.address for each in members if each.local and each.ready})


def _nothing() -> None:
    return None
