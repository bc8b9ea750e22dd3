"""Rules of any program in legacy tables are read as iptables-save prints them."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys

import pytest

from kproxy.address import Family
from kproxy.kernel import legacy_tables
from kproxy.kernel.legacy_reader import read_table
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.kernel.xtables import Xtables
from kproxy.testing.node import new_node

OF_PROXIES = [
    "-s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j ACCEPT",
    "! -s 10.244.0.0/16 -i lo -o eth+ -p udp -m udp --sport 53 --dport 1:1023 -j DROP",
    '-m comment --comment "default/web:http cluster IP" -m conntrack ! --ctstate INVALID -j SUB',
    "-m addrtype --dst-type LOCAL -m statistic --mode random --probability 0.33333333349 -j SUB",
    "-m comment --comment plain -j ACCEPT",
    "! -d 127.0.0.0/8 ! -i lo -m mark ! --mark 0x4000/0x4000 -j RETURN",
    "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource",
    "-p tcp -j REJECT --reject-with icmp-port-unreachable",
    "-p sctp -m sctp ! --dport 9 -j ACCEPT",
    "-m state --state RELATED,ESTABLISHED -j ACCEPT",
]
OF_OTHERS = [
    "-f -j ACCEPT",
    "! -f -j ACCEPT",
    "-g SUB",
    "-p tcp -g SUB",
    "-p tcp -m tcp --tcp-flags SYN,RST SYN -j DROP",
    "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
    "-p tcp -m tcp --tcp-option 7 -j DROP",
    "-p tcp -m multiport ! --dports 80,443:445 -j DROP",
    "-p sctp -m sctp --chunk-types any INIT,DATA -j DROP",
    "! -s 10.0.0.1/255.0.255.0 -j DROP",
    "-p 4 -j ACCEPT",
    "! -p esp -j ACCEPT",
    "-p 200 -j ACCEPT",
    "! -s 0.0.0.0/0 -j DROP",
    "-m comment --comment one -m comment --comment two -j ACCEPT",
    "-p tcp -m comment --comment one -m tcp --dport 80 -m comment --comment two -j ACCEPT",
    '-m comment --comment "a \\"quoted\\" word, it\'s \\\\ here" -j ACCEPT',
    '-m comment --comment "--dport 80" -j ACCEPT',
    '-m comment --comment "! no" -j ACCEPT',
    '-m comment --comment "two  blanks, \u00fc and \u2028 a separator" -j SUB',
    f'-m comment --comment "{"x" * 255}" -j ACCEPT',
    '-m string --string "GET /  index" --algo bm --to 65535 -j DROP',
    '-m limit --limit 3/min -j LOG --log-prefix "dropped: " --log-tcp-options',
    "-m iprange ! --src-range 10.0.0.1-10.0.0.9 -j DROP",
    "-m mac --mac-source 02:00:00:00:00:01 -j DROP",
    "-m set ! --match-set strangers src,dst -j DROP",
    '-m u32 --u32 "0x6&0xff=0x6" -j DROP',
    "-p icmp -m icmp --icmp-type 8 -j ACCEPT",
    "-p icmp -m icmp ! --icmp-type 8/0 -j ACCEPT",
    "-m length --length 100:200 -j NFLOG --nflog-group 5",
    "",
]


def added(rule: str) -> None:
    run(
        ["iptables-legacy-restore"],
        f"*filter\n:FORWARD ACCEPT\n:SUB -\n-A FORWARD {rule}\nCOMMIT\n",
    )


def agreed() -> str:
    """Compare what is read with what iptables-save prints, and return it."""
    tables = Xtables(Family.IPV4, "legacy")
    (read,) = tables.read_all()["filter"]["FORWARD"]
    (saved,) = re.findall(r"^-A FORWARD ?(.*)", run(["iptables-legacy-save", "-t", "filter"]), re.M)
    assert read == saved
    return read


@pytest.mark.parametrize("rule", OF_PROXIES)
def test_rules_of_proxies_are_read_without_a_process(rule: str) -> None:
    with new_node():
        added(rule)
        assert read_table("filter")["FORWARD"] == [agreed()] == [rule]


@pytest.mark.parametrize("rule", OF_OTHERS)
def test_rules_of_other_programs(rule: str) -> None:
    with new_node():
        run(["ipset", "create", "strangers", "hash:ip,port"])
        added(rule)
        agreed()


def test_random_rules() -> None:
    chance = random.Random(24)
    with new_node():
        run(["ipset", "create", "strangers", "hash:ip,port"])
        read = set()
        for _ in range(300):
            added(random_rule(chance))
            read.add(agreed())
        assert len(read) > 250


def random_rule(chance: random.Random) -> str:
    """Return a rule of a few parts that may stand together."""

    def some(*texts: str) -> str:
        return chance.choice([*texts, "", ""])

    def maybe_not(option: str) -> str:
        return chance.choice(["! ", ""]) + option

    word = "".join(chance.choices("ab-_ .:/'\\\"!;%", k=chance.randint(1, 12)))
    quoted = '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ports = chance.choice(["80", "1:1023", "0:65535", "443"])
    protocol = chance.choice(
        [
            f"-p tcp -m tcp {maybe_not(f'--dport {ports}')}",
            f"-p tcp -m tcp {maybe_not('--tcp-flags SYN,ACK,FIN SYN')}",
            f"-p tcp -m tcp --sport {ports} {maybe_not('--tcp-flags ALL NONE')}",
            f"-p udp -m udp {maybe_not(f'--sport {ports}')} --dport 53",
            f"-p sctp -m sctp {maybe_not(f'--dport {ports}')}",
            f"-p udp -m multiport {maybe_not('--dports 1,2,3')}",
            maybe_not(f"-p {chance.choice(['tcp', '47', '6', 'esp'])}"),
            chance.choice(["-f", "! -f"]),
            "",
        ]
    )
    parts = [
        some(maybe_not(f"-s 10.{chance.randint(0, 255)}.0.0/{chance.randint(1, 32)}")),
        some(maybe_not("-d 10.1.2.3"), maybe_not("-d 10.1.0.3/255.255.0.255")),
        some(maybe_not("-i eth0"), maybe_not("-i ppp+")),
        protocol,
        some(f"-m comment --comment {quoted}", "-m comment --comment plain"),
        some(f"-m conntrack {maybe_not('--ctstate NEW,INVALID')}"),
        some(f"-m mark {maybe_not('--mark 0x4000/0x4000')}", "-m mark --mark 0x1"),
        some(f"-m addrtype {maybe_not('--dst-type LOCAL')}"),
        some(f"-m set {maybe_not('--match-set strangers dst,dst')}"),
        some(f"-m comment --comment {quoted}"),
        some("-j ACCEPT", "-j SUB", "-g SUB", f"-j LOG --log-prefix {quoted}", "-j REJECT"),
    ]
    return " ".join(filter(None, parts))


@pytest.mark.parametrize("family", Family)
def test_a_table_is_made_or_told_to_be_missing(family: Family) -> None:
    with Namespace.create() as namespace, namespace.entered():
        assert legacy_tables.names(family) == []
        legacy_tables.require(family, "nat")
        assert legacy_tables.names(family) == ["nat"]
        with pytest.raises(legacy_tables.NoTable, match="No such file or directory"):
            legacy_tables.require(family, "gnat")
        Xtables(family, "legacy").require()


def test_without_the_privilege() -> None:
    """Raw sockets alone are not enough."""
    code = "from kproxy.kernel.xtables import *; Xtables(Family.IPV4, 'legacy').require()"
    dropped = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    done = subprocess.run(
        [*dropped, sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "cannot read a legacy table: Operation not permitted" in done.stderr


@pytest.mark.ipvs
@pytest.mark.parametrize("family", Family)
def test_signals_while_a_table_is_read(family: Family) -> None:
    """User-mode Linux fails in some calls that a signal meets: here in a few, if not repeated."""
    former = signal.signal(signal.SIGPROF, lambda *_: None)
    try:
        with new_node():
            Xtables(family, "legacy").restore(
                ["*nat\n:A - [0:0]\n", *["-A A -j RETURN\n"] * 100, "COMMIT\n"]
            )
            signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)
            for _ in range(1000):
                assert legacy_tables.whole(family, "nat").number > 100
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
