"""Checks of the cluster's DNS: its Service, the resolv.conf of pods, answers to questions."""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.api.types import Service
from kproxy.doctor.endpoints import no_pod, nothing_runs, unready
from kproxy.doctor.facts import Facts, HostKind, listed, pod_title, service_title
from kproxy.doctor.finding import Finding, Severity

_SYSTEM = "kube-system"
_ROLLOUT = "$ kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide"
_LOGS = f"$ kubectl -n {_SYSTEM} logs -l k8s-app=kube-dns"


def dns_missing(facts: Facts) -> Iterator[Finding]:
    """Find a cluster without a DNS Service."""
    if not facts.dns_services:
        yield Finding(
            id="dns-missing",
            severity=Severity.ERROR,
            object="Service kube-system/kube-dns",
            evidence=("no Service of kube-system is kube-dns or has the label k8s-app=kube-dns",),
            remedy=("install CoreDNS: kubeadm init phase addon coredns",),
        )


def dns_service(facts: Facts) -> Iterator[Finding]:
    """Find a DNS Service that has no ready endpoint."""
    for service in facts.dns_services:
        nobody = no_pod(service, facts) or nothing_runs(service, facts)
        found = nobody or unready(service, facts)
        if found:
            yield Finding(
                id="dns-no-endpoints",
                severity=Severity.ERROR if nobody else found.severity,
                object=service_title(service),
                evidence=(*found.evidence, "so names of Services are not resolved"),
                remedy=(_ROLLOUT, *found.remedy),
            )


def resolv_conf(facts: Facts) -> Iterator[Finding]:
    """Find pods that ask other name servers than the cluster's."""
    wanted = {ip for each in facts.dns_services for ip in each.spec.cluster_ips}
    if not wanted:
        return
    astray: dict[tuple[str, ...], list[str]] = {}
    for host in facts.hosts:
        asked = host.nameservers if host.kind is HostKind.POD else None
        if asked is not None and not wanted & {*asked}:
            astray.setdefault(asked, []).append(host.name)
    for nameservers, names in astray.items():
        yield Finding(
            id="resolv-conf",
            severity=Severity.ERROR,
            host=names[0] if len(names) == 1 else "",
            object="" if len(names) == 1 else _title_of(facts),
            evidence=(
                (
                    f"/etc/resolv.conf of {listed(names)}: nameserver"
                    f" {listed(nameservers) or '(none)'}"
                ),
                f"{_title_of(facts)} is at {listed(sorted(wanted))}",
            ),
            remedy=(
                (
                    "set clusterDNS of the kubelets (KubeletConfiguration) to the address of that"
                    " Service, and restart the pods; or give the Service its former address"
                ),
            ),
        )


def host_network_names(facts: Facts) -> Iterator[Finding]:
    """Find Pods on the host network that cannot resolve names of Services.

    Those of kube-system need none. Source: https://kubernetes.io/docs/concepts/services-networking/
    dns-pod-service/#pod-s-dns-policy
    """
    for pod in facts.pods:
        spec = pod.spec
        if not spec.host_network or spec.dns_policy not in (None, "ClusterFirst"):
            continue
        if pod.metadata.namespace != _SYSTEM:
            yield Finding(
                id="host-network-dns",
                severity=Severity.NOTE,
                object=pod_title(pod),
                evidence=(
                    (
                        "spec.hostNetwork is true and spec.dnsPolicy is ClusterFirst (the default),"
                        " which means Default there: it asks the name servers of its node"
                    ),
                ),
                remedy=("set spec.dnsPolicy to ClusterFirstWithHostNet",),
            )


def answers(facts: Facts) -> Iterator[Finding]:
    """Find hosts that get no answer, or a wrong one, from the cluster's DNS."""
    silent: dict[tuple[str, str], dict[str, str]] = {}
    for each in facts.resolved:
        if each.answers is None:
            silent.setdefault((each.nameserver, each.problem), {})[each.host] = each.name
    for (server, problem), asked in silent.items():
        yield Finding(
            id="dns-unanswered",
            severity=Severity.ERROR,
            object=_title_of(facts),
            evidence=(
                (
                    f"{server}: {problem} to {listed(list(asked))}, which asked for"
                    f" {next(iter(asked.values()))}"
                ),
            ),
            remedy=(_ROLLOUT, _LOGS),
        )
    wanted = {
        f"{each.metadata.name}.{each.metadata.namespace}.svc.cluster.local.": each
        for each in facts.services
    }
    wrong: dict[str, list[str]] = {}
    for each in facts.resolved:
        service = wanted.get(each.name)
        if service is None or each.answers is None or each.answers & _addresses(service):
            continue
        told = listed(sorted(each.answers)) or "no address"
        wrong.setdefault(each.name, []).append(f"{each.host} is told {told}")
    for name, seen in wrong.items():
        yield Finding(
            id="dns-wrong",
            severity=Severity.ERROR,
            object=service_title(wanted[name]),
            evidence=(
                f"{name}: {seen[0]}",
                f"spec.clusterIPs: {listed(sorted(_addresses(wanted[name])))}",
            ),
            remedy=(_LOGS,),
            service=(wanted[name].metadata.namespace, wanted[name].metadata.name),
        )


def _addresses(service: Service) -> set[str]:
    return {*service.spec.cluster_ips, service.spec.cluster_ip}


def _title_of(facts: Facts) -> str:
    return service_title(facts.dns_services[0])
