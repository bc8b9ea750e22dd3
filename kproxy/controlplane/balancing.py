"""Runs the built-in load balancer controller over the Services that need it."""

from __future__ import annotations

from kproxy.api.types import Service
from kproxy.controlplane.cluster_warnings import ClusterWarnings, Texts, note
from kproxy.controlplane.load_balancers import LoadBalancers
from kproxy.controlplane.writes import Writes
from kproxy.store import ServiceKey


class Balancing:
    """Assigns the addresses of `balancers` to the Services of a cluster."""

    def __init__(self, balancers: LoadBalancers, writes: Writes, warnings: ClusterWarnings) -> None:
        self._balancers = balancers
        self._writes = writes
        self._registry = writes.registry
        self._warnings = warnings

    def release(self, key: ServiceKey) -> None:
        """Free the addresses of a Service."""
        self._balancers.release(key)

    def assign(self) -> None:
        """Assign addresses. Pending Services are tried again, as others may have freed some."""
        altered_any = bool(self._writes.balancers_due)
        while altered_any:
            altered_any = False
            keys = self._writes.balancers_due | self._warnings.balancers.keys()
            self._writes.balancers_due = set()
            found = [(key, self._registry.service(key)) for key in keys]
            for key, service in sorted(found, key=_balancer_order):
                warnings: Texts = ()
                if service:
                    assigned, warnings = self._balancers.assign(service)
                    altered_any |= self._registry.put(assigned)
                note(self._warnings.balancers, key, warnings)


def _balancer_order(
    found: tuple[ServiceKey, Service | None],
) -> tuple[bool, bool, bool, ServiceKey]:
    """Return the order: Services that free addresses first, then those that have or ask for one."""
    key, service = found
    if service is None or service.spec.type != "LoadBalancer":
        return False, False, False, key
    has = bool(service.status.load_balancer.ingress)
    return True, not has, not service.spec.load_balancer_ip, key
