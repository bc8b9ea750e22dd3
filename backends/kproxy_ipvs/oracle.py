"""The predicted effect of one node on a packet in ipvs mode, derived from the plan.

All addresses of Services are the node's own, so packets for them pass INPUT, where IPVS (LOCAL_IN)
follows the filter rules. For packets of the node's own processes IPVS is in OUTPUT, before the
filter rules. So source ranges are checked before translation for packets from elsewhere, and after
it for the node itself. Source: kube-proxy ipvs/proxier.go, syncProxyRules and writeIptablesRules;
Linux net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from kproxy.address import family_of
from kproxy.forwarding.network import Host
from kproxy.forwarding.plan import Frontend, FrontendKind, Masquerade, Plan, ServicePlan
from kproxy.forwarding.routing import is_loopback, is_own
from kproxy.forwarding.rules import (
    Arrival,
    Passage,
    Refusal,
    Translation,
    admits,
    asked,
    choice,
    is_local_pod,
    named,
    not_allowed,
    policy_of,
    selected_for_node_ports,
)
from kproxy.outcome import Outcome
from kproxy_ipvs.options import real_servers

_IN_ORDER = (
    FrontendKind.LOAD_BALANCER,
    FrontendKind.CLUSTER_IP,
    FrontendKind.EXTERNAL_IP,
    FrontendKind.NODE_PORT,
)


def bound(plan: Plan, node: Host) -> tuple[str, ...]:
    """Return the addresses on kube-ipvs0: each address of a Service that no other interface has."""
    found = dict.fromkeys(
        frontend.address
        for service in plan.services.values()
        for frontend in service.frontends
        if frontend.kind is not FrontendKind.NODE_PORT and frontend.address not in node.addresses
    )
    return tuple(found)


def translate(plan: Plan, passage: Passage) -> Translation | Refusal | None:
    """Return the translation by the virtual server, or the refusal before it; None if neither."""
    found = _found(plan, passage)
    if not found:
        return _returned_to_endpoint(plan, passage) or _no_virtual_server(plan, passage)
    service, frontend = min(found, key=lambda each: each[0].name)  # one place, one virtual server
    from_elsewhere = passage.arrival is not Arrival.PROCESS
    restricted = [each for each in found if each[1].source_ranges]
    if from_elsewhere and restricted and not any(admits(f, passage.source) for _, f in restricted):
        return not_allowed(*restricted[0], passage)
    endpoints = real_servers(service, frontend, plan.settings)
    if not endpoints:
        return Refusal(
            outcome=Outcome.REFUSED,
            why=f"the virtual server for {named(service, frontend)} is empty, "
            f"and {policy_of(frontend)}",
        )
    # KUBE-IPVS-OUT-FILTER matches the source of a process: the same address as its destination.
    for rival, closed in restricted:
        own = not from_elsewhere and passage.source == closed.address
        if own and closed.address not in closed.source_ranges:
            return not_allowed(rival, closed, passage)
    chosen, lost = endpoints, ""
    if is_loopback(passage.source):
        chosen = tuple(each for each in endpoints if is_own(passage.node, each.address))
        lost = f"IPVS lets no packet from {passage.source} leave"
        if not chosen:
            why = f"{named(service, frontend)} leads to other hosts, and {lost}"
            return Refusal(outcome=Outcome.DROPPED, why=why)
        lost = "" if chosen == endpoints else f"; but {lost}, so those of other hosts get none"
    masquerade = _is_masqueraded(plan, passage, [frontend for _, frontend in found])
    return Translation(
        endpoints=chosen,
        masquerade=masquerade,
        # KUBE-LOOP-BACK holds the endpoints of this node only.
        hairpin=any(each.local and each.address == passage.source for each in endpoints),
        why=f"{named(service, frontend)} is translated to {choice(endpoints)}: "
        f"{_pooling(service, frontend)} and {_masquerading(frontend, masquerade)}{lost}",
    )


def refuse(_plan: Plan, _passage: Passage, _to_node: bool) -> Refusal | None:
    """Return None: IPVS's translated packets may pass, and no other packet concerns a Service."""
    return None


def _found(plan: Plan, passage: Passage) -> list[tuple[ServicePlan, Frontend]]:
    """Return the frontends that the packet is for. The sets of the rules have those of all Services
    that claim one place; its virtual server is the first Service's by name.

    Each address of an interface has virtual servers for node ports, but not those of lo.
    """
    return asked(plan, passage, node_ports=selected_for_node_ports(plan.settings, passage))


def _returned_to_endpoint(plan: Plan, passage: Passage) -> Translation | None:
    """Return the masquerade of a packet that another node has sent back to the endpoint it is from:
    KUBE-LOOP-BACK matches endpoints of this node, not virtual servers.
    """
    if passage.source != passage.address:
        return None
    for service in plan.services.values():
        for endpoint in service.cached_local:
            wanted = (passage.protocol, passage.address, passage.port)
            if wanted == (service.protocol, endpoint.address, endpoint.port):
                why = f"{endpoint}/{service.protocol} is an endpoint of this node (KUBE-LOOP-BACK)"
                return Translation(endpoints=(endpoint,), masquerade=False, why=why)
    return None


def _no_virtual_server(plan: Plan, passage: Passage) -> Refusal | None:
    """Return the refusal of a packet for an address of a Service that has not this port."""
    if passage.address not in passage.node.bound or _is_for_health_checks(plan, passage):
        return None
    return Refusal(
        outcome=Outcome.REFUSED,
        why=f"{passage.address} is on kube-ipvs0, and no Service has port "
        f"{passage.port}/{passage.protocol} there (REJECT)",
    )


def _is_for_health_checks(plan: Plan, passage: Passage) -> bool:
    """Tell whether the set of health check node ports has the port. It matches no SCTP, and lacks
    the ports of a Service with node ports if no address of the node answers those.
    """
    ports = [each for each in plan.services.values() if each.health_check_node_port == passage.port]
    if not ports or passage.protocol == "SCTP":
        return False
    node = passage.node.addresses
    own = (
        structs.replace(passage, address=each) for each in node if family_of(each) is plan.family
    )
    return any(selected_for_node_ports(plan.settings, each) for each in own) or any(
        all(frontend.kind is not FrontendKind.NODE_PORT for frontend in service.frontends)
        for service in ports
    )


def _is_masqueraded(plan: Plan, passage: Passage, found: Sequence[Frontend]) -> bool:
    """Tell whether the chains mark the packet, in their order: load balancers, cluster IPs,
    external IPs, and node ports for what no external IP has accepted.
    """
    if is_loopback(passage.source):
        return False
    balancers, cluster_ips, external_ips, node_ports = (
        [each.masquerade for each in found if each.kind is kind] for kind in _IN_ORDER
    )
    if balancers and Masquerade.NEVER not in balancers:
        return True
    if Masquerade.ALWAYS in (*cluster_ips, *external_ips):
        return True
    if Masquerade.OFF_CLUSTER in cluster_ips and not is_local_pod(plan.settings, passage):
        return True
    if _is_from_cluster_ip(plan, passage):
        return True
    if external_ips:
        return False
    return Masquerade.ALWAYS in node_ports or _passes_for_node_port(plan, passage)


def _is_from_cluster_ip(plan: Plan, passage: Passage) -> bool:
    """Tell whether the source is masqueraded as a cluster IP that has the port that is asked.

    Without a detector the source is looked up among the cluster IPs, with the destination port:
    that finds the node's own processes, whose source is their destination address.
    """
    if plan.settings.detector or plan.settings.masquerade_all:
        return False
    asked_from = (passage.protocol, passage.source, passage.port)
    return any(
        (service.protocol, service.cluster_ip.address, service.cluster_ip.port) == asked_from
        for service in plan.services.values()
    )


def _passes_for_node_port(plan: Plan, passage: Passage) -> bool:
    """Tell whether the packet is masqueraded like one for a node port of the same number.

    The sets of node ports hold numbers without addresses, and every address of a Service is the
    node's own, so a cluster IP's port is taken for a node port.
    """
    return passage.protocol != "SCTP" and any(
        frontend.kind is FrontendKind.NODE_PORT
        and frontend.port == passage.port
        and frontend.masquerade is Masquerade.ALWAYS
        for service in plan.services.values()
        if service.protocol == passage.protocol
        for frontend in service.frontends
    )


def _pooling(service: ServicePlan, frontend: Frontend) -> str:
    if service.pool(frontend):
        return policy_of(frontend)
    return f"{policy_of(frontend)}, but there is none, so that IPVS takes those of other nodes"


def _masquerading(frontend: Frontend, masquerade: bool) -> str:
    if masquerade:
        return "masquerades, so that the reply returns through this node"
    if frontend.masquerade is Masquerade.OFF_CLUSTER:
        return "a local pod keeps its address"
    return "the source is kept"
