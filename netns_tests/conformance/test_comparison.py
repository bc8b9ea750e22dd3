"""Tests of the comparison: what counts as a difference, and that recordings can be read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from kproxy.kernel import nfacct, sysctl
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.process import run
from kproxy.testing.node import new_node
from netns_tests import ipset_program
from netns_tests.conformance import dump
from netns_tests.conformance.comparison import differences

CASES = Path(__file__).parent / "cases"
IPTABLES = (CASES / "nodeport-local/kube-proxy.iptables").read_text()
IPVS = (CASES / "nodeport-local/kube-proxy.ipvs").read_text()
NFTABLES = (CASES / "clusterip-multiport/kube-proxy.nftables").read_text()

DIFFERENT = [  # a recording, and what is altered in it -> into what
    (IPTABLES, "--dport 30080", "--dport 30081"),
    (IPTABLES, "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n", ""),
    (IPTABLES, ":KUBE-PROXY-CANARY\n", ""),
    (IPTABLES, "*nat\n", "*nat\n:STRANGER\n"),
    (IPTABLES, "route_localnet = 1", "route_localnet = 0"),
    (IPVS, "-a -t 10.96.0.10:80 -r 10.244.0.5:8080 -m -w 1\n", ""),
    (IPVS, "-r 10.244.0.5:8080 -m -w 1", "-r 10.244.0.5:8080 -m -w 0"),
    (IPVS, "-A -t 10.96.0.10:80 -s rr", "-A -t 10.96.0.10:80 -s rr -p 10800"),
    (IPVS, "-A -t 10.96.0.10:80 -s rr", "-A -u 10.96.0.10:80 -s rr"),
    (IPVS, "add KUBE-CLUSTER-IP 10.96.0.10,tcp:80\n", ""),
    (IPVS, "create KUBE-6-IPVS-IPS hash:ip family inet6", "create KUBE-6-IPVS-IPS hash:ip"),
    (IPVS, "10.96.0.10/32\n", "10.96.0.10/32\n10.96.0.11/32\n"),
    (IPVS, "10.96.0.10/32\n", "10.96.0.10/24\n"),
    (IPVS, "KUBE-IPVS-IPS dst -j REJECT", "KUBE-IPVS-IPS dst -j DROP"),
    (IPVS, "KUBE-6-IPVS-IPS dst -j REJECT", "KUBE-6-IPVS-IPS dst -j DROP"),
    (IPVS, "vs/conntrack = 1", "vs/conntrack = 0"),
    (NFTABLES, "0 : 10.244.0.5 . 8080", "0 : 10.244.0.5 . 8081"),
    (NFTABLES, "10.96.0.10 . udp . 53 : goto", "10.96.0.10 . udp . 54 : goto"),
    (NFTABLES, "type ipv6_addr . inet_proto", "type ipv4_addr . inet_proto"),
    (NFTABLES, 'comment "rules for kube-proxy"', 'comment "rules"'),
    (NFTABLES, "\tchain reject-chain {", "\tchain reject {"),
]


@pytest.mark.parametrize(("recording", "before", "after"), DIFFERENT)
def test_a_difference_is_seen(recording: str, before: str, after: str) -> None:
    assert before in recording
    assert differences(recording, recording.replace(before, after, 1))


def chain(name: str, *rules: str) -> str:
    return "\n".join(["## iptables", "*nat", f":{name}", *(f"-A {name} {rule}" for rule in rules)])


A = '-p tcp --comment "default/a:http" -j A'
A_LATER = '-p udp --comment "default/a:http" -j A'
B = "-p tcp --comment default/b -j B"
LAST = '--comment "kubernetes service nodeports; must be last" -j KUBE-NODEPORTS'

VIP = "-s 203.0.113.1/32 -m ipvs --vproto 6 --vaddr 203.0.113.1 --vport 80 -j DROP"
VIP_2 = "-s 203.0.113.2/32 -m ipvs --vproto 6 --vaddr 203.0.113.2 --vport 80 -j DROP"

ORDERS = [  # a chain, two orders of its rules, whether they mean the same
    ("KUBE-SERVICES", (A, B, LAST), (B, A, LAST), True),
    ("KUBE-SERVICES", (A, B, LAST), (A, LAST, B), False),
    ("KUBE-SERVICES", (A, A_LATER), (A_LATER, A), False),
    ("KUBE-SVC-1", (A, B), (B, A), False),
    ("KUBE-IPVS-OUT-FILTER", (VIP, VIP_2), (VIP_2, VIP), True),
    ("KUBE-IPVS-OUT-FILTER", (VIP, VIP_2), (VIP_2,), False),
]


@pytest.mark.parametrize(("name", "one", "other", "same"), ORDERS)
def test_order(name: str, one: tuple[str, ...], other: tuple[str, ...], same: bool) -> None:
    assert (differences(chain(name, *one), chain(name, *other)) == []) is same


def test_order_of_nft_elements_and_chains_does_not_count() -> None:
    elements = "10.96.0.10 . udp . 53 : goto service-S5KDWTE3-default/web/udp/dns"
    assert elements in NFTABLES
    first = NFTABLES.replace(f"{elements},", "").replace(
        "elements = { 10.96.0.10 . sctp", f"elements = {{ {elements}, 10.96.0.10 . sctp"
    )
    assert differences(NFTABLES, first) == []
    assert first != NFTABLES


HOOK = "table ip kube-proxy {{\n\tchain c {{\n\t\ttype {}; policy accept;\n\t}}\n}}"
PRIORITIES = [  # a number, as nft 1.0.6 prints it, as nft 1.1.3 does
    ("filter hook prerouting", -110, "dstnat - 10", "dstnat - 10"),
    ("filter hook output", -110, "-110", "dstnat - 10"),
    ("filter hook output", -90, "-90", "dstnat + 10"),
    ("nat hook output", -100, "-100", "dstnat"),
    ("nat hook postrouting", 100, "srcnat", "srcnat"),
    ("filter hook input", 100, "100", "srcnat"),
    ("filter hook input", 0, "filter", "filter"),
    ("filter hook forward", 40, "security - 10", "security - 10"),
    ("filter hook output", -160, "mangle - 10", "mangle - 10"),
    ("filter hook prerouting", -310, "raw - 10", "raw - 10"),
]


@pytest.mark.parametrize(("hook", "number", "old", "new"), PRIORITIES)
def test_priorities_are_compared_as_numbers(hook: str, number: int, old: str, new: str) -> None:
    def listing(priority: object) -> str:
        return HOOK.format(f"{hook} priority {priority}")

    assert differences(listing(old), listing(new)) == []
    assert differences(listing(number), listing(new)) == []
    assert differences(listing(number + 1), listing(new))


def test_a_setting_the_recording_kernel_did_not_have_may_have_any_value() -> None:
    missing = "## sysctl\nnet/ipv4/vs/conntrack = \n"
    present = "## sysctl\nnet/ipv4/vs/conntrack = 0\n"
    assert differences(missing, present) == []
    assert differences(present, missing)
    assert differences(missing, "")


def test_a_difference_can_be_read() -> None:
    assert differences(chain("KUBE-SVC-1", A, LAST), chain("KUBE-SVC-1", B, LAST)) == [
        f"iptables *nat KUBE-SVC-1: differs\n    - -A KUBE-SVC-1 {A}\n    + -A KUBE-SVC-1 {B}"
    ]


@pytest.mark.parametrize("recording", [IPTABLES, IPVS, NFTABLES], ids=["iptables", "ipvs", "nft"])
def test_no_line_is_overlooked(recording: str) -> None:
    lines = recording.splitlines()
    for number, line in enumerate(lines):
        if line.strip(" \t}"):
            without = "\n".join(lines[:number] + lines[number + 1 :])
            assert differences(recording, without), line


@pytest.mark.parametrize("case", ["nodeport-local", "loadbalancer-source-ranges", "dualstack"])
@pytest.mark.parametrize("variant", get_args(Variant))
def test_iptables_recordings_can_be_read_back(case: str, variant: Variant) -> None:
    recording = (CASES / case / "kube-proxy.iptables").read_text()
    with new_node():
        sysctl.write("net/ipv4/conf/all/route_localnet", 1)
        for counter in set(re.findall(r"--nfacct-name +(\S+)", recording)):
            nfacct.ensure_counter(counter)
        for command, tables in re.findall(r"## (ip6?tables)\n([^#]*)", recording):
            run([f"{command}-{variant}-restore"], restorable(tables))
        assert differences(recording, dump.iptables(variant) + dump.sysctls()) == []


@pytest.mark.parametrize("case", ["nodeport-local", "loadbalancer-source-ranges", "dualstack"])
def test_nftables_recordings_can_be_read_back(case: str) -> None:
    recording = (CASES / case / "kube-proxy.nftables").read_text()
    with new_node():
        run(["nft", "-f", "-"], recording.partition("## sysctl")[0])
        assert differences(recording, dump.nftables() + dump.sysctls()) == []


@pytest.mark.ipvs
@pytest.mark.parametrize("case", ["affinity-clientip", "loadbalancer-source-ranges", "dualstack"])
def test_ipvs_recordings_can_be_read_back(case: str) -> None:
    recording = (CASES / case / "kube-proxy.ipvs").read_text()
    sections = dict(re.findall(r"## (\S+)\n([^#]*)", recording))
    with new_node():
        for name, value in re.findall(r"(\S+) = (\S+)", sections["sysctl"]):
            sysctl.write(name, value)
        run(["ip", "link", "add", "kube-ipvs0", "type", "dummy"])
        for address in sections["kube-ipvs0"].split():
            run(["ip", "address", "add", address, "dev", "kube-ipvs0"])
        run(["ipvsadm", "--restore"], sections["ipvs"])
        # Sets before their entries, which come first in the alphabet.
        run(["ipset", "restore"], sorted(sections["ipset"].splitlines(keepends=True))[::-1])
        for command in ("iptables", "ip6tables"):
            run([f"{command}-legacy-restore"], restorable(sections[command]))
        assert differences(recording, dump.ipvs("legacy") + dump.sysctls()) == []


def restorable(tables: str) -> str:
    """Return dumped tables in the form iptables-restore accepts."""
    text = re.sub(r"^:(KUBE-\S+)$", r":\1 - [0:0]", tables, flags=re.MULTILINE)
    text = re.sub(r"^:(\w+)$", r":\1 ACCEPT [0:0]", text, flags=re.MULTILINE)
    return "".join(f"*{table}COMMIT\n" for table in text.split("*")[1:])


@pytest.mark.parametrize("names", [("KPROXY-A", "KPROXY-B"), ("KPROXY-B", "KPROXY-A")])
def test_a_dump_tells_sets_of_the_same_number_apart(names: tuple[str, str]) -> None:
    with new_node():
        ipset_program.restore(f"create {name} hash:ip" for name in names)
        run(["iptables-legacy", "-A", "OUTPUT", "-m", "set", "--match-set", names[0], "dst"])
        for _ in range(2):
            assert f"-A OUTPUT -m set --match-set {names[0]} dst\n" in dump.iptables(
                "legacy", names
            )
        run(["iptables-legacy", "-F", "OUTPUT"])
        assert "-A OUTPUT" not in dump.iptables("legacy", names)
