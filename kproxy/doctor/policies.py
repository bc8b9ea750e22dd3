"""Checks of what a Service asks for: traffic policies, source ranges, a load balancer."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from kproxy.address import Family, family_of
from kproxy.api.checks import ZONE_LABEL
from kproxy.api.types import Node, Service
from kproxy.doctor.facts import Facts, key_of, listed, service_title
from kproxy.doctor.finding import Finding, Part, Severity, Sureness
from kproxy.forwarding.plan import FrontendKind, NodeSettings, Pool, ServicePlan
from kproxy.forwarding.planner import plan_service
from kproxy.store import object_key

_EXTERNAL = (FrontendKind.EXTERNAL_IP, FrontendKind.LOAD_BALANCER, FrontendKind.NODE_PORT)
_FALLS_BACK = (
    "led to other nodes, with the client's address, so that answers may go astray; or refused"
)
# Sources that no packet from another host has (RFC 6890).
_NOBODY = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fe80::/10",
    "ff00::/8",
)


def external_policy(facts: Facts) -> Iterator[Finding]:
    """Find Services with the policy Local for clients outside, and nodes without an endpoint."""
    for service in facts.services:
        if service.spec.external_traffic_policy == "Local":
            yield from _without_endpoints(service, facts, external=True)


def internal_policy(facts: Facts) -> Iterator[Finding]:
    """Find Services with the policy Local for clients inside, and nodes that have such, but no
    endpoint.
    """
    for service in facts.services:
        if service.spec.internal_traffic_policy == "Local":
            yield from _without_endpoints(service, facts, external=False)


def _without_endpoints(service: Service, facts: Facts, *, external: bool) -> Iterator[Finding]:
    nodes = [
        node.metadata.name
        for node in facts.cluster_nodes
        if any(_lacks(plan, external=external) for plan in _plans(service, node, facts))
    ]
    if not nodes:
        return
    every = len(nodes) == len(facts.cluster_nodes)
    # A balancer asks spec.healthCheckNodePort, which these nodes answer with 503.
    balanced = service.spec.type == "LoadBalancer" and service.spec.health_check_node_port
    if external and not every and balanced:
        return
    if not external and not every:
        nodes = [node for node in nodes if node in _nodes_with_clients(service, facts)]
        if not nodes:
            return
    policy = "externalTrafficPolicy" if external else "internalTrafficPolicy"
    namespace, name = key_of(service)
    where = "no node has one" if every else f"none on {listed(nodes)}"
    whose = "clients outside that ask these nodes" if external else "clients on these nodes"
    fate = "dropped there" if not facts.falls_back else _FALLS_BACK
    if facts.falls_back is None:
        fate += f"; in ipvs mode they are {_FALLS_BACK}"
    certain = every and not facts.falls_back
    yield Finding(
        id="external-policy-local" if external else "internal-policy-local",
        severity=Severity.ERROR if certain else Severity.WARNING,
        object=service_title(service),
        evidence=(
            f"spec.{policy} is Local, there are ready endpoints, but {where} (EndpointSlices)",
            f"the packets of {'all clients' if every else whose} are {fate}",
        ),
        remedy=(
            (
                f"$ kubectl -n {namespace} patch service {name} --type merge"
                f' -p \'{{"spec":{{"{policy}":"Cluster"}}}}\''
            ),
            "or run a Pod on each of these nodes (a DaemonSet)"
            + (", or keep traffic away from them" if external else ""),
        ),
        sure=Sureness.CERTAIN if certain and facts.falls_back is False else Sureness.LIKELY,
        service=key_of(service),
    )


def _plans(service: Service, node: Node, facts: Facts) -> Iterator[ServicePlan]:
    for family in Family:
        settings = NodeSettings(
            family=family,
            node_name=node.metadata.name,
            zone=node.metadata.labels.get(ZONE_LABEL, ""),
        )
        slices = facts.store.slices(key_of(service))
        yield from plan_service(service, slices, settings).values()


def _lacks(plan: ServicePlan, *, external: bool) -> bool:
    """Tell whether a node drops traffic only because the endpoints are on other nodes."""
    return plan.has_endpoints and any(
        each.pool is Pool.LOCAL and not plan.local
        for each in plan.frontends
        if (each.kind in _EXTERNAL) is external
    )


def _nodes_with_clients(service: Service, facts: Facts) -> set[str]:
    """Return the nodes with Pods that may ask: those of the system's own namespace do not count."""
    own = service.metadata.namespace
    return {
        pod.spec.node_name
        for pod in facts.pods
        if pod.metadata.namespace != "kube-system" or own == "kube-system"
    }


def source_ranges(facts: Facts) -> Iterator[Finding]:
    """Find source ranges that nobody's address is in, and those without any effect."""
    for service in facts.services:
        ranges = service.spec.load_balancer_source_ranges
        if not ranges:
            continue
        if service.spec.type != "LoadBalancer":
            yield _ignored(service, f"spec.type is {service.spec.type}: they apply to LoadBalancer")
            continue
        ingress = service.status.load_balancer.ingress
        if ingress and all(each.ip_mode == "Proxy" or not each.ip for each in ingress):
            why = "the load balancer has no address of ipMode VIP, so no node sees its clients"
            yield _ignored(service, why)
            continue
        for family in dict.fromkeys(family_of(each.ip) for each in ingress if each.ip):
            own = [each for each in ranges if family_of(each) is family]
            if not own:
                yield _ignored(service, f"none is of {family.value}: everybody may connect there")
            elif any(each.endswith("/0") for each in own):
                if len(own) > 1:
                    yield _ignored(service, "one of them is /0: everybody may connect")
            elif why := _shuts_out_all(own, family, facts):
                yield _finding(
                    service,
                    "source-ranges-shut-out",
                    Severity.ERROR,
                    f"spec.loadBalancerSourceRanges: {listed(own)}",
                    why,
                )


def _shuts_out_all(ranges: list[str], family: Family, facts: Facts) -> str:
    """Return why nobody's address is in any of the ranges, "" if somebody's is or may be."""
    networks = [ip_network(each, strict=False) for each in ranges]
    nobody = [ip_network(each) for each in _NOBODY if family_of(each) is family]
    if all(any(each.overlaps(other) for other in nobody) for each in networks):
        return "no other host has a source address in them (RFC 6890)"
    known = {*facts.clients}
    if not known:
        return ""
    for host in facts.hosts:
        known |= host.addresses or frozenset()
    own = [ip_address(each) for each in known if family_of(each) is family]
    if any(address in network for address in own for network in networks):
        return ""
    return f"none of the {len(facts.clients)} addresses of clients, nor a node or pod, is in them"


def _ignored(service: Service, why: str) -> Finding:
    ranges = listed(service.spec.load_balancer_source_ranges)
    seen = f"spec.loadBalancerSourceRanges: {ranges}"
    return _finding(service, "source-ranges-ignored", Severity.WARNING, seen, why)


def _finding(service: Service, name: str, severity: Severity, *seen: str) -> Finding:
    namespace, own = key_of(service)
    return Finding(
        id=name,
        severity=severity,
        object=service_title(service),
        evidence=seen,
        remedy=(
            f"$ kubectl -n {namespace} edit service {own}",
            (
                "spec.loadBalancerSourceRanges has the ranges of those who may connect, of each"
                " family of its addresses"
            ),
        ),
        service=key_of(service),
    )


def _is_admitted(service: Service) -> bool:
    """Tell whether a manifest has all that a cluster fills in, and people leave out."""
    spec = service.spec
    return bool(spec.cluster_ips and spec.ip_families and spec.ip_family_policy)


def load_balancers_pending(facts: Facts) -> Iterator[Finding]:
    """Find Services of type LoadBalancer that no load balancer has taken."""
    for service in facts.services:
        spec = service.spec
        if spec.type != "LoadBalancer" or service.status.load_balancer.ingress:
            continue
        if not facts.knows(Part.WHOLE_CLUSTER) and not _is_admitted(service):
            continue
        told = facts.told.get(object_key(service), ())
        by = (
            f"spec.loadBalancerClass is {spec.load_balancer_class}"
            if spec.load_balancer_class
            else ""
        )
        namespace, name = key_of(service)
        yield Finding(
            id="load-balancer-pending",
            severity=Severity.ERROR,
            object=service_title(service),
            evidence=tuple(
                each
                for each in (
                    "status.loadBalancer.ingress is empty (EXTERNAL-IP <pending>)",
                    by,
                    *told,
                )
                if each
            ),
            remedy=(
                f"$ kubectl -n {namespace} describe service {name}",
                (
                    "look at the log of the cloud controller: its quota, its permissions, its pool"
                    " of addresses"
                ),
                *(["is there a controller for this class?"] if by else []),
            ),
            service=key_of(service),
        )
