"""The elements of sets and maps that are of one Service, in either layout. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from kproxy.backend import BadInput, FrontendKind, ListedRule, Sought
from kproxy_nftables.names import NODE_PORT_IPS

_ENDPOINTS = re.compile(r"(nodeport-)?(?:local-)?endpoints-(tcp|udp|sctp)")
_COMMENT = re.compile(r' comment "([^"]*)"')
_CHAIN = re.compile(r"(?:jump|goto) (\S+)")
_OBJECT = re.compile(r"(?:set|map) (.+)")

Table = dict[str, tuple[ListedRule, ...]]  # by `chain NAME`, `set NAME`, `map NAME`


class Keys(NamedTuple):
    """The keys of elements, or what they begin with, as nft prints them. Sets differ in what they
    have of a frontend; keys of one Service never meet those of another.
    """

    whole: frozenset[str]
    """Addresses and hairpins, which are keys by themselves."""
    frontends: frozenset[str]
    """`ADDRESS . PROTOCOL . PORT`, or `PROTOCOL . PORT` of a node port; a source may follow."""
    balanced: frozenset[tuple[str, str]]
    """A protocol, and `ADDRESS . PORT` or `PORT`, which a slot follows (flat layout)."""

    def own(self, name: str, element: str) -> bool:
        """Tell whether an element of the set or map of that name is of the Service."""
        key = key_of(element)
        if name == NODE_PORT_IPS:
            return False
        if found := _ENDPOINTS.fullmatch(name):
            return (found[2], key.rpartition(" . ")[0]) in self.balanced
        if key in self.whole or key in self.frontends:
            return True
        return key.rpartition(" . ")[0] in self.frontends  # with a source range


def key_of(element: str) -> str:
    """Return the key of an element, without its comment and value."""
    return _COMMENT.sub("", element).partition(" : ")[0]


def keys_of(table: Table, sought: Sought) -> Keys:
    """Return the keys of a Service by its plans or, without those, by its name, which kube-proxy's
    layout has. Raises BadInput in the other.
    """
    return _named(table, sought) if sought.plans is None else _planned(sought)


def _planned(sought: Sought) -> Keys:
    whole, frontends, balanced = set(), set(), set()
    for plan, frontend in sought.frontends():
        protocol = plan.protocol.lower()
        if frontend.kind is FrontendKind.NODE_PORT:
            frontends.add(f"{protocol} . {frontend.port}")
            balanced.add((protocol, str(frontend.port)))
        else:
            whole.add(frontend.address)
            frontends.add(f"{frontend.address} . {protocol} . {frontend.port}")
            balanced.add((protocol, f"{frontend.address} . {frontend.port}"))
    for plan in sought.plans or ():
        for each in plan.reachable:
            whole.add(each.address)
            behind = f"{plan.protocol.lower()} . {each.port}"
            whole.add(f"{each.address} . {each.address} . {behind}")
    return Keys(frozenset(whole), frozenset(frontends), frozenset(balanced))


def _named(table: Table, sought: Sought) -> Keys:
    frontends = {
        key_of(rule.text)
        for place, rules in table.items()
        if place.startswith("map ")
        for rule in rules
        if names(rule.text, sought)
    }
    service_ips = table.get("map service-ips", ())
    if not frontends and any(" : goto lb-" in rule.text for rule in service_ips):
        raise BadInput(
            ["the flat layout of nftables mode does not name Services"],
            remedy="give the Service's objects with --manifests",
        )
    whole = {each.partition(" . ")[0] for each in frontends}
    return Keys(frozenset(whole), frozenset(frontends), frozenset())


def names(element: str, sought: Sought) -> bool:
    """Tell whether the comment of an element, or the chain that it leads to, names the Service."""
    if (comment := _COMMENT.search(element)) and sought.is_named(comment[1]):
        return True
    leads = _CHAIN.search(element)
    return leads is not None and is_named(leads[1], sought)


def is_named(chain: str, sought: Sought) -> bool:
    """Tell whether a chain is of the Service: `KIND-HASH-namespace/name/protocol/port...`."""
    parts = chain.split("/")
    if len(parts) < 4:
        return False
    port = parts[3].partition("__")[0]
    service = f"{parts[0].split('-', 2)[-1]}/{parts[1]}"
    return sought.is_named(f"{service}:{port}" if port else service)


def looked_up(table: Table, rule: str) -> Iterator[str]:
    """Yield the `set NAME` and `map NAME` that a rule looks up, in order."""
    there = {found[1]: place for place in table if (found := _OBJECT.fullmatch(place))}
    for name in re.findall(r"@(\S+)", rule):
        if name in there:
            yield there[name]
