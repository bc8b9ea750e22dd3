"""The rules that a side has for each Service, as text, and how they differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.addresses import parse_ip
from kproxy.api.types import KubernetesObject, Node
from kproxy.backend import Ruleset
from kproxy.config import node_settings
from kproxy.forwarding.plan import NodeSettings, Plan, ServicePortName
from kproxy.forwarding.planner import Planner
from kproxy.store import Store
from kproxy.upgrade.side import Configured

Rendered = Mapping[str, tuple[str, ...]]  # rules by `TABLE NAME`

_LOOPBACK = ("127.0.0.1", "::1")
_NODE = "node-1"  # if the objects name none


class ChainDifference(Struct, frozen=True, kw_only=True):
    """The rules that one chain, set or map has on one side only. `place` is `TABLE NAME`."""

    place: str
    removed: tuple[str, ...]
    added: tuple[str, ...]


class RulesDifference(Struct, frozen=True, kw_only=True):
    """A Service whose rules differ on a node, in a family. `service` is "" for the rules that do
    not depend on Services.
    """

    service: str
    family: Family
    node: str
    chains: tuple[ChainDifference, ...]

    @property
    def removed(self) -> int:
        return sum(len(each.removed) for each in self.chains)

    @property
    def added(self) -> int:
        return sum(len(each.added) for each in self.chains)


class _Node(Struct, frozen=True):
    """A node with its plans on both sides, by family, and its addresses."""

    name: str
    addresses: frozenset[str]
    before: Mapping[Family, Plan]
    after: Mapping[Family, Plan]
    empty: dict[tuple[str, Family], Rendered]
    """Rules without any Service, by side and family; filled as needed."""


def rule_differences(
    objects: Sequence[KubernetesObject], before: Configured, after: Configured
) -> list[RulesDifference]:
    """Return the differences, in each family those common to all Services first. A Service is
    looked at on nodes with different numbers of its endpoints, until one differs. A configuration
    with a host name is that of one node: then only this one is looked at.

    Raises BadInput if a configuration has no settings for some node.
    """
    nodes = list(_nodes(objects, before, after))
    found = []
    for family in Family:
        for node in nodes[:1]:
            found += _difference("", node, family, (), before, after)
        for service, names in _service_ports(nodes[0], family).items():
            for node in _telling(nodes, family, names):
                differing = _difference(service, node, family, names, before, after)
                if differing:
                    found += differing
                    break
    return found


def _nodes(
    objects: Sequence[KubernetesObject], before: Configured, after: Configured
) -> Iterator[_Node]:
    store = Store()
    store.replace(objects)
    for name, node in nodes_compared(objects, before).items():
        sides: list[dict[Family, Plan]] = []
        for side in (before, after):
            settings = node_settings(
                replace(side.config, hostname_override=name),
                node,
                store.service_cidrs(),
                mode=side.mode.config,
                options=side.options,
            )
            known = sides[0] if sides else {}
            sides.append({each: planned(store, settings[each], known.get(each)) for each in Family})
        addresses = node.status.addresses if node else ()
        own = {str(ip) for each in addresses if (ip := parse_ip(each.address))}
        yield _Node(name, frozenset((*own, *_LOOPBACK)), sides[0], sides[1], {})


def planned(store: Store, settings: NodeSettings, known: Plan | None) -> Plan:
    """Return the plan of the store's objects: a `known` one, if only the version is another."""
    if known and replace(known.settings, emulate=settings.emulate) == settings:
        return replace(known, settings=settings)
    planner = Planner(settings)
    planner.replan(store)
    return planner.plan


def nodes_compared(
    objects: Iterable[KubernetesObject], side: Configured
) -> Mapping[str, Node | None]:
    """Return the nodes that a configuration is for: the one that it names, or all of `nodes_of`."""
    everywhere = nodes_of(objects)
    named = side.config.hostname_override.strip().lower()
    return {named: everywhere.get(named)} if named else everywhere


def nodes_of(objects: Iterable[KubernetesObject]) -> dict[str, Node | None]:
    """Return the nodes that the objects are or name; one if there is none. None: not an object."""
    found: dict[str, Node | None] = {}
    for each in objects:
        if isinstance(each, Node):
            found[each.metadata.name] = each
    for each in objects:
        for endpoint in getattr(each, "endpoints", ()):
            if name := getattr(endpoint, "node_name", None):
                found.setdefault(name, None)
    return found or {_NODE: None}


def _service_ports(node: _Node, family: Family) -> dict[str, list[ServicePortName]]:
    """Return the service ports of each Service, by `namespace/name`."""
    found: dict[str, list[ServicePortName]] = {}
    for name in node.before[family].services.keys() | node.after[family].services.keys():
        found.setdefault("/".join(name.service), []).append(name)
    return {service: sorted(found[service]) for service in sorted(found)}


def _telling(
    nodes: Sequence[_Node], family: Family, names: Sequence[ServicePortName]
) -> Iterator[_Node]:
    """Yield one of the nodes that have as many endpoints of the service ports as each other."""
    seen = set()
    for node in nodes:
        shape = tuple(
            (len(service.cluster), len(service.local), len(service.cached_local))
            for plan in (node.before[family], node.after[family])
            for name in names
            if (service := plan.services.get(name))
        )
        if shape not in seen:
            seen.add(shape)
            yield node


def _difference(
    service: str,
    node: _Node,
    family: Family,
    names: Sequence[ServicePortName],
    before: Configured,
    after: Configured,
) -> list[RulesDifference]:
    one, other = (
        _own(side, plans[family], node, names)
        for side, plans in ((before, node.before), (after, node.after))
    )
    chains = list(_chains(one, other))
    if not chains:
        return []
    return [RulesDifference(service=service, family=family, node=node.name, chains=tuple(chains))]


def _own(side: Configured, plan: Plan, node: _Node, names: Sequence[ServicePortName]) -> Rendered:
    """Return the rules that the named service ports need, without those there are anyway; without
    names, the latter.
    """
    key = (str(side.side), plan.family)
    if key not in node.empty:
        node.empty[key] = _rendered(side, replace(plan, services={}), node)
    nothing = node.empty[key]
    if not names:
        return nothing
    services = {name: plan.services[name] for name in names if name in plan.services}
    whole = _rendered(side, replace(plan, services=services), node)
    return {
        place: left
        for place, rules in whole.items()
        if (left := _without(rules, nothing.get(place, ())))
    }


def _rendered(side: Configured, plan: Plan, node: _Node) -> Rendered:
    if side.mode.render is None:
        return {}
    ruleset: Ruleset = side.mode.render(plan, node.addresses)
    return {
        f"{table} {chain}": rules
        for table, chains in ruleset.items()
        for chain, rules in chains.items()
    }


def _without(rules: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    left = Counter(known)
    own = []
    for rule in rules:
        if left[rule]:
            left[rule] -= 1
        else:
            own.append(rule)
    return tuple(own)


def _chains(before: Rendered, after: Rendered) -> Iterator[ChainDifference]:
    for place in dict.fromkeys((*before, *after)):
        one, other = before.get(place, ()), after.get(place, ())
        removed, added = _without(one, other), _without(other, one)
        if removed or added:
            yield ChainDifference(place=place, removed=removed, added=added)
