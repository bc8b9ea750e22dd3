"""Checks that what a pod sends to itself through a Service gets another source. Otherwise it drops
its own packet, as one that cannot have come from there.

Only rules of iptables are walked: in nftables, rules of others do not keep a proxy's own from
masquerading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kproxy.doctor.facts import Facts, HostFacts, RuleTable, pod_address
from kproxy.doctor.finding import Finding, Severity, Sureness
from kproxy.doctor.rule_walk import Flow, Verdict, ends_before
from kproxy.kernel.leading import for_shell, target

_MASQUERADING, _MARKING, _SERVICES = "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-SERVICES"
_ENDPOINT = "KUBE-SEP-"
_DESTINATION = re.compile(r"--to-destination (?:\[([0-9a-f:]+)\]|([\d.]+))")


def hairpin_masquerade(facts: Facts) -> Iterator[Finding]:
    """Find nodes where a pod that is chosen for its own connection keeps its address."""
    if facts.forwards_itself:
        return
    for host in facts.nodes:
        for table in host.tables or ():
            if table.name != "nat" or not table.chains.get(_SERVICES):
                continue
            if own := pod_address(facts, host.name, table.family) or _endpoint(table):
                rule = ends_before(table.chains, "POSTROUTING", Flow(own, own), _MASQUERADING)
                if rule:
                    yield _of_a_rule(host, table, own, rule)
                    continue
            if not host.differences and (seen := _lacking(table)):  # else they tell more
                yield _finding(host, seen, "the proxy writes all its rules when it starts again")


def _endpoint(table: RuleTable) -> str:
    """Return an endpoint that the rules lead to, "" if there is none."""
    return next((own for _, _, own in _endpoints(table)), "")


def _endpoints(table: RuleTable) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield the chains of endpoints with their rules, and whom they lead to."""
    for chain, rules in table.chains.items():
        if chain.startswith(_ENDPOINT):
            for found in filter(None, map(_DESTINATION.search, rules)):
                yield chain, rules, found[1] or found[2]


def _lacking(table: RuleTable) -> str:
    """Return what a proxy writes for such packets and is not there, "" if all is."""
    shows = f"({table.command} -t nat)"
    if all(target(each) != _MASQUERADING for each in table.chains.get("POSTROUTING", ())):
        return f"no rule of POSTROUTING leads to {_MASQUERADING} {shows}"
    if all(target(each) != "MASQUERADE" for each in table.chains.get(_MASQUERADING, ())):
        return f"no rule of {_MASQUERADING} masquerades {shows}"
    if all(target(each) != "MARK" for each in table.chains.get(_MARKING, ())):
        return f"no rule of {_MARKING} marks what is to be masqueraded {shows}"
    for chain, rules, own in _endpoints(table):
        if not any(f"-s {own}/" in each and target(each) == _MARKING for each in rules):
            return f"{chain} does not lead what {own} sends to itself to {_MARKING} {shows}"
    return ""


def _of_a_rule(host: HostFacts, table: RuleTable, own: str, rule: Verdict) -> Finding:
    program = table.command.removesuffix("-save")
    return _finding(
        host,
        f"-A {rule.chain} {rule.rule} ({table.command} -t nat) ends the way of what {own} sends to"
        f" itself before {_MASQUERADING}",
        f"$ {program} -t nat -D {rule.chain} {for_shell(rule.rule)}",
        f"or let the network plug-in write it behind {_MASQUERADING}",
    )


def _finding(host: HostFacts, seen: str, *remedy: str) -> Finding:
    return Finding(
        id="hairpin-masquerade",
        severity=Severity.WARNING,
        host=host.name,
        evidence=(
            seen,
            (
                "a pod there that is chosen for its own connection to a Service does not reach"
                " itself: the answer would go to its own address"
            ),
        ),
        remedy=remedy,
        sure=Sureness.LIKELY,
    )
