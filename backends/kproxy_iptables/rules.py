"""The rules of one service port, as text for iptables-restore. Pure.

There are two kinds: the service port's own chains (`service_chains`), and its rules in the dispatch
chains that all service ports share (`dispatch_rules`). The order of words within a rule is
significant: the kernel keeps the matches in it, and dumps are compared with those of kube-proxy.
Source: kube-proxy v1.36 iptables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from kproxy.address import Family
from kproxy.backend import masquerade
from kproxy.forwarding.plan import (
    Endpoint,
    Frontend,
    FrontendKind,
    Masquerade,
    NodeSettings,
    OnEmpty,
    Pool,
    ServicePlan,
)
from kproxy.forwarding.routing import is_loopback
from kproxy_iptables.hashed_names import endpoint_chain, service_hash

LOCALHOST_COUNTER = "localhost_nps_accepted_pkts"


class Context(Struct, frozen=True, kw_only=True):
    """The facts besides the service's own plan that the text of rules depends on."""

    settings: NodeSettings
    endpoint_comments: bool = True  # off in large clusters, to spare memory
    localhost_counter: bool = False  # the nfacct counter exists


class DispatchRule(NamedTuple):
    table: str
    chain: str
    rule: str  # without the leading "-A CHAIN "


class Chain(NamedTuple):
    """One chain of the nat table with all of its rules, each without the leading "-A NAME "."""

    name: str
    rules: tuple[str, ...]


_PROTOCOL = {"TCP": "-m tcp -p tcp", "UDP": "-m udp -p udp", "SCTP": "-m sctp -p sctp"}
_ON_EMPTY = {
    OnEmpty.REJECT: ("has no endpoints", "REJECT"),
    OnEmpty.DROP: ("has no local endpoints", "DROP"),
}
_COMMENT = {
    FrontendKind.CLUSTER_IP: "cluster IP",
    FrontendKind.EXTERNAL_IP: "external IP",
    FrontendKind.LOAD_BALANCER: "loadbalancer IP",
}


def dispatch_rules(service: ServicePlan, context: Context) -> list[DispatchRule]:
    """Return the rules of one service port in the shared chains, in order of evaluation."""
    return [*filter_rules(service), *nat_rules(service, context)]


def nat_rules(service: ServicePlan, context: Context) -> Iterator[DispatchRule]:
    """Yield those that lead to its chains."""
    spn = str(service.name)
    digest = service_hash(service.name)
    proto = _protocol(service)
    for frontend in service.frontends:
        if frontend.kind is FrontendKind.NODE_PORT:
            if service.has_endpoints:
                yield from _node_port_rules(frontend, spn, proto, digest, context)
        elif service.serves(frontend) or (
            frontend.kind is not FrontendKind.CLUSTER_IP and service.has_endpoints
        ):
            target = _target(frontend) + digest
            yield DispatchRule(
                "nat",
                "KUBE-SERVICES",
                f'-m comment --comment "{spn} {_COMMENT[frontend.kind]}" {proto}'
                f" -d {frontend.address} --dport {frontend.port} -j {target}",
            )


def filter_rules(service: ServicePlan) -> Iterator[DispatchRule]:
    """Yield those that refuse packets, or let health checks in. Most service ports have none."""
    for frontend in service.frontends:
        if frontend.source_ranges and service.has_endpoints:
            comment = f"{service.name} traffic not accepted by KUBE-FW-{service_hash(service.name)}"
            yield DispatchRule(
                "filter",
                "KUBE-PROXY-FIREWALL",
                f'-m comment --comment "{comment}" {_protocol(service)}'
                f" -d {frontend.address} --dport {frontend.port} -j DROP",
            )
        if not service.serves(frontend):
            yield _unavailable(frontend, str(service.name), _protocol(service))
    if service.health_check_node_port:
        yield DispatchRule(
            "filter",
            "KUBE-NODEPORTS",
            f'-m comment --comment "{service.name} health check node port" -m tcp -p tcp'
            f" --dport {service.health_check_node_port} -j ACCEPT",
        )


def service_chains(service: ServicePlan, context: Context) -> list[Chain]:
    """Return the nat chains of one service port.

    They refer to each other: declare all before any rule.
    """
    return list(_service_chains(service, context))


def service_chain_names(service: ServicePlan) -> set[str]:
    """Return the names of `service_chains`, without writing their rules."""
    digest = service_hash(service.name)
    names = {endpoint_chain(service.name, endpoint) for endpoint in service.reachable}
    if _has_external_chain(service):
        names.add(f"KUBE-EXT-{digest}")
    if _source_ranges(service):
        names.add(f"KUBE-FW-{digest}")
    if service.cluster:
        names.add(f"KUBE-SVC-{digest}")
    if service.local:
        names.add(f"KUBE-SVL-{digest}")
    return names


def _service_chains(service: ServicePlan, context: Context) -> Iterator[Chain]:
    digest = service_hash(service.name)
    if _has_external_chain(service):
        yield Chain(f"KUBE-EXT-{digest}", tuple(_external_rules(service, digest, context)))
    if ranges := _source_ranges(service):
        yield Chain(f"KUBE-FW-{digest}", tuple(_firewall_rules(service, digest, ranges)))
    names = {e: endpoint_chain(service.name, e) for e in service.reachable}
    first = _internal_masquerade(service, context)
    pools = ((Pool.CLUSTER, "KUBE-SVC-", service.cluster), (Pool.LOCAL, "KUBE-SVL-", service.local))
    for pool, prefix, endpoints in pools:
        if endpoints:
            rules = first if service.cluster_ip.pool is pool else []
            rules = rules + _balancing_rules(service, endpoints, names, context)
            yield Chain(prefix + digest, tuple(rules))
    for endpoint, name in names.items():
        yield Chain(name, _endpoint_rules(service, endpoint, name, context))


def _protocol(service: ServicePlan) -> str:
    return _PROTOCOL[service.name.protocol]


def _target(frontend: Frontend) -> str:
    if frontend.kind is FrontendKind.CLUSTER_IP:
        return "KUBE-SVL-" if frontend.pool is Pool.LOCAL else "KUBE-SVC-"
    return "KUBE-FW-" if frontend.source_ranges else "KUBE-EXT-"


def _node_port_rules(
    frontend: Frontend, spn: str, proto: str, digest: str, context: Context
) -> Iterator[DispatchRule]:
    port = f"--dport {frontend.port}"
    settings = context.settings
    if settings.localhost_node_ports and context.localhost_counter:
        yield DispatchRule(
            "nat",
            "KUBE-NODEPORTS",
            f"-m comment --comment {spn} {proto} -d 127.0.0.0/8 {port}"
            f" -m nfacct --nfacct-name {LOCALHOST_COUNTER} -j KUBE-EXT-{digest}",
        )
    yield DispatchRule(
        "nat", "KUBE-NODEPORTS", f"-m comment --comment {spn} {proto} {port} -j KUBE-EXT-{digest}"
    )


def _unavailable(frontend: Frontend, spn: str, proto: str) -> DispatchRule:
    reason, verdict = _ON_EMPTY[frontend.on_empty]
    comment = f'-m comment --comment "{spn} {reason}"'
    if frontend.kind is FrontendKind.NODE_PORT:
        where = f"-m addrtype --dst-type LOCAL {proto} --dport {frontend.port}"
    else:
        where = f"{proto} -d {frontend.address} --dport {frontend.port}"
    internal = frontend.kind is FrontendKind.CLUSTER_IP
    chain = "KUBE-SERVICES" if internal else "KUBE-EXTERNAL-SERVICES"
    return DispatchRule("filter", chain, f"{comment} {where} -j {verdict}")


def _has_external_chain(service: ServicePlan) -> bool:
    return service.has_endpoints and service.externally_accessible


def _source_ranges(service: ServicePlan) -> tuple[str, ...]:
    """Return the source ranges allowed at the VIPs; empty if there is no firewall chain."""
    if not service.has_endpoints:
        return ()
    return next((f.source_ranges for f in service.frontends if f.source_ranges), ())


def _external_rules(service: ServicePlan, digest: str, context: Context) -> Iterator[str]:
    spn = service.name
    if not service.external_local:
        yield (
            f'-m comment --comment "masquerade traffic for {spn} external destinations"'
            " -j KUBE-MARK-MASQ"
        )
        yield f"-j KUBE-SVC-{digest}"
        return
    if detector := context.settings.detector:
        yield (
            f'-m comment --comment "pod traffic for {spn} external destinations"'
            f" {masquerade.local_match(detector)} -j KUBE-SVC-{digest}"
        )
    from_node = "-m addrtype --src-type LOCAL"
    yield (
        f'-m comment --comment "masquerade LOCAL traffic for {spn} external destinations"'
        f" {from_node} -j KUBE-MARK-MASQ"
    )
    yield (
        f'-m comment --comment "route LOCAL traffic for {spn} external destinations"'
        f" {from_node} -j KUBE-SVC-{digest}"
    )
    if service.local:
        yield f"-j KUBE-SVL-{digest}"


def _firewall_rules(service: ServicePlan, digest: str, ranges: tuple[str, ...]) -> Iterator[str]:
    comment = f'-m comment --comment "{service.name} loadbalancer IP"'
    for source in ranges:
        yield f"{comment} -s {source} -j KUBE-EXT-{digest}"
    # Without a target: it only counts, and tells a reader of the chain where to look next.
    yield (
        f'-m comment --comment "other traffic to {service.name} will be dropped by'
        ' KUBE-PROXY-FIREWALL"'
    )


def _internal_masquerade(service: ServicePlan, context: Context) -> list[str]:
    frontend = service.cluster_ip
    if not service.serves(frontend) or frontend.masquerade is Masquerade.NEVER:
        return []
    sources = ""
    if frontend.masquerade is Masquerade.OFF_CLUSTER and context.settings.detector:
        sources = " " + masquerade.local_match(context.settings.detector, negate=True)
    rule = (
        f'-m comment --comment "{service.name} cluster IP" {_protocol(service)}'
        f" -d {frontend.address} --dport {frontend.port}{sources} -j KUBE-MARK-MASQ"
    )
    return [rule]


def _balancing_rules(
    service: ServicePlan,
    endpoints: tuple[Endpoint, ...],
    names: dict[Endpoint, str],
    context: Context,
) -> list[str]:
    rules = []
    spn = service.name
    comments = (
        [f'-m comment --comment "{spn} -> {endpoint}" ' for endpoint in endpoints]
        if context.endpoint_comments
        else [""] * len(endpoints)
    )
    if service.affinity_timeout_s:
        rules = [
            f"{comment}-m recent --name {names[endpoint]} --rcheck"
            f" --seconds {service.affinity_timeout_s} --reap -j {names[endpoint]}"
            for endpoint, comment in zip(endpoints, comments, strict=True)
        ]
    for left, (endpoint, comment) in zip(
        range(len(endpoints), 0, -1), zip(endpoints, comments, strict=True), strict=True
    ):
        # Each endpoint takes its share of the packets that reach its rule: 1/n, 1/(n-1), ..., all.
        chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        rules.append(f"{comment}{chance}-j {names[endpoint]}")
    return rules


def _endpoint_rules(
    service: ServicePlan, endpoint: Endpoint, name: str, context: Context
) -> tuple[str, str]:
    comment = f"-m comment --comment {service.name} " if context.endpoint_comments else ""
    remember = f"-m recent --name {name} --set " if service.affinity_timeout_s else ""
    return (
        f"{comment}-s {endpoint.address} -j KUBE-MARK-MASQ",
        f"{comment}{remember}{_protocol(service)} -j DNAT --to-destination {endpoint}",
    )


def node_port_ips(settings: NodeSettings, selected: Iterable[str]) -> list[str]:
    """Return those of the node's addresses within the node port CIDRs that answer node ports."""
    return [
        address for address in selected if settings.localhost_node_ports or not is_loopback(address)
    ]


def node_port_jumps(settings: NodeSettings, node_ips: list[str]) -> list[str]:
    """Return the rules at the end of nat KUBE-SERVICES that jump to KUBE-NODEPORTS.

    `node_ips` are this node's addresses within the node port CIDRs; unused if all addresses match.
    """
    comment = (
        '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in'
        ' this chain"'
    )
    if not settings.node_port_addresses.match_all:
        return [f"{comment} -d {address} -j KUBE-NODEPORTS" for address in node_ips]
    spare = ""
    if settings.family is Family.IPV6:
        spare = " ! -d ::1/128"
    elif not settings.localhost_node_ports:
        spare = " ! -d 127.0.0.0/8"
    return [f"{comment} -m addrtype --dst-type LOCAL{spare} -j KUBE-NODEPORTS"]
