"""The iptables rules around the virtual servers, as text for iptables-restore. Pure.

IPVS forwards; these rules masquerade, check source ranges, and protect other ports of the host at
the addresses of Services. They refer to ipsets, so their number is independent of the Services.
Source: kube-proxy v1.36 ipvs/proxier.go, writeIptablesRules. The order of words is significant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from kproxy.address import Family
from kproxy.backend import masquerade
from kproxy.forwarding.plan import NodeSettings
from kproxy.kernel.iptables_save import Jump, Table
from kproxy_ipvs.names import CHAINS, JUMPS, SETS, set_name


def nat_rules(settings: NodeSettings, filled: Collection[str]) -> Iterator[str]:
    """Yield the rules of the nat table, each with its "-A CHAIN ". `filled`: non-empty sets."""
    family = settings.family
    loopback = "127.0.0.0/8" if family is Family.IPV4 else "::1/128"
    yield f"-A KUBE-SERVICES -s {loopback} -j RETURN"
    if "LOOP-BACK" in filled:
        match = _commented(family, "LOOP-BACK", "dst,dst,src")
        yield f"-A KUBE-POSTROUTING {match} -j MASQUERADE"
    if "LOAD-BALANCER" in filled:
        match = _commented(family, "LOAD-BALANCER", "dst,dst")
        yield f"-A KUBE-SERVICES {match} -j KUBE-LOAD-BALANCER"
    if "LOAD-BALANCER-LOCAL" in filled:
        match = _commented(family, "LOAD-BALANCER-LOCAL", "dst,dst")
        yield f"-A KUBE-LOAD-BALANCER {match} -j RETURN"
    yield from _node_port_rules(family, filled)
    if "CLUSTER-IP" in filled:
        yield f"-A KUBE-SERVICES {_masqueraded_cluster_ips(settings)} -j KUBE-MARK-MASQ"
    if "EXTERNAL-IP" in filled:
        match = _commented(family, "EXTERNAL-IP", "dst,dst")
        yield f"-A KUBE-SERVICES {match} -j KUBE-MARK-MASQ"
        yield from _accepted_external_ips(match)
    if "EXTERNAL-IP-LOCAL" in filled:
        yield from _accepted_external_ips(_commented(family, "EXTERNAL-IP-LOCAL", "dst,dst"))
    yield "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT"
    yield "-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ"
    for suffix in ("CLUSTER-IP", "LOAD-BALANCER"):
        if suffix in filled:
            yield f"-A KUBE-SERVICES {_match(family, suffix, 'dst,dst')} -j ACCEPT"
    yield from masquerade.nat_rules(settings)


def filter_rules(
    settings: NodeSettings, filled: Collection[str], firewall: Iterable[str]
) -> Iterator[str]:
    """Yield the rules of the filter table. `firewall`: the rules of single service ports."""
    family = settings.family
    if "LOAD-BALANCER-FW" in filled:
        match = _commented(family, "LOAD-BALANCER-FW", "dst,dst")
        yield f"-A KUBE-PROXY-FIREWALL {match} -j KUBE-SOURCE-RANGES-FIREWALL"
    for suffix in ("LOAD-BALANCER-SOURCE-CIDR", "LOAD-BALANCER-SOURCE-IP"):
        if suffix in filled:
            match = _commented(family, suffix, "dst,dst,src")
            yield f"-A KUBE-SOURCE-RANGES-FIREWALL {match} -j RETURN"
    yield "-A KUBE-SOURCE-RANGES-FIREWALL -j DROP"
    yield from firewall
    yield from masquerade.forward_rules(settings)
    health_checks = _commented(family, "HEALTH-CHECK-NODE-PORT", "dst")
    yield f"-A KUBE-NODE-PORT {health_checks} -j ACCEPT"
    for suffix in ("LOAD-BALANCER", "CLUSTER-IP", "EXTERNAL-IP", "EXTERNAL-IP-LOCAL"):
        yield f"-A KUBE-IPVS-FILTER {_match(family, suffix, 'dst,dst')} -j RETURN"
    yield f"-A KUBE-IPVS-FILTER {_match(family, 'HEALTH-CHECK-NODE-PORT', 'dst')} -j RETURN"
    # Other servers of this host (sshd) must not answer on the address of a Service.
    yield (
        "-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW"
        f" {_match(family, 'IPVS-IPS', 'dst')} -j REJECT"
    )


def all_rules(
    settings: NodeSettings, filled: Collection[str], firewall: Iterable[str]
) -> dict[Table, list[str]]:
    """Return the rules of both tables. `firewall`: the rules of single service ports."""
    return {
        "nat": [*nat_rules(settings, filled)],
        "filter": [*filter_rules(settings, filled, sorted(firewall))],
    }


def transaction(
    tables: Mapping[Table, Iterable[str]], present: Collection[Jump] = ()
) -> Iterator[str]:
    """Yield text that empties all chains of these tables, fills them with these rules, and adds the
    missing jumps.
    """
    for table, rules in tables.items():
        yield f"*{table}\n"
        yield "".join(f":{chain} - [0:0]\n" for where, chain in CHAINS if where == table)
        yield "".join(f"{rule}\n" for rule in rules)
        for jump in JUMPS:
            if jump.table == table and jump not in present:
                yield f"-I {jump.chain} {jump.rule}\n"
        yield "COMMIT\n"


def _node_port_rules(family: Family, filled: Collection[str]) -> Iterator[str]:
    """Yield the rules for node ports, first those with externalTrafficPolicy Local, which keep the
    source.
    """
    for protocol, kind, match in (
        ("tcp", "TCP", "dst"),
        ("udp", "UDP", "dst"),
        ("sctp", "SCTP-HASH", "dst,dst"),
    ):
        for suffix, verdict in (
            (f"NODE-PORT-LOCAL-{kind}", "RETURN"),
            (f"NODE-PORT-{kind}", "KUBE-MARK-MASQ"),
        ):
            if suffix in filled:
                matched = _commented(family, suffix, match)
                yield f"-A KUBE-NODE-PORT -p {protocol} {matched} -j {verdict}"


def _masqueraded_cluster_ips(settings: NodeSettings) -> str:
    if settings.masquerade_all:
        return _commented(settings.family, "CLUSTER-IP", "dst,dst")
    if settings.detector:
        match = _commented(settings.family, "CLUSTER-IP", "dst,dst")
        return f"{match} {masquerade.local_match(settings.detector, negate=True)}"
    # Without a detector local pods are not known. Then the rule matches packets whose *source* is a
    # cluster IP: those of this node itself, which have their destination on kube-ipvs0 as source.
    return _commented(settings.family, "CLUSTER-IP", "src,dst")


def _accepted_external_ips(match: str) -> Iterator[str]:
    yield (
        f"-A KUBE-SERVICES {match} -m physdev ! --physdev-is-in"
        " -m addrtype ! --src-type LOCAL -j ACCEPT"
    )
    yield f"-A KUBE-SERVICES {match} -m addrtype --dst-type LOCAL -j ACCEPT"


def _commented(family: Family, suffix: str, directions: str) -> str:
    return f'-m comment --comment "{SETS[suffix].comment}" {_match(family, suffix, directions)}'


def _match(family: Family, suffix: str, directions: str) -> str:
    return f"-m set --match-set {set_name(family, suffix)} {directions}"
