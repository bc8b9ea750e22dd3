"""Checks of a node's rules: whose they are, whether they are right, and others that interfere."""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.address import Family
from kproxy.doctor.facts import BaseChain, Facts, HostFacts, RuleTable, listed
from kproxy.doctor.finding import Finding, Severity, Sureness
from kproxy.doctor.rule_walk import Verdict, ends_here
from kproxy.kernel.leading import for_shell

_OURS = "KUBE-"
_HARMLESS = "--ctstate INVALID"  # conntrack: such packets belong to no connection
# The built-in chains that traffic of Services passes, and what ends its way there.
_BEFORE = {  # only rules before the proxy's
    ("nat", "PREROUTING"): {"ACCEPT", "RETURN", "DNAT", "REDIRECT", "DROP"},
    ("nat", "OUTPUT"): {"ACCEPT", "RETURN", "DNAT", "REDIRECT", "DROP"},
}
_ANYWHERE = {
    ("raw", "PREROUTING"): {"DROP", "NOTRACK", "CT"},
    ("raw", "OUTPUT"): {"DROP", "NOTRACK", "CT"},
    ("mangle", "PREROUTING"): {"DROP"},
    ("mangle", "FORWARD"): {"DROP"},
    ("mangle", "OUTPUT"): {"DROP"},
    ("filter", "FORWARD"): {"DROP", "REJECT"},
    ("filter", "OUTPUT"): {"DROP", "REJECT"},
}
_INPUT = ("filter", "INPUT")
_NFT_DROPS = {"drop", "reject"}
_NFT_TRANSLATES = {"dnat", "redirect"}
_NFT_HOOKS = ("prerouting", "forward", "output")


def no_proxy(facts: Facts) -> Iterator[Finding]:
    """Find nodes on which no service proxy has written anything."""
    if not facts.services:
        return
    for host in facts.nodes:
        if host.in_force is not None and not host.in_force:
            yield Finding(
                id="no-proxy",
                severity=Severity.ERROR,
                host=host.name,
                evidence=("there is nothing of any proxy mode: no chain, table, virtual server",),
                remedy=(
                    "start a proxy there, a Pod of kube-proxy or kproxy run --kubeconfig FILE:",
                    "$ kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide",
                ),
            )


def two_proxies(facts: Facts) -> Iterator[Finding]:
    """Find nodes with two proxies: rules of two modes or variants of iptables, or two processes."""
    for host in facts.nodes:
        seen = []
        for family in Family:
            own = [each for each in host.in_force or () if each.family is family]
            if len(own) > 1:
                names = listed(sorted({str(each) for each in own}))
                seen.append(f"there are rules of {names} for {family.value}")
        if seen:
            seen.append("the first that sees a packet decides, perhaps by endpoints of long ago")
        if host.running and len(host.running) > 1:
            seen.append(f"at work there: {listed(host.running)}; each undoes what the other writes")
        if seen:
            yield Finding(
                id="two-proxies",
                severity=Severity.ERROR,
                host=host.name,
                evidence=tuple(seen),
                remedy=(
                    "end both proxies; then, on the node, as kube-proxy --cleanup does:",
                    "$ kproxy run --cleanup",
                    "and start the one that is wanted again",
                ),
            )


def rules_differ(facts: Facts) -> Iterator[Finding]:
    """Find nodes whose rules are not what the objects ask for."""
    for host in facts.nodes:
        if not host.differences:
            continue
        seen = []
        for each in host.differences[:3]:
            where = f"{each.family.value} {each.table} {each.name}"
            lacks = f"lacks {len(each.lacking)}" if each.lacking else ""
            more = f"has {len(each.foreign)} too many" if each.foreign else ""
            first = (each.lacking or each.foreign)[0]
            seen.append(f"{where}: {' and '.join(filter(None, (lacks, more)))}, as: {first}")
        yield Finding(
            id="rules-differ",
            severity=Severity.ERROR,
            host=host.name,
            evidence=(
                (
                    "chains, sets or maps differ from what a full sync of the objects writes,"
                    f" {len(host.differences)} of them"
                ),
                *seen,
            ),
            remedy=(
                (
                    "is the proxy of this node running, and does it reach the API server? its log"
                    " tells; restarted, it writes all"
                ),
            ),
            sure=Sureness.LIKELY,  # a sync may be under way
        )


def foreign_rules(facts: Facts) -> Iterator[Finding]:
    """Find rules of others that drop, accept or translate what is meant for the proxy."""
    for host in facts.nodes:
        for table in host.tables or ():
            yield from _in_iptables(host, table, facts)
        for chain in host.base_chains or ():
            yield from _in_nftables(host, chain, facts)


def _in_iptables(host: HostFacts, table: RuleTable, facts: Facts) -> Iterator[Finding]:
    wanted = {**_BEFORE, **_ANYWHERE}
    if facts.forwards_itself:  # its own sockets take what is meant for Services
        wanted[_INPUT] = {"DROP", "REJECT"}
    for (name, chain), targets in wanted.items():
        if name != table.name:
            continue
        stops = (name, chain) in _BEFORE
        found = [
            each
            for each in ends_here(table.chains, chain, targets, until=_OURS if stops else "")
            if _HARMLESS not in each.rule
        ]
        drops = table.policies.get(chain) == "DROP"
        if found:
            yield _of_rules(host, table, chain, found)
        elif drops and not _accepts(table, chain):
            command = _program(table)
            yield Finding(
                id="foreign-rule",
                severity=Severity.WARNING,
                host=host.name,
                evidence=(
                    (
                        f"{name} {chain} has policy DROP, and no rule of others that accepts"
                        f" ({table.command} -t {name})"
                    ),
                    "a proxy accepts there only what it masquerades, and answers",
                ),
                remedy=(
                    f"$ {command} -t {name} -P {chain} ACCEPT",
                    "or accept only what pods send and get: -s PODS -j ACCEPT, -d PODS -j ACCEPT",
                ),
                sure=Sureness.LIKELY,
            )


def _of_rules(host: HostFacts, table: RuleTable, chain: str, found: list[Verdict]) -> Finding:
    command = _program(table)
    first = found[0]
    before = "before the proxy's own rules, " if (table.name, chain) in _BEFORE else ""
    drops = {"DROP", "REJECT"} & {each.target for each in found}
    what = "drop packets" if drops else "decide over packets"
    return Finding(
        id="foreign-rule",
        severity=Severity.ERROR if first.certain else Severity.WARNING,
        host=host.name,
        evidence=(
            (
                f"{before}rules of {table.name} {chain} {what}, {len(found)} of them"
                f" ({table.command} -t {table.name})"
            ),
            *(f"-A {each.chain} {each.rule}" for each in found[:3]),
        ),
        remedy=(
            "what was not meant for traffic of Services is to go:",
            *(f"$ {command} -t {table.name} -D {e.chain} {for_shell(e.rule)}" for e in found[:3]),
        ),
        sure=Sureness.LIKELY if first.certain else Sureness.POSSIBLE,
    )


def _accepts(table: RuleTable, chain: str) -> bool:
    """Tell whether others accept anything there that is no answer."""
    accepting = ends_here(table.chains, chain, {"ACCEPT"}, but=_OURS)
    return any("ESTABLISHED" not in each.rule for each in accepting)


def _in_nftables(host: HostFacts, chain: BaseChain, facts: Facts) -> Iterator[Finding]:
    hooks = (*_NFT_HOOKS, "input") if facts.forwards_itself else _NFT_HOOKS
    if chain.hook not in hooks:
        return
    wanted = _NFT_DROPS if chain.type == "filter" else _NFT_TRANSLATES
    found = [text for what, text in chain.rules if what in wanted]
    accepts = any(what == "accept" for what, _ in chain.rules)
    if not found and not (chain.policy == "drop" and not accepts):
        return
    seen = found[:3] or [f"policy {chain.policy}, and no rule accepts"]
    where = f"{chain.family} {chain.table}"
    yield Finding(
        id="foreign-rule",
        severity=Severity.WARNING,
        host=host.name,
        evidence=(
            (
                f"chain {chain.name} of table {where}, hook {chain.hook} priority {chain.priority},"
                " may decide over packets of Services"
            ),
            *seen,
        ),
        remedy=(
            "what was not meant for traffic of Services is to go:",
            f"$ nft -a list chain {where} {chain.name}",
            f"and then nft delete rule {where} {chain.name} handle N",
        ),
        sure=Sureness.LIKELY,
    )


def _program(table: RuleTable) -> str:
    """Return the command that changes a table."""
    return table.command.removesuffix("-save")
