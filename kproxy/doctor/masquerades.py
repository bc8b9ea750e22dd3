"""Checks of rules that give packets between pods, or to them, the address of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from kproxy.address import Family, family_of
from kproxy.config.node import pod_cidrs
from kproxy.doctor.facts import Facts, HostFacts, RuleTable, key_of, listed, pod_address
from kproxy.doctor.finding import Finding, Severity, Sureness
from kproxy.doctor.rule_walk import Flow, Verdict, source_changes

_OURS = "KUBE-"
_OUTSIDE = {Family.IPV4: "198.18.0.1", Family.IPV6: "2001:db8:ffff::1"}
_Ends = tuple[Sequence[str], Sequence[str]]  # CIDRs of packets; no source is for all


class _Masquerading(NamedTuple):
    """Chains in which sources may be changed. `shows` prints them; `spares` returns the commands
    that spare packets from a rule.
    """

    family: Family
    chains: Mapping[str, Sequence[str]]
    start: str
    shows: str
    spares: Callable[[Verdict, _Ends], Iterator[str]]


class _Case(NamedTuple):
    """Packets whose source pods are to see: from `who`, as `whom` see them."""

    flow: Flow
    ends: _Ends
    who: str
    whom: str


def plugin_masquerade(facts: Facts) -> Iterator[Finding]:
    """Find masquerading of the network plug-in that hides clients from pods, and so what a policy
    Local keeps.
    """
    for host in facts.nodes:
        for each in _masquerading(host):
            yield from _hides(host, each, facts)


def _masquerading(host: HostFacts) -> Iterator[_Masquerading]:
    for table in host.tables or ():
        if table.name == "nat":
            shows = f"{table.command} -t nat"
            spares = _in_iptables(table)
            yield _Masquerading(table.family, table.chains, "POSTROUTING", shows, spares)
    for chain in host.base_chains or ():
        if (chain.type, chain.hook) != ("nat", "postrouting"):
            continue
        where = f"{chain.family} {chain.table}"
        for family, name in ((Family.IPV4, "ip"), (Family.IPV6, "ip6")):
            if chain.family in (name, "inet"):
                spares = _in_nftables(where, name)
                shows = f"nft list table {where}"
                yield _Masquerading(family, chain.saved, chain.name, shows, spares)


def _in_iptables(table: RuleTable) -> Callable[[Verdict, _Ends], Iterator[str]]:
    def spares(rule: Verdict, ends: _Ends) -> Iterator[str]:
        sources, destinations = ends
        # Just before that rule, and so behind the proxy's: it masquerades what it has marked.
        place = f"{rule.chain} {[*table.chains[rule.chain]].index(rule.rule) + 1}"
        which = ["-s", ",".join(sources)] if sources else []
        which += ["-d", ",".join(destinations)]
        program = table.command.removesuffix("-save")
        yield f"{program} -t nat -I {place} {' '.join(which)} -j RETURN"

    return spares


def _in_nftables(where: str, protocol: str) -> Callable[[Verdict, _Ends], Iterator[str]]:
    def spares(rule: Verdict, ends: _Ends) -> Iterator[str]:
        sources, destinations = ends
        begin = f"nft insert rule {where} {rule.chain}"
        for source, each in product(sources or [""], destinations):
            whose = f"{protocol} saddr {source} " if source else ""
            yield f"{begin} {whose}{protocol} daddr {each} return"

    return spares


def _hides(host: HostFacts, where: _Masquerading, facts: Facts) -> Iterator[Finding]:
    hidden = [
        (each, rule)
        for each in _cases(host, where.family, facts)
        if (rule := source_changes(where.chains, where.start, each.flow, but=_OURS))
    ]
    if not hidden:
        return
    first, rule = hidden[0]
    yield Finding(
        id="plugin-masquerade",
        severity=Severity.WARNING,
        host=host.name,
        evidence=(
            f"-A {rule.chain} {rule.rule} ({where.shows})",
            (
                f"it changes the source of what passes {host.name} from {first.flow.source} to"
                f" {first.flow.destination}: {first.who} have the address of {host.name}, as"
                f" {first.whom} see it"
            ),
        ),
        remedy=(
            (
                "let the network plug-in masquerade only what leaves the cluster"
                " (ip-masq-agent: nonMasqueradeCIDRs; Flannel: --ip-masq); or, until it does:"
            ),
            *(f"$ {line}" for each, its in hidden for line in where.spares(its, each.ends)),
        ),
        sure=Sureness.LIKELY,
    )


def _cases(host: HostFacts, family: Family, facts: Facts) -> Iterator[_Case]:
    here = pod_address(facts, host.name, family)
    if not here:
        return
    own = _cidr(facts, host.name, here)
    if kept := _local_services(facts, host.name, family):
        yield _Case(Flow(_OUTSIDE[family], here), ((), (own,)), "clients outside", kept)
    others = {
        node: address
        for node in facts.pod_nodes
        if node != host.name and (address := pod_address(facts, node, family))
    }
    if others:
        there = next(iter(others.values()))
        cidrs = [_cidr(facts, node, address) for node, address in others.items()]
        mine, theirs = f"pods of {host.name}", "pods of other nodes"
        yield _Case(Flow(here, there), ((own,), cidrs), mine, theirs)
        yield _Case(Flow(there, here), (cidrs, (own,)), theirs, mine)


def _cidr(facts: Facts, node: str, address: str) -> str:
    """Return the pod CIDR of a node that an address is of; the address if that is not known."""
    for each in pod_cidrs(facts.store.node(node)):
        if family_of(each) is family_of(address):
            return each
    return address


def _local_services(facts: Facts, node: str, family: Family) -> str:
    """Return the Services whose policy keeps clients' addresses and that have endpoints there."""
    found = []
    for service in facts.services:
        if service.spec.external_traffic_policy == "Local":
            slices = facts.store.slices(key_of(service))
            if any(
                each.node_name == node
                for one in slices
                if one.address_type == family.value
                for each in one.endpoints
            ):
                found.append("/".join(key_of(service)))
    return listed(found)
