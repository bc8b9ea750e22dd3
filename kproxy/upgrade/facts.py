"""The facts that decide whether a difference applies to objects. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from kproxy.api.types import KubernetesObject, Service
from kproxy.config import ProxyConfig
from kproxy.forwarding.service_ports import is_proxied
from kproxy.store import SERVICE_NAME_LABEL
from kproxy.upgrade.rules import nodes_of
from kproxy.upgrade.side import Configured


class Facts(Struct, frozen=True, kw_only=True):
    """Services, with the addresses of their endpoints and the nodes of those that are ready, by
    `namespace/name`. `usable`: those with an endpoint that gets packets. `config` and `mode_gate`
    are those of the later version.
    """

    services: Sequence[Service]
    endpoints: Mapping[str, frozenset[str]]
    on_nodes: Mapping[str, frozenset[str]]
    usable: frozenset[str]
    nodes: frozenset[str]
    node_addresses: frozenset[str]
    config: ProxyConfig
    mode_gate: str
    mode_chosen: bool

    def lacking_somewhere(self, service: Service) -> bool:
        """Tell whether some node has no ready endpoint of the Service."""
        return bool(self.nodes - self.on_nodes[named(service)])

    def lacks_endpoints(self, service: Service) -> bool:
        """Tell whether some node has no endpoint to send packets to, by some policy."""
        policies = (service.spec.external_traffic_policy, service.spec.internal_traffic_policy)
        local = "Local" in policies and self.lacking_somewhere(service)
        return local or named(service) not in self.usable


Test = Callable[[Facts], tuple[str, ...] | None]
"""Returns the Services that something applies to, () for the node, None if it does not apply."""


def named(service: Service) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"


def some(services: Iterable[str]) -> tuple[str, ...] | None:
    return tuple(sorted(services)) or None


def condition(holds: Callable[[Facts], bool]) -> Test:
    """Return a test for something that concerns the node or the process."""
    return lambda facts: () if holds(facts) else None


def external_addresses(service: Service) -> Iterator[str]:
    yield from service.spec.external_ips
    for each in service.status.load_balancer.ingress:
        if each.ip and each.ip_mode in (None, "VIP"):
            yield each.ip


def facts_of(objects: Sequence[KubernetesObject], before: Configured, after: Configured) -> Facts:
    services = [each for each in objects if isinstance(each, Service) and is_proxied(each)]
    endpoints: dict[str, set[str]] = {named(each): set() for each in services}
    on_nodes: dict[str, set[str]] = {named(each): set() for each in services}
    usable = set()
    for each in objects:
        key = f"{each.metadata.namespace}/{each.metadata.labels.get(SERVICE_NAME_LABEL)}"
        if key not in endpoints:
            continue
        for one in getattr(each, "endpoints", ()):
            endpoints[key].update(one.addresses)
            # Those that terminate and still serve get packets if no other is ready.
            ending = one.conditions.terminating and one.conditions.serving is not False
            if one.conditions.ready is not False or ending:
                usable.add(key)
            if one.node_name and one.conditions.ready is not False:
                on_nodes[key].add(one.node_name)
    later = before if before.side.version.at_least(after.side.version) else after
    nodes = nodes_of(objects)
    return Facts(
        services=services,
        endpoints={name: frozenset(found) for name, found in endpoints.items()},
        on_nodes={name: frozenset(found) for name, found in on_nodes.items()},
        usable=frozenset(usable),
        nodes=frozenset(nodes),
        node_addresses=frozenset(
            each.address for node in nodes.values() if node for each in node.status.addresses
        ),
        config=later.config,
        mode_gate=later.mode.config.gate,
        mode_chosen=not (before.read.at_start or after.read.at_start),
    )
