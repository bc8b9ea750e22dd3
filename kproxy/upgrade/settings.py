"""Compares the meaning of a configuration: refusals, warnings, gates, effective values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import fields, replace

from kproxy.address import Family
from kproxy.api.types import KubernetesObject, Node
from kproxy.config import ProxyConfig, node_settings
from kproxy.config.durations import format_duration
from kproxy.config.gates import GATES, enabled
from kproxy.config.warnings import start_warnings
from kproxy.errors import BadInput
from kproxy.upgrade.rules import nodes_compared
from kproxy.upgrade.side import Configured


class SettingDifference(Struct, frozen=True, kw_only=True):
    """A value that a setting or gate has on each side. `given`: the configuration names it."""

    name: str
    before: str
    after: str
    given: bool = False


class Said(Struct, frozen=True, kw_only=True):
    """A message of a start on one side: a problem (it does not start then), or a warning."""

    side: str
    text: str
    refuses: bool = False


def said(
    objects: Sequence[KubernetesObject], before: Configured, after: Configured, config: str
) -> list[Said]:
    """Return the problems of both sides, and the warnings that only one has. `config`: the file."""
    found = [
        Said(side=each.label, text=problem.at(config), refuses=True)
        for each in (before, after)
        for problem in each.read.problems
    ]
    sides = (before, after)
    told = [_warnings(objects, each, config) for each in sides]
    for each, own, others in zip(sides, told, reversed(told), strict=True):
        found += [Said(side=each.label, text=text) for text in own if text not in others]
    return found


def _warnings(objects: Sequence[KubernetesObject], side: Configured, config: str) -> list[str]:
    told = [each.at(config) for each in (*side.read.notices, *side.read.at_start)]
    if side.read.problems:
        return told
    name, node = next(iter(nodes_compared(objects, side).items()))
    try:
        own = replace(side.config, hostname_override=name)
        told += start_warnings(own, node, tuple(Family), side.mode.config)
    except BadInput as error:
        told += error.problems
    return told


def gate_differences(before: Configured, after: Configured) -> list[SettingDifference]:
    """Return the gates that are on, off, locked or known on one side only."""
    found = []
    for name in GATES:
        one, other = (_gate(each.config, name) for each in (before, after))
        if one != other:
            given = name in before.config.feature_gates
            found.append(SettingDifference(name=name, before=one, after=other, given=given))
    return found


def _gate(config: ProxyConfig, name: str) -> str:
    gate = GATES[name]
    if not gate.known_in(config.emulate):
        return "unknown"
    state = "on" if enabled(config.feature_gates, name, config.emulate) else "off"
    return f"{state}, locked" if gate.locked else state


def value_differences(
    objects: Sequence[KubernetesObject], before: Configured, after: Configured
) -> list[SettingDifference]:
    """Return the settings that mean something else, as far as the configuration can be used."""
    one, other = (_values(objects, each) for each in (before, after))
    return [
        SettingDifference(name=name, before=one.get(name, "-"), after=other.get(name, "-"))
        for name in dict.fromkeys((*one, *other))
        if one.get(name, "-") != other.get(name, "-")
    ]


def _values(objects: Sequence[KubernetesObject], side: Configured) -> dict[str, str]:
    if side.read.problems:
        return {}
    name, node = next(iter(nodes_compared(objects, side).items()))
    found = {"mode": side.mode.name}
    found |= _of_node(side, name, node)
    section = side.mode.config.timing
    timing = side.mode.config.timing_of(side.config)
    found["syncPeriod"] = f"{format_duration(timing.sync_period)} ({section}.syncPeriod)"
    least = format_duration(timing.min_sync_period)
    found["minSyncPeriod"] = f"{least} ({section}.minSyncPeriod)"
    found |= dict(_own_section(side))
    return found


def _of_node(side: Configured, name: str, node: Node | None) -> dict[str, str]:
    config = replace(side.config, hostname_override=name)
    try:
        settings = node_settings(config, node, mode=side.mode.config, options=side.options)
    except BadInput as error:
        return {"detectLocalMode": "; ".join(error.problems)}
    both: Mapping[str, list[str]] = {
        "nodePortAddresses": [
            ", ".join(each.node_port_addresses.cidrs) or "all addresses"
            for each in settings.values()
        ],
        "node ports on loopback addresses": [
            "translated" if each.localhost_node_ports else each.loopback_node_ports.value
            for each in settings.values()
        ],
        "masqueradeAll": [str(each.masquerade_all).lower() for each in settings.values()],
        "masqueradeBit": [str(each.masquerade_bit) for each in settings.values()],
        "ServiceCIDRs": [
            "looked at" if side.mode.config.service_cidrs else "not looked at" for _ in settings
        ],
    }
    return {
        what: values[0]
        if len({*values}) == 1
        else "; ".join(
            f"{family.value}: {value}" for family, value in zip(settings, values, strict=True)
        )
        for what, values in both.items()
    }


def _own_section(side: Configured) -> Iterator[tuple[str, str]]:
    """Yield what the mode's own section says, unless it is the default."""
    section = side.mode.config.section
    if not section:
        return
    initial, own = getattr(ProxyConfig(), section), getattr(side.config, section)
    for info in fields(own):
        value = getattr(own, info.name)
        if value != getattr(initial, info.name) and not info.name.endswith("sync_period"):
            shown = ", ".join(value) if isinstance(value, tuple) else str(value)
            yield f"{section}.{info.encode_name}", shown
