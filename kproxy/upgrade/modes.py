"""The documented differences between modes, and the Services that each applies to. Pure.

The first table of docs/modes.md has the same words; a test compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from kproxy.api.types import KubernetesObject, Service
from kproxy.upgrade.facts import Facts, Test, external_addresses, facts_of, named, some
from kproxy.upgrade.side import Configured

COLUMNS = ("iptables", "ipvs", "nftables", "userspace")


class ModeDifference(Struct, frozen=True, kw_only=True):
    """Something that two modes do differently, in the words of docs/modes.md. `services`: those it
    applies to, as `namespace/name`.
    """

    what: str
    before: str
    after: str
    services: tuple[str, ...]


def mode_differences(
    objects: Sequence[KubernetesObject], before: Configured, after: Configured
) -> list[ModeDifference]:
    """Return the differences between the modes of both sides that apply; none if a mode is not in
    the table.
    """
    facts = facts_of(objects, before, after)
    found = []
    for what, (words, applies) in ROWS.items():
        one, other = words.get(before.mode.name, ""), words.get(after.mode.name, "")
        if one and other and one != other and (services := applies(facts)):
            found.append(ModeDifference(what=what, before=one, after=other, services=services))
    return found


def _each(holds: Callable[[Facts, Service], bool]) -> Test:
    return lambda facts: some(named(each) for each in facts.services if holds(facts, each))


def _row(*words: str) -> Mapping[str, str]:
    return dict(zip(COLUMNS, words, strict=True))


def _external(service: Service) -> bool:
    return any(port.node_port for port in service.spec.ports) or _has_vip(service)


def _has_vip(service: Service) -> bool:
    return any(external_addresses(service))


def _external_local(service: Service) -> bool:
    return service.spec.external_traffic_policy == "Local" and _external(service)


def _internal_local(service: Service) -> bool:
    return service.spec.internal_traffic_policy == "Local"


def _local_lacking(facts: Facts, service: Service) -> bool:
    local = _external_local(service) or _internal_local(service)
    return local and facts.lacking_somewhere(service)


def _internal_lacking(facts: Facts, service: Service) -> bool:
    lacking = facts.lacking_somewhere(service)
    return _internal_local(service) and not _external(service) and lacking


def _node_port(_: Facts, service: Service) -> bool:
    return any(port.node_port for port in service.spec.ports)


def _vip_unserved(facts: Facts, service: Service) -> bool:
    return _has_vip(service) and named(service) not in facts.usable


def _ranges_unserved(facts: Facts, service: Service) -> bool:
    return _vip_unserved(facts, service) and bool(service.spec.load_balancer_source_ranges)


def _number_of_a_node_port(facts: Facts, service: Service) -> bool:
    node_ports = {port.node_port for each in facts.services for port in each.spec.ports}
    return bool({port.port for port in service.spec.ports} & node_ports)


def _endpoint_is_cluster_ip(facts: Facts, service: Service) -> bool:
    cluster_ips = {ip for each in facts.services for ip in each.spec.cluster_ips}
    return bool(facts.endpoints[named(service)] & cluster_ips)


def _at_another_node(facts: Facts, service: Service) -> bool:
    return len(facts.nodes) > 1 and bool({*external_addresses(service)} & facts.node_addresses)


def _protocol(name: str) -> Test:
    return _each(lambda _, each: any(port.protocol == name for port in each.spec.ports))


ROWS: Mapping[str, tuple[Mapping[str, str], Test]] = {
    "traffic policy Local, no endpoint on the node": (
        _row(
            "dropped",
            "endpoints of other nodes; clients outside get no answer, because it bypasses the node",
            "dropped",
            "dropped",
        ),
        _each(_local_lacking),
    ),
    "the same for internalTrafficPolicy, if the Service cannot be reached from outside": (
        _row("dropped", "refused", "dropped", "dropped"),
        _each(_internal_lacking),
    ),
    "externalTrafficPolicy Local, clients are pods or the node": (
        _row(
            "all endpoints",
            "the node's own, as for other clients",
            "all endpoints",
            "the node's own, as for other clients",
        ),
        _each(lambda _, each: _external_local(each)),
    ),
    "the same, a pod reaches itself through another node": (
        _row(
            "it sees that node",
            "its answer is lost",
            "it drops the packet (IPv6: its answer is lost)",
            "no other node leads it there",
        ),
        _each(lambda facts, each: _external_local(each) and bool(facts.endpoints[named(each)])),
    ),
    "node port on 127.0.0.1": (
        _row("works (IPv4)", "refused", "refused, unless a feature gate says more", "refused"),
        _each(_node_port),
    ),
    "node port on another address of the node than its primary one": (
        _row(
            "works",
            "works",
            "refused, unless `nodePortAddresses` says more",
            "refused, unless `nodePortAddresses` says more",
        ),
        _each(_node_port),
    ),
    "another port of a cluster IP": (
        _row(
            "sent where the address is routed",
            "refused by the first node",
            "refused by the first node",
            "answered by the first node, refused if nothing listens there",
        ),
        _each(lambda _, __: True),
    ),
    "another port of an external IP or VIP": (
        _row(
            "sent where the address is routed",
            "refused by the first node",
            "sent where the address is routed",
            "answered by the first node, refused if nothing listens there",
        ),
        _each(lambda _, each: _has_vip(each)),
    ),
    "a VIP, from the node itself, policy Local": (
        _row(
            "the pod sees the node",
            "the pod sees the VIP",
            "the pod sees the node",
            "the pod sees the node",
        ),
        _each(lambda _, each: _external_local(each) and _has_vip(each)),
    ),
    "a VIP without endpoints, from the node itself": (
        _row("leaves the node", "refused", "refused", "refused"),
        _each(_vip_unserved),
    ),
    "source ranges of a VIP without endpoints": (
        _row(
            "ignored: all are refused",
            "applied: other sources are dropped (not the node itself)",
            "applied: other sources are dropped",
            "ignored: all are refused",
        ),
        _each(_ranges_unserved),
    ),
    "the source that a pod sees": (
        _row(
            "the client, unless a policy masquerades it",
            "the client, unless a policy masquerades it",
            "the client, unless a policy masquerades it",
            "always the node",
        ),
        _each(lambda facts, each: bool(facts.endpoints[named(each)])),
    ),
    "choice of the endpoint": (
        _row("random", "in turn (`rr`), or as `ipvs.scheduler` says", "random", "random"),
        _each(lambda facts, each: len(facts.endpoints[named(each)]) > 1),
    ),
    "session affinity ends": (
        _row(
            "after its timeout",
            "when IPVS remembers no connection, minutes later",
            "after its timeout",
            "after its timeout, or with the proxy",
        ),
        _each(lambda _, each: each.spec.session_affinity == "ClientIP"),
    ),
    "removed endpoint, TCP": (
        _row(
            "open connections go on",
            "open connections go on, visible as weight 0",
            "open connections go on",
            "open connections go on",
        ),
        _protocol("TCP"),
    ),
    "ARP for a Service's address": (
        _row(
            "no answer",
            "every node answers, unless `ipvs.strictARP`",
            "no answer",
            "every node answers",
        ),
        _each(lambda _, each: _has_vip(each)),
    ),
    "SCTP": (_row("works", "works", "works", "refused"), _protocol("SCTP")),
    "a port with the number of a node port, on other addresses": (
        _row("no effect", "its clients are masqueraded", "no effect", "no effect"),
        _each(_number_of_a_node_port),
    ),
    "an external IP that is another node's address": (
        _row(
            "leads to the Service",
            "cuts this node off from that one",
            "leads to the Service",
            "cuts this node off from that one",
        ),
        _each(_at_another_node),
    ),
    "an endpoint that is a cluster IP": (
        _row("asked", "asked", "refused", "asked"),
        _each(_endpoint_is_cluster_ip),
    ),
}
