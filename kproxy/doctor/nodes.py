"""Checks of a node as a whole: its Node object, what its kernel lacks, its API server."""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.address import Family, family_of
from kproxy.api.addresses import canonical_ip
from kproxy.doctor.facts import Facts, HostFacts, listed, title
from kproxy.doctor.finding import Finding, Severity
from kproxy.doctor.network import IPV6_OFF


def api_server(facts: Facts) -> Iterator[Finding]:
    """Find an API server that does not answer, or does not accept the kubeconfig."""
    if facts.api_server:
        yield Finding(
            id="api-server",
            severity=Severity.ERROR,
            evidence=(facts.api_server,),
            remedy=(
                facts.api_server_remedy
                or "is it running, and is the server of the kubeconfig its address?",
            ),
        )


def node_object(facts: Facts) -> Iterator[Finding]:
    """Find nodes without a Node object."""
    for host in facts.nodes:
        if facts.store.node(host.name) is None:
            names = [each.metadata.name for each in facts.cluster_nodes]
            yield Finding(
                id="node-unknown",
                severity=Severity.ERROR,
                host=host.name,
                evidence=(f"there is no Node {host.name}; there are: {listed(names) or 'none'}",),
                remedy=(
                    (
                        "give the proxy the name of its Node: --hostname-override"
                        " (hostnameOverride); is the kubelet registered?"
                    ),
                ),
            )


def node_addresses(facts: Facts) -> Iterator[Finding]:
    """Find nodes that do not have the addresses that their Node object tells."""
    for host in facts.nodes:
        node = facts.store.node(host.name)
        if node is None or host.addresses is None:
            continue
        told = [canonical_ip(e.address) for e in node.status.addresses if e.type == "InternalIP"]
        gone = [
            each
            for each in told
            if each and each not in host.addresses and not _is_off(host, family_of(each))
        ]
        if not gone:
            continue
        own = [each for each in sorted(host.addresses) if family_of(each) is family_of(gone[0])]
        yield Finding(
            id="node-address",
            severity=Severity.ERROR,
            object=title("Node", "", host.name),
            host=host.name,
            evidence=(
                f"status.addresses has InternalIP {listed(gone)}, which no link of the node has",
                f"it has {listed(own, 8)} (ip address)",
            ),
            remedy=(
                (
                    "restart the kubelet with the right --node-ip; and the proxy, which takes its"
                    " node IP from there"
                ),
            ),
        )


def kernel_features(facts: Facts) -> Iterator[Finding]:
    """Find what the kernel of a node lacks, or has switched off, for what is asked of it."""
    for host in facts.nodes:
        for family in _families(facts):
            if _is_off(host, family):
                yield _lacking(
                    host,
                    f"net.{IPV6_OFF[4:].replace('/', '.')} = 1, but Services have {family.value}"
                    " addresses",
                    f"$ sysctl -w {IPV6_OFF.replace('/', '.')}=0",
                    "and give the node its addresses again: a link loses them with IPv6",
                )
        for missing, remedy in host.unsupported or ():
            yield _lacking(host, missing, *([remedy] if remedy else ()))


def _lacking(host: HostFacts, seen: str, *remedy: str) -> Finding:
    return Finding(
        id="kernel-feature",
        severity=Severity.ERROR,
        host=host.name,
        evidence=(seen,),
        remedy=remedy,
    )


def _is_off(host: HostFacts, family: Family) -> bool:
    return family is Family.IPV6 and host.setting(IPV6_OFF) == "1"


def _families(facts: Facts) -> list[Family]:
    """Return the families of Services."""
    found = {each for service in facts.services for each in service.spec.ip_families}
    return [family for family in Family if family.value in found]
