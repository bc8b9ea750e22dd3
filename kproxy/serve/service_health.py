"""Health check node ports: a load balancer asks a node whether it has endpoints of a Service.

For a Service of type LoadBalancer with externalTrafficPolicy Local each node answers on the
Service's healthCheckNodePort, on any path: 200 if it has ready endpoints and its proxy is healthy,
else 503, so that the load balancer does not use the node.
Source: kube-proxy v1.36 healthcheck/service_health.go, endpointschangetracker.go
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.forwarding.plan import Delta, Plan, ServicePlan, ServicePortName
from kproxy.kernel.addresses import addresses_of, local_addresses
from kproxy.loop.http import Request, Response
from kproxy.serve.server import HttpServer, Listener
from kproxy.store import ServiceKey

_IPVS_DEVICE = "kube-ipvs0"  # its addresses are those of Services, not of the node

log = logging.getLogger("kproxy")


class HealthChecks:
    """The health check node port of each Service of one family, and the count it answers with.

    The count is the number of ready endpoints on the node. `counts` may be read by other threads;
    a Service that is not in it has none.
    """

    def __init__(self) -> None:
        self.ports: dict[ServiceKey, int] = {}
        self.counts: dict[ServiceKey, int] = {}
        self._checked: dict[ServiceKey, dict[ServicePortName, ServicePlan]] = {}

    def update(self, plan: Plan, delta: Delta) -> bool:
        """Follow a plan; `delta` as for a backend. Returns whether `ports` has changed."""
        before = dict(self.ports)
        names = {*delta.before}
        if delta.full:
            checked = [name for name, each in plan.services.items() if each.health_check_node_port]
            names = {*checked, *(name for known in self._checked.values() for name in known)}
        for name in names:
            fresh = plan.services.get(name)
            if fresh and fresh.health_check_node_port:
                self._checked.setdefault(name.service, {})[name] = fresh
            elif name.service in self._checked:
                self._checked[name.service].pop(name, None)
        for service in {name.service for name in names} & self._checked.keys():
            self._count(service)
        return self.ports != before

    def _count(self, service: ServiceKey) -> None:
        plans = self._checked[service].values()
        if not plans:
            del self._checked[service], self.ports[service], self.counts[service]
            return
        any_port = next(iter(plans))
        self.ports[service] = any_port.health_check_node_port
        self.counts[service] = any_port.local_addresses


class _Place(NamedTuple):
    """An address and port for a Service's health. `address`: "" for all of the family."""

    family: Family
    service: ServiceKey
    address: str
    port: int


class ServiceHealth:
    """The health check node ports of one node, in the namespace of the thread that calls `update`.

    `healthy` is called at each request, in the server's thread, and tells whether the proxy is
    healthy.
    """

    def __init__(
        self,
        server: HttpServer,
        healthy: Callable[[], bool],
        on_failure: Callable[[ServiceKey, int, str], object] = lambda _service, _port, _error: None,
    ) -> None:
        """`on_failure` is called with Service, port and error if a port cannot be listened on."""
        self._on_failure = on_failure
        self._server = server
        self._healthy = healthy
        self._checks = {family: HealthChecks() for family in Family}
        self._listeners: dict[_Place, Listener] = {}
        # The addresses of the node that are listened on, for families without a missing listener.
        self._served: dict[Family, tuple[str, ...]] = {}

    def update(self, plan: Plan, delta: Delta) -> None:
        """Follow a sync: take the new counts, close unneeded listeners, open missing ones.

        An address and port that cannot be listened on are logged, and tried again at the next call.
        Raises nothing. `delta`: relative to the plan of the last call with this family.
        """
        family = plan.family
        checks = self._checks[family]
        changed = checks.update(plan, delta)
        if not checks.ports and not changed:
            return
        try:
            addresses = _addresses(plan)
        except (KernelRefused, OSError) as error:
            self._served.pop(family, None)
            log.error("health check node ports, next try at the next sync: %s", error)
            return
        if not changed and self._served.get(family) == addresses:
            return
        wanted = {
            _Place(family, service, address, port)
            for service, port in checks.ports.items()
            for address in addresses
        }
        for place in [each for each in self._listeners if each.family is family]:
            if place not in wanted:
                self._listeners.pop(place).close()
        missing = sorted(wanted - self._listeners.keys(), key=lambda each: each[1:])
        self._served.pop(family, None)
        opened = [self._open(place) for place in missing]
        if all(opened):
            self._served[family] = addresses

    def close(self) -> None:
        """Close all listeners, so that clients are refused. May be called in any namespace."""
        while self._listeners:
            self._listeners.popitem()[1].close()
        self._served.clear()

    def _open(self, place: _Place) -> bool:
        respond = partial(self._respond, place.family, place.service)
        try:
            listener = self._server.listen(place.family, place.address, place.port, respond)
        except OSError as error:
            log.error(
                "health check node port of %s/%s: cannot listen on %s port %d, next try at the next"
                " sync: %s",
                *place.service,
                place.address or f"any {place.family.value} address",
                place.port,
                error.strerror,
            )
            self._on_failure(place.service, place.port, error.strerror or str(error))
            return False
        self._listeners[place] = listener
        return True

    def _respond(self, family: Family, service: ServiceKey, _request: Request) -> Response:
        return answer(service, self._checks[family].counts.get(service, 0), self._healthy())


def answer(service: ServiceKey, local_endpoints: int, proxy_healthy: bool) -> Response:
    """Return the response, which is the same for every method and path.

    As kube-proxy's, the body has tabs, and no newline at the end.
    """
    namespace, name = service
    body = (
        "{\n"
        '\t"service": {\n'
        f'\t\t"namespace": "{namespace}",\n'
        f'\t\t"name": "{name}"\n'
        "\t},\n"
        f'\t"localEndpoints": {local_endpoints},\n'
        f'\t"serviceProxyHealthy": {"true" if proxy_healthy else "false"}\n'
        "}"
    )
    return Response(
        status=200 if local_endpoints and proxy_healthy else 503,
        headers=(
            ("Content-Type", "application/json"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Load-Balancing-Endpoint-Weight", str(local_endpoints)),
        ),
        body=body.encode(),
    )


def _addresses(plan: Plan) -> tuple[str, ...]:
    """Return the node's present addresses that nodePortAddresses selects; ("",) if it selects all.

    kube-proxy looks them up at its start only. Raises KernelRefused, OSError.
    """
    selected = plan.settings.node_port_addresses
    if selected.match_all:
        return ("",)
    of_services = addresses_of(_IPVS_DEVICE, plan.family)
    found = local_addresses(plan.family, selected.cidrs)
    return tuple(address for address in found if address not in of_services)
