"""Without its program, iptables' nft variant gets the very bytes that the program would write."""

from __future__ import annotations

import logging
import re
import shlex
import struct

import pytest

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel.iptables_nft import Writer, known
from kproxy.kernel.iptables_nft import dialect as dialects
from kproxy.kernel.netlink import Request, attributes
from kproxy.kernel.nftables.objects import GET_CHAIN, GET_RULE, GET_TABLE, NFPROTO
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.process import run
from kproxy.kernel.xtables import Xtables
from kproxy.testing.node import new_node
from netns_tests.iptables.written import (
    ADDRESSES,
    NOT_OURS,
    as_text,
    counted,
    create_objects,
    rules_of,
)
from netns_tests.modes import IPTABLES
from netns_tests.node import bench, random_cluster

(NFT,) = (mode for mode in IPTABLES if mode.variant == "nft")
# Of bytes and packets: those of a node's own connections are counted, too.
COUNTS = re.compile(rb"(?s)(?<=counter\0\x1c\0\x02\0\x0c\0\x01\0).{8}\x0c\0\x02\0.{8}")
BASE_CHAINS = """\
*filter
-I INPUT -j ACCEPT
-A FORWARD -j ACCEPT
-A OUTPUT -j ACCEPT
COMMIT
*nat
-A PREROUTING -j ACCEPT
-A INPUT -j ACCEPT
-A OUTPUT -j ACCEPT
-A POSTROUTING -j ACCEPT
COMMIT
*mangle
:ONLY-DECLARED - [0:0]
-A PREROUTING -j ACCEPT
-A INPUT -j ACCEPT
-A FORWARD -j ACCEPT
-A OUTPUT -j ACCEPT
-A POSTROUTING -j ACCEPT
COMMIT
"""


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything written by the program, as with an iptables that kproxy does not know."""
    monkeypatch.setattr(dialects, "_DIALECTS", {})
    known._say_unknown.cache_clear()


@pytest.mark.parametrize("family", Family)
def test_every_rule_is_the_same_byte_for_byte(family: Family) -> None:
    texts = {table: rules_of(family, table) for table in ("filter", "nat")}
    for table, rules in texts.items():
        text = as_text(table, rules)
        with new_node():
            create_objects(family)
            run([f"{command(family)}-restore", "--noflush"], text)
            wanted = contents(family)
        with new_node():
            create_objects(family)
            assert restore(family, text)
            found = contents(family)
            for rule in rules:  # the program finds each
                run([command(family), "-t", table, "-C", "RULES", *shlex.split(rule)])
        for rule, ours, theirs in zip(rules, found["RULES"], wanted["RULES"], strict=True):
            assert ours == theirs, rule
        assert found == wanted


@pytest.mark.parametrize("family", Family)
def test_tables_and_base_chains_are_the_same(family: Family) -> None:
    with new_node():
        run([f"{command(family)}-restore", "--noflush"], BASE_CHAINS)
        wanted = contents(family)
    with new_node():
        assert restore(family, BASE_CHAINS)
        assert contents(family) == wanted


@pytest.mark.parametrize("family", Family)
def test_every_rule_is_found_again_to_be_deleted(family: Family) -> None:
    """Whoever wrote it, and after it has counted packets. It is deleted as often as it is asked."""
    for table in ("filter", "nat"):
        rules = rules_of(family, table)
        deletions = "".join(f"-D RULES {rule}\n" for rule in reversed(rules))
        with new_node():
            create_objects(family)
            run([f"{command(family)}-restore", "--noflush", "--counters"], counted(table, rules))
            assert restore(family, f"*{table}\n-I RULES -j LEAF\nCOMMIT\n")
            assert restore(family, f"*{table}\n{deletions}COMMIT\n")
            assert Xtables(family, "nft").chains(table, ["RULES"]) == {"RULES": ["-j LEAF"]}


def test_what_is_not_known_is_written_by_the_program() -> None:
    with new_node():
        tables = Xtables(Family.IPV4, "nft")
        text = "*filter\n:MINE - [0:0]\n-A MINE -p tcp -m multiport --dports 1,2 -j LOG\nCOMMIT\n"
        assert not restore(Family.IPV4, text)
        assert tables.chains("filter", ["MINE"]) == {}
        tables.restore([text])
        tables.restore(["*filter\n-D MINE 1\nCOMMIT\n"])
        assert tables.chains("filter", ["MINE"]) == {"MINE": []}
        with pytest.raises(KernelRefused, match="iptables-nft-restore"):
            tables.restore(["*filter\n-D MINE -j DROP\nCOMMIT\n"])


def test_several_transactions_are_in_force_one_after_the_other() -> None:
    """Also where the program has to write one of them, or the kernel refuses one."""
    texts = [
        "*nat\n:A - [0:0]\n-A A -j RETURN\nCOMMIT\n",
        "*nat\n:B - [0:0]\n-A B -p tcp -m multiport --dports 1,2 -j A\nCOMMIT\n",
        "*nat\n:A - [0:0]\n:C - [0:0]\n-A C -j B\n-A A -j ACCEPT\nCOMMIT\n",
        "*nat\n:D - [0:0]\n-X B\nCOMMIT\n",
        "*nat\n:E - [0:0]\nCOMMIT\n",
    ]
    with new_node():
        tables = Xtables(Family.IPV4, "nft")
        written = tables.restore_all([text] for text in texts)
        for present in ({"A"}, {"A", "B"}, {"A", "B", "C"}):
            next(written)
            assert set(tables.chains("nat", ["A", "B", "C"])) >= present
        with pytest.raises(KernelRefused, match="-X B"):
            next(written)
        assert tables.chains("nat", "ABCDE") == {
            "A": ["-j ACCEPT"],
            "B": ["-p tcp -m multiport --dports 1,2 -j A"],
            "C": ["-j B"],
        }


@pytest.mark.parametrize("rule", [rule.format(**ADDRESSES[Family.IPV4]) for rule in NOT_OURS])
def test_what_might_mean_something_else_is_left_to_the_program(rule: str) -> None:
    with new_node():
        before = Xtables(Family.IPV4, "nft").generation()
        assert not restore(Family.IPV4, as_text("filter", [rule]))
        assert Xtables(Family.IPV4, "nft").generation() == before


@pytest.mark.usefixtures("program")
def test_an_unknown_version_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kproxy")
    with bench(NFT) as node:
        cluster = random_cluster()
        node.sync(cluster.objects.values())
        node.sync([])
    version = ".".join(map(str, node.tables().version()))
    (line,) = (each for each in caplog.messages if "written by the program" in each)
    assert f"of iptables {version}" in line


def test_a_kernel_without_an_extension_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(known, "_EXTENSIONS", (*known._EXTENSIONS, ("DNAT", 99, 1)))
    known._is_taken.cache_clear()
    caplog.set_level(logging.INFO, "kproxy")
    with new_node():
        for _ in range(2):
            Xtables(Family.IPV4, "nft").restore(["*nat\n:A - [0:0]\nCOMMIT\n"])
        assert Xtables(Family.IPV4, "nft").chains("nat", ["A"]) == {"A": []}
    known._is_taken.cache_clear()
    assert len([each for each in caplog.messages if "revision 99 of DNAT" in each]) == 1


def test_kproxy_writes_no_rule_that_needs_the_program(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "kproxy")
    with bench(NFT) as node:
        cluster = random_cluster()
        node.sync(cluster.objects.values())
        for _ in range(20):
            cluster.edit()
            node.sync(cluster.objects.values())
        ours = {family: contents(family) for family in Family}
    assert not [each for each in caplog.messages if "the program has to" in each]
    assert sum(map(len, ours[Family.IPV4].values())) > 50


def restore(family: Family, text: str) -> bool:
    """Restore without the program that is installed here: all tested ones are known."""
    spoken = dialects.dialect(family, Xtables(family, "nft").version())
    assert spoken
    with Session() as session:
        return Writer(spoken).restore(session, text)


def command(family: Family) -> str:
    return "iptables-nft" if family is Family.IPV4 else "ip6tables-nft"


def contents(family: Family) -> dict[str, list[object]]:
    """Return all attributes of tables, chains and rules in the order of the kernel, by the name of
    the chain or "", except handles and what changes with the number of rules.
    """
    found: dict[str, list[object]] = {}
    header = struct.pack(">BBH", NFPROTO[family], 0, 0)
    with Session() as session:
        for kind, name, left_out in (
            (GET_TABLE, 0, {3, 4}),
            (GET_CHAIN, 0, {2, 6}),
            (GET_RULE, 2, {3, 6}),
        ):
            for body in session.dump(Request(kind, header, ("list",))):
                uncounted = COUNTS.sub(bytes(20), bytes(body[4:]))
                fields = {key: bytes(value) for key, value in attributes(memoryview(uncounted))}
                owner = fields[name].rstrip(b"\0").decode() if name else ""
                kept = {key: value for key, value in fields.items() if key not in left_out}
                found.setdefault(owner, []).append(kept)
    return found
