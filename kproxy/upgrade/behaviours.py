"""Behaviours that one side has and the other has not, and the Services that they apply to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from kproxy import versions
from kproxy.api.addresses import parse_cidr
from kproxy.api.types import KubernetesObject
from kproxy.config.gates import GATES
from kproxy.config.types import ALL, LOCALHOST, PRIMARY
from kproxy.upgrade.facts import Facts, Test, facts_of, named
from kproxy.upgrade.facts import condition as _if
from kproxy.upgrade.facts import some as _some
from kproxy.upgrade.lasting import Event, still_answered
from kproxy.upgrade.rules import RulesDifference
from kproxy.upgrade.side import Configured
from kproxy.versions import Behaviour, Version

_LONGEST_COMMENT = 128
_LOCALHOST_GATE = "KubeProxyNFTablesLocalhostNodePorts"


class Applying(Struct, frozen=True, kw_only=True):
    """A behaviour that begins or ends with the change, here. `services`: those it applies to, as
    `namespace/name`; empty if it applies to the node or the process.
    """

    name: str
    begins: bool
    before: str
    after: str
    source: str
    packets: bool
    services: tuple[str, ...] = ()


def behaviours(
    objects: Sequence[KubernetesObject],
    before: Configured,
    after: Configured,
    rules: Iterable[RulesDifference],
) -> list[Applying]:
    """Return what begins or ends and applies. `rules`: those that differ.

    A behaviour of one mode is looked at only if the mode stays: between modes everything differs.
    """
    facts = facts_of(objects, before, after)
    found = []
    services: tuple[str, ...] | None
    for each in versions.BEHAVIOURS:
        had, has = (each.in_force(side.side.version, side.mode.name) for side in (before, after))
        if had == has or (each.modes and before.mode.name != after.mode.name):
            continue
        event = _OF_FLOWS.get(each.name)
        if event and still_answered(before, event) == still_answered(after, event):
            continue  # IPVS ends them itself, as does a proxy that forwards
        if each is versions.SINGLE_ENDPOINT_DNAT:
            services = _some({rule.service for rule in rules if _chooses_from_one(rule)})
        elif each.name in _APPLIES:
            services = _APPLIES[each.name](facts)
        else:
            services = None
        if services is not None:
            found.append(_applying(each, begins=has, services=services))
    return found


def unseen(before: Version, after: Version) -> int:
    """Count the rows of the table that differ, but that no emulator can show."""
    return sum(
        1
        for each in versions.BEHAVIOURS
        if each.unseen and before.has(each) != after.has(each) and each.name not in _APPLIES
    )


def _applying(each: Behaviour, *, begins: bool, services: tuple[str, ...]) -> Applying:
    texts = (each.was, each.summary)
    return Applying(
        name=each.name,
        begins=begins,
        before=texts[not begins],
        after=texts[begins],
        source=each.source,
        packets=each.packets,
        services=services,
    )


def _chooses_from_one(difference: RulesDifference) -> bool:
    """Tell whether one side has a random choice from one endpoint, which the other has not."""
    return any(
        "numgen random mod 1 map" in rule
        for chain in difference.chains
        for rule in (*chain.removed, *chain.added)
    )


def _with_udp(facts: Facts) -> tuple[str, ...] | None:
    return _some(
        named(each) for each in facts.services if any(p.protocol == "UDP" for p in each.spec.ports)
    )


def _long_names(facts: Facts) -> tuple[str, ...] | None:
    return _some(
        named(each)
        for each in facts.services
        if facts.lacks_endpoints(each)
        and any(
            len(f"{named(each)}:{port.name}" if port.name else named(each)) > _LONGEST_COMMENT
            for port in each.spec.ports
        )
    )


def _node_ports(facts: Facts) -> tuple[str, ...] | None:
    gates = facts.config.feature_gates
    if not gates.get(_LOCALHOST_GATE, gates.get("AllAlpha", False)):
        return None
    return _some(
        named(each) for each in facts.services if any(port.node_port for port in each.spec.ports)
    )


def _lists_loopback(facts: Facts) -> bool:
    entries = facts.config.node_port_addresses
    networks = (parse_cidr(entry) for entry in entries)
    return LOCALHOST in entries or any(each and each.is_loopback for each in networks)


def _uses_keywords(facts: Facts) -> bool:
    entries = facts.config.node_port_addresses
    return entries != (PRIMARY,) and bool({*entries} & {PRIMARY, LOCALHOST, ALL})


def _names_removed_gates(facts: Facts) -> bool:
    return any(GATES[name].until for name in facts.config.feature_gates if name in GATES)


_OF_FLOWS = {
    versions.CUTS_UNSERVED_UDP.name: Event.ENDPOINTS_GO,
    versions.CUTS_REMOVED_UDP.name: Event.SERVICE_GOES,
}
_APPLIES: Mapping[str, Test] = {
    versions.COMMENTS_CUT.name: _long_names,
    versions.LOCALHOST_NODE_PORTS.name: _node_ports,
    versions.LOOPBACK_LISTED_SILENTLY.name: _if(_lists_loopback),
    versions.IPVS_GATE.name: _if(lambda facts: bool(facts.mode_gate)),
    versions.NODE_PORT_KEYWORDS.name: _if(_uses_keywords),
    versions.EXITS_WITH_ITS_NODE.name: _if(lambda _: True),
    versions.CUTS_UNSERVED_UDP.name: _with_udp,
    versions.CUTS_REMOVED_UDP.name: _with_udp,
    versions.WARNS_OF_UNSET_MODE.name: _if(lambda facts: not facts.mode_chosen),
    versions.CONNTRACK_MAX_NOT_LOWERED.name: _if(
        lambda facts: facts.config.conntrack.max_per_core > 0
    ),
    versions.GATES_REMOVED.name: _if(_names_removed_gates),
}
