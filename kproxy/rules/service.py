"""The rules of one Service, from a listing of any origin. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from kproxy.address import host_port
from kproxy.backend import Listing, Mode, Plan, RuleLine, ServicePlan, Sought
from kproxy.errors import BadInput
from kproxy.forwarding.plan import Frontend, FrontendKind


def service_rules(mode: Mode, listing: Listing, sought: Sought) -> tuple[RuleLine, ...]:
    """Return the rules of a Service in the order in which a packet meets them.

    As JSON they are `[{"table", "chain", "depth", "rule", "purpose", "packets"}]`, where packets
    may be null. Empty if the mode has none for it in this family. Raises BadInput if the mode needs
    the Service's objects for that, and `sought` has no plans.
    """
    if mode.service_rules:
        return tuple(mode.service_rules(listing, sought))
    return tuple(_plain(listing, sought))


def sought_in(plan: Plan, namespace: str, name: str, port: str = "") -> Sought:
    """Return the Service as it is in a plan. `port`: the name or number of one of its ports.

    Raises BadInput if there is no such port.
    """
    of_service = [
        each for key, each in sorted(plan.services.items()) if key.service == (namespace, name)
    ]
    chosen = [each for each in of_service if not port or is_port(each, port)]
    if of_service and not chosen:
        known = ", ".join(f"{each.name.port or each.cluster_ip.port}" for each in of_service)
        raise BadInput([f"Service {namespace}/{name} has no port {port}; it has: {known}"])
    return Sought(
        family=plan.family, namespace=namespace, name=name, port=port, plans=tuple(chosen)
    )


def with_rivals(plan: Plan, sought: Sought) -> Plan:
    """Return the plan with only those services that the rules of this one depend on: it, and others
    that claim one of its frontends.
    """
    own = {_claim(each, frontend) for each, frontend in sought.frontends()}
    services = {
        name: each
        for name, each in plan.services.items()
        if any(_claim(each, frontend) in own for frontend in each.frontends)
    }
    return replace(plan, services=services)


def _claim(plan: ServicePlan, frontend: Frontend) -> tuple[str, int, str]:
    return frontend.address, frontend.port, plan.protocol


def is_port(plan: ServicePlan, port: str) -> bool:
    """Tell whether a service port has this name or number."""
    return port in (plan.name.port, str(plan.cluster_ip.port))


def _plain(listing: Listing, sought: Sought) -> Iterator[RuleLine]:
    """Yield rules of a mode that does not say which are of a Service: those that are one of its
    addresses, or have one with its port in their text, or are of a chain that has.
    """
    if sought.plans is None:
        raise BadInput(
            [f"this mode's rules do not name Service {sought.namespace}/{sought.name}"],
            remedy="give its objects with --manifests",
        )
    addresses = {frontend.address for _, frontend in sought.frontends()} - {""}
    marks = re.compile("|".join(_mark(frontend) for _, frontend in sought.frontends()) or "(?!)")
    for table, chains in listing.items():
        for chain, rules in chains.items():
            whole = marks.search(chain)
            for rule in rules:
                if whole or rule.text in addresses or marks.search(rule.text):
                    yield RuleLine(
                        table=table,
                        chain=chain,
                        depth=0,
                        rule=rule.text,
                        purpose="",
                        packets=rule.packets,
                    )


def _mark(frontend: Frontend) -> str:
    """Return a pattern for the address and port of a frontend, as kproxy writes them."""
    if frontend.kind is FrontendKind.NODE_PORT:
        return rf":{frontend.port}(?!\d)"
    return rf"(?<![\w.:]){re.escape(host_port(frontend.address, frontend.port))}(?!\d)"


def values(lines: Sequence[RuleLine]) -> list[dict[str, str | int | None]]:
    """Return rules as JSON values."""
    return [{name: getattr(each, name) for name in each.__struct_fields__} for each in lines]
