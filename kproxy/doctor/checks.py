"""The table of all checks, and a diagnosis from facts. Pure.

Each check is a function facts -> findings, with the parts of the facts that it needs. A check that
lacks one, in some place or anywhere, is listed as left out there: nobody shall take silence for
health.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kproxy.doctor import endpoints, hairpins, masquerades, names, network, nodes, policies, rules
from kproxy.doctor.facts import Facts
from kproxy.doctor.finding import Diagnosis, Finding, LeftOut, Missing, Part, Severity
from kproxy.errors import BadInput
from kproxy.store import ServiceKey

_P = Part


class Check(NamedTuple):
    """A check: the ids of its findings, the parts that it needs, and what finds them.

    `symptom`: what it finds follows from another fault, if there is one. `better`: parts without
    which it is made all the same, but sees less.
    """

    ids: tuple[str, ...]
    needs: tuple[Part, ...]
    find: Callable[[Facts], Iterable[Finding]]
    symptom: bool = False
    better: tuple[Part, ...] = ()


CHECKS = (
    Check(("api-server",), (_P.API_SERVER,), nodes.api_server),
    Check(
        ("selector-matches-nothing",),
        (_P.PODS,),
        endpoints.selector_matches_nothing,
        better=(_P.WORKLOADS,),
    ),
    Check(("no-pods",), (_P.PODS, _P.WORKLOADS, _P.WHOLE_CLUSTER), endpoints.no_pods),
    Check(("no-endpoints",), (_P.ENDPOINTS,), endpoints.no_endpoints),
    Check(("pods-not-ready",), (_P.PODS,), endpoints.pods_not_ready),
    Check(
        ("target-port-closed", "target-port-unnamed"),
        (_P.PODS,),
        endpoints.target_ports,
        better=(_P.LISTENERS,),
    ),
    Check(("external-policy-local",), (_P.ENDPOINTS, _P.NODES), policies.external_policy),
    Check(
        ("internal-policy-local",),
        (_P.ENDPOINTS, _P.NODES),
        policies.internal_policy,
        better=(_P.PODS,),
    ),
    Check(
        ("source-ranges-shut-out", "source-ranges-ignored"), (_P.OBJECTS,), policies.source_ranges
    ),
    Check(("load-balancer-pending",), (_P.OBJECTS,), policies.load_balancers_pending),
    Check(("dns-missing",), (_P.OBJECTS, _P.WHOLE_CLUSTER), names.dns_missing),
    Check(
        ("dns-no-endpoints",),
        (_P.OBJECTS, _P.PODS, _P.WHOLE_CLUSTER),
        names.dns_service,
        better=(_P.WORKLOADS,),
    ),
    Check(("host-network-dns",), (_P.PODS,), names.host_network_names),
    Check(("resolv-conf",), (_P.RESOLVERS, _P.OBJECTS, _P.WHOLE_CLUSTER), names.resolv_conf),
    Check(("node-unknown",), (_P.KERNEL, _P.NODES, _P.WHOLE_CLUSTER), nodes.node_object),
    Check(("node-address",), (_P.KERNEL, _P.NODES, _P.WHOLE_CLUSTER), nodes.node_addresses),
    Check(("kernel-feature",), (_P.KERNEL,), nodes.kernel_features),
    Check(("forwarding-off",), (_P.KERNEL,), network.forwarding_off),
    Check(("bridge-netfilter-off",), (_P.KERNEL,), network.bridge_netfilter_off),
    Check(("hairpin",), (_P.KERNEL,), network.hairpin),
    Check(("hairpin-masquerade",), (_P.RULES,), hairpins.hairpin_masquerade),
    Check(("reverse-path",), (_P.KERNEL,), network.reverse_path),
    Check(("tunnel-mtu",), (_P.KERNEL,), network.tunnel_mtu),
    Check(("pod-mtu",), (_P.KERNEL, _P.LINKS_OF_PODS), network.pod_mtu),
    Check(("conntrack-full",), (_P.KERNEL,), network.conntrack_full),
    Check(("no-proxy",), (_P.PROXIES, _P.OBJECTS, _P.WHOLE_CLUSTER), rules.no_proxy),
    Check(("two-proxies",), (_P.PROXIES,), rules.two_proxies),
    Check(("rules-differ",), (_P.PLANS,), rules.rules_differ),
    Check(("foreign-rule",), (_P.RULES,), rules.foreign_rules),
    Check(
        ("plugin-masquerade",), (_P.RULES, _P.PODS, _P.WHOLE_CLUSTER), masquerades.plugin_masquerade
    ),
    Check(("dns-unanswered", "dns-wrong"), (_P.NAMES,), names.answers, symptom=True),
)
_WORST = {severity: number for number, severity in enumerate(Severity)}


def diagnose(
    facts: Facts,
    *,
    looked_at: str,
    namespace: str = "",
    service: ServiceKey | None = None,
) -> Diagnosis:
    """Return what all checks say of the facts, worst first.

    Of findings about one Service, only those of a `namespace`, or of one `service`, if given; those
    about nodes and DNS concern all. Raises BadInput if there is no such Service, or none in the
    namespace.
    """
    if namespace and not service and facts.knows(Part.OBJECTS):
        names = sorted({each for each, _ in facts.store.services()})
        if names and namespace not in names:
            listed = ", ".join(names[:8])
            raise BadInput([f"no Service is in namespace {namespace}; there are some in: {listed}"])
    if service and facts.store.service(service) is None and facts.knows(Part.OBJECTS):
        there = [each for each in facts.store.services() if not namespace or each[0] == namespace]
        known = ", ".join("/".join(each) for each in sorted(there)[:8]) or "none"
        raise BadInput([f"there is no Service {'/'.join(service)}; there are: {known}"])
    found: list[Finding] = []
    symptoms: list[Finding] = []
    for check in CHECKS:
        if _is_possible(check, facts.missing):
            (symptoms if check.symptom else found).extend(
                each for each in check.find(facts) if _concerns(each, namespace, service)
            )
    if not any(each.severity is not Severity.NOTE for each in found):
        found, symptoms = found + symptoms, []
    return Diagnosis(
        findings=tuple(sorted(found, key=_order)),
        symptoms=tuple(sorted(symptoms, key=_order)),
        left_out=tuple(_left_out(facts.missing)),
        made=tuple(
            each for check in CHECKS if _is_possible(check, facts.missing) for each in check.ids
        ),
        looked_at=looked_at,
    )


def _is_possible(check: Check, missing: Iterable[Missing]) -> bool:
    return not any(each.part in check.needs and not each.where for each in missing)


def _left_out(missing: Iterable[Missing]) -> Iterator[LeftOut]:
    """Yield the checks that lack something, each once for a place: what is left out anywhere is
    not named for single hosts again.
    """
    reasons: dict[tuple[str, str], list[str]] = {}
    told: set[tuple[str, str]] = set()
    for each in sorted(missing, key=lambda each: bool(each.where)):
        for check in CHECKS:
            if each.part not in (*check.needs, *check.better):
                continue
            for own in check.ids:
                if not told & {(own, each.where), (own, "")}:
                    told.add((own, each.where))
                    reasons.setdefault((each.where, each.why), []).append(own)
    for (where, why), ids in reasons.items():
        yield LeftOut(checks=tuple(ids), where=where, why=why)


def _concerns(finding: Finding, namespace: str, service: ServiceKey | None) -> bool:
    if finding.service is None:
        return True
    if service:
        return finding.service == service
    return not namespace or finding.service[0] == namespace


def _order(finding: Finding) -> tuple[int, str, str, str]:
    return (_WORST[finding.severity], finding.id, finding.object, finding.host)
