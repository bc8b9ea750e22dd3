"""Each fault is found, and nothing else; what follows from it is named apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from msgspec import structs

from kproxy.doctor import Diagnosis, Severity, diagnose
from kproxy.doctor.checks import CHECKS
from kproxy.doctor.from_kernel import KernelReader
from kproxy.doctor.from_lab import diagnose_lab, from_lab
from kproxy.kernel.ipvs import has_ipvs
from kproxy.kernel.process import run
from kproxy.lab import LabSpec, NodeSpec, PodSpec
from netns_tests.control_plane.plane_lab import SPEC, PlaneLab, deployment, service
from netns_tests.doctor import faults
from netns_tests.doctor.cases import IPVS, KERNELS, LOCAL_ONE, OBJECTS, Case
from netns_tests.doctor.faults import HEALTHY, NODE
from netns_tests.doctor.page import check_example
from netns_tests.doctor.remedies import commands, type_all
from netns_tests.modes import IPTABLES, MODES, NFTABLES, USERSPACE, Mode

FIRST = {case.found: case for case in reversed((*OBJECTS, *KERNELS))}
"""The case of each finding that is on the page."""
BARE = LabSpec(
    nodes=(NodeSpec(name="node-a", pods=(PodSpec(name="shell"),)), NodeSpec(name=NODE)),
    clients=SPEC.clients,
    control_plane=True,
)


def check(case: Case, diagnosis: Diagnosis) -> None:
    """Check that only the fault is found, in each family and on each host that it concerns."""
    seen = [(each.id, each.severity) for each in diagnosis.findings]
    assert {*seen} == {(case.found, case.severity)}, seen
    assert case.seen in "\n".join(text for each in diagnosis.findings for text in each.evidence)
    assert all(each.remedy for each in diagnosis.findings)
    assert {each.id for each in diagnosis.symptoms} <= {"dns-unanswered"}
    if case is FIRST[case.found]:
        check_example(diagnosis)


def check_remedy(lab: PlaneLab, case: Case, diagnosis: Diagnosis) -> None:
    """Check that the commands of the remedy can be typed, and do away with the fault."""
    if case.found == "two-proxies":
        lab.stop_proxy(NODE)  # as its words ask for
    type_all(lab, diagnosis)
    if case.found in ("two-proxies", "rules-differ"):
        lab.stop_proxy(NODE)
        lab.start_proxy(NODE)
    after = {each.id for each in diagnose_lab(lab).findings}
    assert (case.found not in after) is case.is_cured, after


@pytest.fixture(scope="module")
def shared() -> Iterator[PlaneLab]:
    with PlaneLab(IPTABLES[0]) as lab:
        lab.apply(HEALTHY)
        yield lab
        assert diagnose_lab(lab).findings == ()  # all faults are undone


@pytest.mark.parametrize("case", OBJECTS, ids=str)
def test_faulty_objects(shared: PlaneLab, case: Case) -> None:
    with case.fault(shared):
        diagnosis = diagnose_lab(shared)
        check(case, diagnosis)
        check_remedy(shared, case, diagnosis)


@pytest.mark.parametrize("case", [*KERNELS, *IPVS], ids=str)
def test_faulty_nodes(case: Case) -> None:
    """Each has a lab of its own: some faults cannot be undone."""
    with PlaneLab(case.mode, replace(SPEC, network=case.network)) as lab:
        lab.apply(HEALTHY)
        with case.fault(lab):
            diagnosis = diagnose_lab(lab)
            check(case, diagnosis)
            check_remedy(lab, case, diagnosis)


@pytest.mark.parametrize("mode", [*MODES, USERSPACE], ids=str)
def test_a_healthy_lab(mode: Mode) -> None:
    with PlaneLab(mode) as lab:
        lab.apply(HEALTHY)
        diagnosis = diagnose_lab(lab)
        assert (diagnosis.findings, diagnosis.symptoms) == ((), ())
        unmade = {each for left in diagnosis.left_out for each in left.checks}
        assert unmade == {"api-server"} | ({"rules-differ"} if mode == USERSPACE else set())


@pytest.mark.parametrize("mode", [*MODES, USERSPACE], ids=str)
def test_a_healthy_lab_whose_proxies_remember_clients(mode: Mode) -> None:
    with PlaneLab(mode) as lab:
        lab.apply([deployment(), service(more="type: LoadBalancer, sessionAffinity: ClientIP")])
        (address, *_) = lab.service().spec.cluster_ips
        assert lab.connect("shell", address, 80).sources
        assert diagnose_lab(lab).findings == ()


@pytest.mark.parametrize(
    ("network", "found"),
    [
        ("routed", set()),
        ("tunnel", set()),
        ("flannel-vxlan", set()),
        ("flannel-host-gw", set()),
        ("eni-shared", set()),
        ("vpc", {"bridge-netfilter-off"}),  # as docs/networks.md tells of it
        ("eni", {"plugin-masquerade"}),
    ],
)
def test_networks(network: str, found: set[str]) -> None:
    with PlaneLab(NFTABLES[0], replace(SPEC, network=network)) as lab:
        lab.apply(HEALTHY)
        assert {each.id for each in diagnose_lab(lab).findings} == found


def test_nodes_without_a_proxy() -> None:
    with PlaneLab(None, BARE) as lab:
        lab.apply(HEALTHY)
        diagnosis = diagnose_lab(lab)
        assert [(each.id, each.host) for each in diagnosis.findings] == [
            ("no-proxy", "node-a"),
            ("no-proxy", NODE),
        ]
        assert any("rules-differ" in each.checks for each in diagnosis.left_out)
        check_example(diagnosis)


def test_every_finding_has_a_fault() -> None:
    """The ids of all checks are in these tables, or in another test."""
    ids = {each for check in CHECKS for each in check.ids}
    elsewhere = {"no-proxy", "api-server", "conntrack-full"}
    assert ids == {case.found for case in (*OBJECTS, *KERNELS)} | elsewhere


@pytest.mark.parametrize(
    "lost",
    [
        "iptables-nft -t nat -F KUBE-POSTROUTING",
        "iptables-nft -t nat -F KUBE-MARK-MASQ",
        "iptables-nft -t nat -F POSTROUTING",
        "",
    ],
)
def test_a_pod_that_reaches_itself_no_more_without_knowing_what_is_wanted(lost: str) -> None:
    """Outside a lab nobody knows all rules that there should be: those of hairpins are known."""
    with PlaneLab(IPTABLES[0]) as lab:
        lab.apply(HEALTHY)
        fault = faults.commands(lab, NODE, [lost]) if lost else faults.deaf(lab)
        with fault:
            facts = from_lab(lab)
            hosts = tuple(structs.replace(each, differences=None) for each in facts.hosts)
            found = diagnose(structs.replace(facts, hosts=hosts), looked_at="").findings
            assert [(each.id, each.host) for each in found] == [("hairpin-masquerade", NODE)]
            assert {each.id for each in diagnose_lab(lab).findings} == {"rules-differ"}


def test_a_kernel_without_what_the_mode_needs() -> None:
    """The proxies of the lab were to run in ipvs mode, on the kernel that there is."""
    with PlaneLab(IPTABLES[0]) as lab:
        lab.apply(HEALTHY)
        reader = KernelReader(lab.config, "ipvs")
        with lab.nodes[NODE].namespace.entered():
            node = reader.node(NODE)
        facts = from_lab(lab)
        hosts = tuple(node if each.name == NODE else each for each in facts.hosts)
        found = diagnose(structs.replace(facts, hosts=hosts), looked_at="").findings
        lacking = [] if has_ipvs() else [("kernel-feature", Severity.ERROR, NODE)] * 2
        assert [(each.id, each.severity, each.host) for each in found] == lacking
        assert all(each.remedy and "ipvs mode, IPv" in each.evidence[0] for each in found)


@pytest.mark.ipvs
def test_a_policy_that_does_not_drop() -> None:
    with PlaneLab(Mode("ipvs", "legacy")) as lab:
        lab.apply(HEALTHY)
        with LOCAL_ONE(lab):
            (found,) = diagnose_lab(lab).findings
        assert (found.id, found.severity) == ("external-policy-local", Severity.WARNING)
        assert "led to other nodes" in found.evidence[1]


@pytest.mark.ipvs
def test_a_full_table() -> None:
    """On user-mode Linux, whose limit is small and nobody else's."""
    with PlaneLab(Mode("ipvs", "legacy")) as lab, faults.small_table():
        lab.apply(HEALTHY)
        for share, severity in ((0.855, Severity.WARNING), (0.96, Severity.ERROR)):
            faults.fill_conntrack(lab, share)
            diagnosis = diagnose_lab(lab)
            (found,) = diagnosis.findings
            assert (found.id, found.severity, found.host) == ("conntrack-full", severity, NODE)
            assert f"({int(100 * share)}%)" in found.evidence[0]
            if severity is Severity.WARNING:
                check_example(diagnosis)
        (command, *_) = commands(found)
        run(command)
        assert diagnose_lab(lab).findings == ()
