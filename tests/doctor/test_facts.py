"""Checks of facts that need a whole cluster, or kernels that are rare."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api import decode
from kproxy.api.typed_kinds import as_read
from kproxy.doctor import CHECKS, Diagnosis, Severity, diagnose
from kproxy.doctor.facts import (
    Conntrack,
    Facts,
    HostFacts,
    HostKind,
    InForce,
    LinkFacts,
    Listener,
    Resolved,
)
from kproxy.doctor.finding import Missing, Part
from kproxy.store import Store

DNS = """
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  {clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10], ipFamilies: [IPv4],
  selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Pod
metadata: {name: dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {nodeName: node-a, containers: [{name: dns, image: dns}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.5}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-a}
status: {addresses: [{type: InternalIP, address: 192.168.10.11}]}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: job, labels: {app: job}}
spec: {containers: [{name: job, image: job}]}
status: {phase: PHASE, podIPs: [{ip: 10.244.1.6}], conditions: [{type: Ready, status: "False"}]}
---
apiVersion: v1
kind: Service
metadata: {name: job}
spec: {selector: {app: job}, ports: [{port: 80}]}
"""
NODE = HostFacts(
    name="node-a",
    kind=HostKind.NODE,
    addresses=frozenset({"192.168.10.11", "127.0.0.1"}),
    links=(LinkFacts(name="eth0", kind="veth", mtu=1500),),
    settings={"net/ipv4/ip_forward": "1"},
    conntrack=Conntrack(1, 1000),
    reverse_path_drops=0,
    tables=(),
    base_chains=(),
    in_force=(InForce("any", Family.IPV4, ""),),
    running=("kproxy",),
    unsupported=(),
    differences=(),
    listeners=frozenset(),
)
DNS_POD = HostFacts(
    name="dns.kube-system",
    kind=HostKind.POD,
    node="node-a",
    addresses=frozenset({"10.244.1.5"}),
    links=NODE.links,
    listeners=frozenset({Listener("UDP", "0.0.0.0", 53)}),
    nameservers=("10.96.0.10",),
)


def facts(text: str = "", **changed: object) -> Facts:
    """Return the facts of a healthy cluster, and of the objects of a manifest."""
    decoded = decode(DNS + text, "manifest")
    assert not decoded.problems, decoded.problems
    store = Store()
    store.replace(map(as_read, decoded.objects))
    return replace(Facts(store=store, hosts=(NODE, DNS_POD)), **changed)


def ids(found: Facts) -> list[str]:
    return [each.id for each in diagnosed(found).findings]


def diagnosed(found: Facts) -> Diagnosis:
    return diagnose(found, looked_at="")


def with_node(**changed: object) -> Facts:
    return facts(hosts=(replace(NODE, **changed), DNS_POD))


def test_a_healthy_cluster() -> None:
    assert ids(facts()) == []


@pytest.mark.parametrize(
    ("phase", "found"),
    [("Succeeded", ["no-pods"]), ("Failed", ["no-pods"]), ("Running", ["pods-not-ready"])],
)
def test_pods_that_have_ended(phase: str, found: list[str]) -> None:
    quiet = [Missing(Part.ENDPOINTS, ""), Missing(Part.LISTENERS, "")]
    assert ids(facts(POD.replace("PHASE", phase), missing=tuple(quiet))) == found


@pytest.mark.parametrize(
    ("count", "severity"),
    [(799, None), (800, Severity.WARNING), (949, Severity.WARNING), (950, Severity.ERROR)],
)
def test_how_full_the_table_is(count: int, severity: Severity | None) -> None:
    found = diagnosed(with_node(conntrack=Conntrack(count, 1000))).findings
    assert [each.severity for each in found] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("strict", "drops", "found"),
    [("1", 0, []), ("2", 9, []), ("1", 9, ["reverse-path"])],
)
def test_a_filter_that_drops_nothing_is_none(strict: str, drops: int, found: list[str]) -> None:
    settings = {"net/ipv4/ip_forward": "1", "net/ipv4/conf/eth0/rp_filter": strict}
    assert ids(with_node(settings=settings, reverse_path_drops=drops)) == found


@pytest.mark.parametrize(
    ("underlay", "mtu", "found"),
    [
        ("192.0.2.1", 1450, []),
        ("192.0.2.1", 1451, ["tunnel-mtu"]),
        ("2001:db8::1", 1430, []),
        ("2001:db8::1", 1431, ["tunnel-mtu"]),
        ("198.51.100.1", 9000, []),
    ],
)
def test_the_headers_of_a_tunnel(underlay: str, mtu: int, found: list[str]) -> None:
    below = LinkFacts(
        name="eth0", kind="veth", mtu=1500, addresses=frozenset({"192.0.2.1", "2001:db8::1"})
    )
    tunnel = LinkFacts(name="vxlan", kind="vxlan", mtu=mtu, underlay=underlay)
    pod = replace(DNS_POD, links=())
    assert ids(facts(hosts=(replace(NODE, links=(below, tunnel)), pod))) == found


def test_what_the_kernel_lacks() -> None:
    (found,) = diagnosed(with_node(unsupported=(("no nf_tables", "another kernel"),))).findings
    assert (found.id, found.evidence, found.remedy) == (
        "kernel-feature",
        ("no nf_tables",),
        ("another kernel",),
    )


@pytest.mark.parametrize(
    ("address", "only"), [("0.0.0.0", ""), ("::", ""), ("10.244.1.5", ""), ("127.0.0.1", "only ")]
)
def test_a_program_that_listens_on_loopback(address: str, only: str) -> None:
    pod = replace(DNS_POD, listeners=frozenset({Listener("UDP", address, 53)}))
    found = diagnosed(facts(hosts=(NODE, pod))).findings
    assert [each.id for each in found] == (["target-port-closed"] if only else [])
    assert all("only 127.0.0.1 has it" in each.evidence[1] for each in found)


def test_a_program_that_listens_by_another_protocol() -> None:
    pod = replace(DNS_POD, listeners=frozenset({Listener("TCP", "0.0.0.0", 53)}))
    (found,) = diagnosed(facts(hosts=(NODE, pod))).findings
    assert (found.id, "it listens on 53/TCP" in found.evidence[1]) == ("target-port-closed", True)


def test_a_symptom_alone_is_a_finding() -> None:
    silent = Resolved(
        host="node-a", nameserver="10.96.0.10", name="x.", answers=None, problem="no answer"
    )
    assert ids(facts(resolved=(silent,))) == ["dns-unanswered"]
    both = diagnosed(facts(resolved=(silent,), hosts=(replace(NODE, in_force=()), DNS_POD)))
    assert [each.id for each in both.findings] == ["no-proxy"]
    assert [each.id for each in both.symptoms] == ["dns-unanswered"]


def test_the_worst_is_first() -> None:
    hosts = (replace(NODE, in_force=(), conntrack=Conntrack(900, 1000)), DNS_POD)
    found = diagnosed(facts(hosts=hosts)).findings
    assert [each.severity for each in found] == [Severity.ERROR, Severity.WARNING]


def test_what_is_missing_in_one_place_is_left_out_there() -> None:
    missing = (Missing(Part.RULES, "no root", "node-b"), Missing(Part.RULES, "gone", "node-c"))
    found = diagnosed(facts(missing=missing))
    assert [(each.where, each.why) for each in found.left_out] == [
        ("node-b", "no root"),
        ("node-c", "gone"),
    ]
    assert all("foreign-rule" in each.checks for each in found.left_out)
    assert len(found.made) == sum(len(check.ids) for check in CHECKS)
