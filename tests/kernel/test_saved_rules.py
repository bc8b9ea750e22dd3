"""Text for iptables-restore, as iptables-save prints what it makes."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.kernel.iptables_save import parse_counted
from kproxy.kernel.saved_rules import saved, tables

V4, V6 = Family.IPV4, Family.IPV6
TO = "--to-destination [fd00::1]:80"
ALL = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
RULES = [  # family, as it is written -> as it is printed
    (V4, "-j KUBE-SVC-A", "-j KUBE-SVC-A"),
    (
        V4,
        '-m comment --comment "a/b:c cluster IP" -m tcp -p tcp -d 10.96.0.1 --dport 80 -j X',
        '-d 10.96.0.1/32 -p tcp -m comment --comment "a/b:c cluster IP" -m tcp --dport 80 -j X',
    ),
    (
        V6,
        "-m comment --comment a/b -m sctp -p sctp -d fd00::1 --dport 80 ! -s fd00::/8 -j X",
        '! -s fd00::/8 -d fd00::1/128 -p sctp -m comment --comment "a/b" -m sctp --dport 80 -j X',
    ),
    (
        V4,
        "-m comment --comment plain-text -s 0.0.0.0/0 -j X",
        "-m comment --comment plain-text -j X",
    ),
    (
        V4,
        "-m comment --comment \"of 'hash ip:port'\" -j X",
        "-m comment --comment \"of \\'hash ip:port\\'\" -j X",
    ),
    (
        V4,
        "-m udp -p udp -d 10.0.0.1 ! -i veth+ -j X",
        "-d 10.0.0.1/32 ! -i veth+ -p udp -m udp -j X",
    ),
    (
        V4,
        "-m mark ! --mark 0x00004000/0x00004000 -j RETURN",
        "-m mark ! --mark 0x4000/0x4000 -j RETURN",
    ),
    (V4, "-j MARK --or-mark 0x00004000", "-j MARK --set-xmark 0x4000/0x4000"),
    (V4, "-j MARK --xor-mark 0x80000000", "-j MARK --set-xmark 0x80000000/0x0"),
    (V4, "-j MASQUERADE --random-fully", "-j MASQUERADE --random-fully"),
    (V4, "-j REJECT", "-j REJECT --reject-with icmp-port-unreachable"),
    (V6, "-j REJECT", "-j REJECT --reject-with icmp6-port-unreachable"),
    (
        V4,
        "-m recent --name A --rcheck --seconds 10 --reap -j A",
        "-m recent --rcheck --seconds 10 --reap --name A --mask 255.255.255.255 --rsource -j A",
    ),
    (
        V6,
        f"-m recent --name A --set -m tcp -p tcp -j DNAT {TO}",
        f"-p tcp -m recent --set --name A --mask {ALL} --rsource -m tcp -j DNAT {TO}",
    ),
    (
        V4,
        "-m statistic --mode random --probability 0.3333333333 -j A",
        "-m statistic --mode random --probability 0.33333333349 -j A",
    ),
    (
        V4,
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    ),
    (
        V4,
        "-s 10.0.0.1 -m ipvs --vaddr 10.0.0.1 --vproto udp --vport 53 -j DROP",
        "-s 10.0.0.1/32 -m ipvs --vproto 17 --vaddr 10.0.0.1 --vport 53 -j DROP",
    ),
]


@pytest.mark.parametrize(("family", "written", "printed"), RULES, ids=[each[1] for each in RULES])
def test_a_rule(family: Family, written: str, printed: str) -> None:
    assert saved(family, written) == printed


def test_tables() -> None:
    """Chains are emptied when they are declared; -I puts a rule at the top."""
    text = [
        "*filter\n:KUBE-A - [0:0]\n-A KUBE-A -j DROP\n",
        "-I INPUT -j KUBE-A\n-I INPUT -j KUBE-B\nCOMMIT\n",
        "*nat\n:KUBE-C - [0:0]\nCOMMIT\n*filter\n:KUBE-A - [0:0]\nCOMMIT\n",
    ]
    assert tables(V4, text) == {
        "mangle": {},
        "nat": {"KUBE-C": []},
        "filter": {"KUBE-A": [], "INPUT": ["-j KUBE-B", "-j KUBE-A"]},
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("-D KUBE-A -j DROP", "not known: -D KUBE-A -j DROP"),
        ("-A KUBE-A -m owner --uid-owner 0 -j DROP", "match owner is not known"),
        ("*raw", "raw"),
    ],
)
def test_what_kproxy_does_not_write_is_refused(line: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        tables(V4, [f"*nat\n{line}\nCOMMIT\n"])


def test_counters_of_rules() -> None:
    text = (
        "*nat\n:PREROUTING ACCEPT [7:420]\n:KUBE-SERVICES - [0:0]\n"
        '[3:180] -A PREROUTING -m comment --comment "a  b" -j  KUBE-SERVICES\n'
        "[0:0] -A KUBE-SERVICES\nCOMMIT\n"
    )
    assert parse_counted(text)["nat"] == {
        "PREROUTING": [('-m comment --comment "a  b" -j KUBE-SERVICES', 3)],
        "KUBE-SERVICES": [("", 0)],
    }
