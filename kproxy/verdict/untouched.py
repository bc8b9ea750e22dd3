"""Why no rule of a node applies to a packet, as far as its plan tells. Pure.

The rules decide; this only words what a reader would look for next.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.address import host_port
from kproxy.forwarding.plan import FrontendKind, Plan
from kproxy.forwarding.routing import is_loopback, is_own
from kproxy.forwarding.rules import Passage, named, selected_for_node_ports, words_of


def untouched(plan: Plan, passage: Passage) -> Iterator[str]:
    """Yield sentences, at least one."""
    place = f"{host_port(passage.address, passage.port)}/{passage.protocol}"
    found = [*_node_ports(plan, passage), *_health_checks(plan, passage), *_others(plan, passage)]
    if found:
        yield from found
    elif is_own(passage.node, passage.address):
        yield f"{place} is the node's own, and no Service of this proxy has that node port"
    else:
        yield f"no Service of this proxy has the address {passage.address}"


def _node_ports(plan: Plan, passage: Passage) -> Iterator[str]:
    for service in plan.services.values():
        for frontend in service.frontends:
            if (frontend.kind, frontend.port, service.protocol) != (
                FrontendKind.NODE_PORT,
                passage.port,
                passage.protocol,
            ):
                continue
            what = named(service, frontend)
            if is_loopback(passage.address):
                yield f"{what} does not answer on the loopback address {passage.address}"
            elif not is_own(passage.node, passage.address):
                yield (
                    f"{what} answers on addresses of the node, and {passage.address} is none of "
                    f"{plan.settings.node_name}"
                )
            elif not selected_for_node_ports(plan.settings, passage):
                cidrs = ", ".join(plan.settings.node_port_addresses.cidrs)
                yield f"{what} does not answer on {passage.address}: nodePortAddresses are {cidrs}"


def _health_checks(plan: Plan, passage: Passage) -> Iterator[str]:
    if passage.protocol != "TCP" or not is_own(passage.node, passage.address):
        return
    names = sorted(
        {
            "/".join(service.name.service)
            for service in plan.services.values()
            if service.health_check_node_port == passage.port
        }
    )
    for name in names:
        yield (
            f"{passage.port} is the health check node port of {name}, where the proxy's process "
            "answers itself"
        )


def _others(plan: Plan, passage: Passage) -> Iterator[str]:
    """Yield the Services that have the address, and their ports there."""
    ports: dict[str, list[str]] = {}
    for service in plan.services.values():
        for frontend in service.frontends:
            if frontend.address == passage.address:
                name = f"{words_of(frontend)} of {'/'.join(service.name.service)}"
                ports.setdefault(name, []).append(f"{frontend.port}/{service.protocol}")
    for name, numbers in sorted(ports.items()):
        yield (
            f"{passage.address} is the {name}, with {', '.join(sorted(numbers))} and not "
            f"{passage.port}/{passage.protocol}, and this mode leaves other ports alone"
        )
