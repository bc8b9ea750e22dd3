"""Without its programs, small tables of iptables' legacy variant get the very bytes that they would
write, and are read as they would print them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import iptables_programs, legacy_tables, process
from kproxy.kernel.iptables_legacy import SmallTables, writer
from kproxy.kernel.iptables_legacy.layout import COUNTERS, LAYOUTS
from kproxy.kernel.iptables_legacy.table import entries_of
from kproxy.kernel.iptables_save import TABLES, Table, parse_save
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.kernel.starter import Started
from kproxy.kernel.xtables import Xtables, choose_variant
from kproxy.testing.node import new_node
from netns_tests.iptables.written import (
    ADDRESSES,
    NOT_OURS,
    RULES_OF_IPVS,
    as_text,
    counted,
    create_objects,
    rules_of,
)
from netns_tests.modes import IPTABLES, Mode
from netns_tests.node import bench, random_cluster

(LEGACY,) = (mode for mode in IPTABLES if mode.variant == "legacy")
WRITTEN = ("filter", "nat", "raw")
PARSED: tuple[Table, ...] = ("filter", "nat")
STEPS = (  # in every table; each is written after the former ones
    ":B - [0:0]\n:A - [0:0]\n:C-1 - [0:0]\n-A A -j B\n-A B\n-A OUTPUT -j A\n",
    "-I OUTPUT -m comment --comment first -j C-1\n-I A -j RETURN\n-A C-1 -s {net} -j ACCEPT\n",
    ":AB - [0:0]\n:A - [0:0]\n-A AB -g B\n",
    "-D OUTPUT -j A\n-X A\n",
    "-F C-1\n-D OUTPUT -m comment --comment first -j C-1\n-X C-1\n",
    ":AB - [0:0]\n:B - [0:0]\n-X B\n",
    "",
)
REFUSED = (
    *(
        ":OUTPUT ACCEPT [0:0]",
        ":OUTPUT - [0:0]",
        ":LOOP - [0:0]\n-A LOOP -j LOOP\n-A OUTPUT -j LOOP",
        "-X LEAF",
    ),
    *("-A OUTPUT -j MISSING", "-A MISSING -j LEAF", "-D RULES -j DROP", "-D RULES 1", "-X OUTPUT"),
    *("-A RULES -m set --match-set missing dst", f":{'x' * 29} - [0:0]", "-F", "-P OUTPUT ACCEPT"),
    "-X RULES",
)


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Why programs were needed; the tests of this file say in which cases."""
    caplog.set_level(logging.DEBUG, "kproxy")
    found: list[str] = []
    yield found
    assert [each for each in caplog.messages if "the program has to" in each] == found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of programs, as they are started."""
    names: list[str] = []
    start = process._start

    def noted(
        argv: Sequence[str], *, has_input: bool, env: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | Started:
        names.append(argv[0])
        return start(argv, has_input=has_input, env=env)

    monkeypatch.setattr(process, "_start", noted)
    return names


@pytest.mark.parametrize("family", Family)
@pytest.mark.usefixtures("reasons")
def test_every_rule_is_the_same_byte_for_byte(family: Family) -> None:
    for table in WRITTEN:
        text = as_text(table, rules_of(family, table))
        with new_node():
            create_objects(family)
            run([f"{command(family)}-restore", "--noflush"], text)
            wanted = contents(family, table)
        with new_node():
            create_objects(family)
            assert SmallTables(family).restore(text) == ""
            found = contents(family, table)
        for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
            assert ours == theirs, f"entry {number}"


@pytest.mark.parametrize("family", Family)
@pytest.mark.usefixtures("reasons")
def test_every_rule_is_read_as_it_is_printed(family: Family) -> None:
    for table in PARSED:
        with new_node():
            create_objects(family)
            run([f"{command(family)}-restore"], as_text(table, rules_of(family, table)))
            printed = parse_save(run([f"{command(family)}-save", "-t", table]))[table]
            assert SmallTables(family).save(table) == printed
            assert len(printed["RULES"]) > 40


@pytest.mark.parametrize("family", Family)
@pytest.mark.usefixtures("reasons")
def test_whole_tables_are_the_same_text(family: Family) -> None:
    """With policies, and also the table that rules for a trace are in."""
    with new_node():
        create_objects(family)
        for table in WRITTEN:
            run([f"{command(family)}-restore"], as_text(table, rules_of(family, table)))
        run([command(family), "-t", "raw", "-P", "OUTPUT", "DROP"])
        printed = uncounted(run([f"{command(family)}-save"]))
        assert uncounted(Xtables(family, "legacy").save_text()) == printed
        assert {"*raw", ":OUTPUT DROP", "-A RULES -j TRACE"}.issubset(printed)


@pytest.mark.ipvs
@pytest.mark.parametrize("family", Family)
@pytest.mark.usefixtures("reasons")
def test_rules_about_virtual_servers_are_written_read_and_deleted(family: Family) -> None:
    rules = [rule.format(**ADDRESSES[family]) for rule in RULES_OF_IPVS]
    deletions = "".join(f"-D RULES {rule}\n" for rule in reversed(rules))
    text = as_text("filter", rules)
    with new_node():
        run([f"{command(family)}-restore", "--noflush"], text)
        wanted = contents(family, "filter")
        printed = parse_save(run([f"{command(family)}-save", "-t", "filter"]))["filter"]
    with new_node():
        tables = SmallTables(family)
        assert tables.restore(text) == ""
        assert contents(family, "filter") == wanted
        assert tables.save("filter") == printed
        assert len(printed["RULES"]) == len(rules)
        assert tables.restore(f"*filter\n{deletions}COMMIT\n") == ""
        assert tables.save("filter") == {**printed, "RULES": []}


@pytest.mark.parametrize("family", Family)
def test_commands_one_after_the_other(family: Family) -> None:
    for table in TABLES:
        with Namespace.create() as theirs, Namespace.create() as ours:
            for step in STEPS:
                text = f"*{table}\n{step.format(**ADDRESSES[family])}COMMIT\n"
                with theirs.entered():
                    run([f"{command(family)}-restore", "--noflush"], text)
                    wanted = contents(family, table)
                    printed = parse_save(run([f"{command(family)}-save", "-t", table]))[table]
                with ours.entered():
                    left = SmallTables(family).restore(text)
                    assert left == (text if "-g" in step else "")
                    Xtables(family, "legacy").restore([left])
                    assert contents(family, table) == wanted, step
                    assert Xtables(family, "legacy").save(table) == printed


@pytest.mark.parametrize("family", Family)
@pytest.mark.usefixtures("reasons")
def test_every_rule_is_found_again_to_be_deleted(family: Family) -> None:
    """Whoever wrote it, and after it has counted packets."""
    for table in WRITTEN:
        rules = rules_of(family, table)
        deletions = "".join(f"-D RULES {rule}\n" for rule in reversed(rules))
        with new_node():
            create_objects(family)
            run([f"{command(family)}-restore", "--noflush", "--counters"], counted(table, rules))
            tables = SmallTables(family)
            assert tables.restore(f"*{table}\n-I RULES -j LEAF\nCOMMIT\n") == ""
            assert tables.restore(f"*{table}\n{deletions}COMMIT\n") == ""
            found = tables.save(table)
            assert found
            assert found["RULES"] == ["-j LEAF"]


@pytest.mark.parametrize("family", Family)
@pytest.mark.usefixtures("reasons")
def test_rules_and_policies_that_stay_keep_their_counters(family: Family) -> None:
    text = (
        "*filter\n:INPUT DROP [5:500]\n:FORWARD ACCEPT [6:600]\n:OUTPUT ACCEPT [0:0]\n"
        ":MINE - [0:0]\n[7:700] -A FORWARD -j MINE\n[8:800] -A MINE -j ACCEPT\n"
        "[9:900] -A MINE -j RETURN\nCOMMIT\n"
    )
    change = (
        "*filter\n:AFTER - [0:0]\n-I MINE -j AFTER\n-A AFTER -j RETURN\n-D MINE -j ACCEPT\nCOMMIT\n"
    )
    with new_node():
        run([f"{command(family)}-restore", "--counters"], text)
        assert SmallTables(family).restore(change) == ""
        lines = run([f"{command(family)}-save", "--counters", "-t", "filter"]).splitlines()
    # What the node itself sends is counted in OUTPUT.
    assert [line for line in lines if line[0] in ":[" and "OUTPUT" not in line] == [
        *(":INPUT DROP [5:500]", ":FORWARD ACCEPT [6:600]"),
        *(":AFTER - [0:0]", ":MINE - [0:0]", "[7:700] -A FORWARD -j MINE"),
        *("[0:0] -A AFTER -j RETURN", "[0:0] -A MINE -j AFTER", "[9:900] -A MINE -j RETURN"),
    ]


def test_rules_of_other_programs_stay_as_they_are() -> None:
    foreign = (
        "*filter\n:OTHER - [0:0]\n:OTHER-2 - [0:0]\n"
        "-A INPUT -p tcp -m multiport --dports 1,2 -g OTHER\n-A OTHER-2 -f -j DROP\n"
        "-A OTHER -m limit --limit 3/min -j LOG --log-prefix x\n-A OTHER -p icmp -j OTHER-2\n"
        "COMMIT\n"
    )
    with new_node():
        run(["iptables-legacy-restore"], foreign)
        before = run(["iptables-legacy-save", "-t", "filter"])
        ours = "*filter\n:MINE - [0:0]\n-I INPUT -j MINE\nCOMMIT\n"
        assert SmallTables(Family.IPV4).restore(ours) == ""
        assert run(["iptables-legacy-save", "-t", "filter"]).count("\n") == before.count("\n") + 2
        undo = "*filter\n-D INPUT -j MINE\n-X MINE\nCOMMIT\n"
        assert SmallTables(Family.IPV4).restore(undo) == ""
        after = run(["iptables-legacy-save", "-t", "filter"])
    assert rules_in(after) == rules_in(before)


@pytest.mark.parametrize("rule", [rule.format(**ADDRESSES[Family.IPV4]) for rule in NOT_OURS])
def test_what_might_mean_something_else_is_left_to_the_program(rule: str) -> None:
    with new_node():
        left_to_the_program(as_text("filter", [rule]))


@pytest.mark.parametrize("lines", REFUSED)
def test_what_the_program_would_refuse_is_left_to_it(lines: str) -> None:
    with new_node():
        run(["iptables-legacy-restore"], as_text("filter", ["-j LEAF"]))
        left_to_the_program(f"*filter\n{lines}\nCOMMIT\n")


def test_tables_before_one_that_is_refused_are_written_once() -> None:
    text = "*nat\n-I OUTPUT -j ACCEPT\nCOMMIT\n*filter\n-D OUTPUT -j DROP\nCOMMIT\n"
    with new_node():
        with pytest.raises(KernelRefused, match="iptables-legacy-restore"):
            Xtables(Family.IPV4, "legacy").restore([text])
        assert Xtables(Family.IPV4, "legacy").save("nat")["OUTPUT"] == ["-j ACCEPT"]


def test_a_program_that_writes_is_waited_for() -> None:
    """By the program: it says so, if it takes too long."""
    text = "*filter\n:MINE - [0:0]\nCOMMIT\n"
    with new_node(), Path(os.environ["XTABLES_LOCKFILE"]).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left_to_the_program(text)
        holder = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
        assert holder.stdin
        lock.close()
        left_to_the_program(text)
        holder.stdin.close()
        assert not holder.wait()
        assert SmallTables(Family.IPV4).restore(text) == ""


def test_large_texts_and_tables_are_left_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    text = as_text("filter", ["-j LEAF"] * 100)
    with new_node():
        assert SmallTables(Family.IPV4).restore(text) == ""
        monkeypatch.setattr(writer, "_MOST_BYTES", len(text))
        another = "*filter\n-A LEAF -j DROP\nCOMMIT\n"
        copied: list[str] = []  # which would take half as long as the program
        with monkeypatch.context() as patched:
            patched.setattr(legacy_tables, "whole", lambda _, name: copied.append(name))
            assert SmallTables(Family.IPV4).save("filter") is None
            assert SmallTables(Family.IPV4).restore(another) == another
        assert not copied
        left_to_the_program(another)
        left_to_the_program(text + text)


def test_an_unknown_version_is_left_to_the_program(
    started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_VERSIONS", frozenset())
    with new_node():
        Xtables(Family.IPV4, "legacy").restore(["*filter\n:MINE - [0:0]\nCOMMIT\n"])
        assert "MINE" in Xtables(Family.IPV4, "legacy").save("filter")
    assert started[-2:] == ["iptables-legacy-restore", "iptables-legacy-save"]


@pytest.mark.parametrize(
    "mode", [LEGACY, pytest.param(Mode("ipvs", "legacy"), marks=pytest.mark.ipvs)], ids=str
)
@pytest.mark.usefixtures("reasons")
def test_a_proxy_starts_no_program(mode: Mode, started: list[str]) -> None:
    """Neither for its rules, nor to see which variant is used, nor to remove all of them."""
    for family in Family:
        Xtables(family, "legacy").version()
    started.clear()
    with bench(mode) as node:
        cluster = random_cluster()
        node.sync(cluster.objects.values())
        for _ in range(20):
            cluster.edit()
            node.sync(cluster.objects.values())
        assert sum(map(len, Xtables(Family.IPV4, "legacy").save("nat").values())) > 20
        assert {choose_variant(family) for family in Family} == {"legacy"}
        for backend in node.backends.values():
            backend.cleanup()
        assert "KUBE-" not in str(Xtables(Family.IPV4, "legacy").save_all())
    assert [name for name in started if name != "conntrack"] == []


def test_both_families_are_one_program_of_one_version(
    started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iptables_programs, "_versions", {})
    assert len({Xtables(family, "legacy").version() for family in Family}) == 1
    assert started == ["iptables-legacy"]


def uncounted(text: str) -> list[str]:
    """Return the lines of iptables-save, but for comments, without counts of policies."""
    return [line.partition(" [")[0] for line in text.splitlines() if line[0] != "#"]


def left_to_the_program(text: str) -> None:
    """Nothing of the text is written."""
    before = contents(Family.IPV4, "filter")
    assert SmallTables(Family.IPV4).restore(text) == text
    assert contents(Family.IPV4, "filter") == before


def command(family: Family) -> str:
    return "iptables-legacy" if family is Family.IPV4 else "ip6tables-legacy"


def rules_in(saved: str) -> list[str]:
    return [re.sub(r"\[.*\]", "", line) for line in saved.splitlines() if line[0] != "#"]


def contents(family: Family, table: str) -> list[bytes]:
    """Return the entries of a table without counters: a node's own connections are counted, too."""
    layout = LAYOUTS[family]
    raw = legacy_tables.whole(family, table)
    entries = (each for _, each in entries_of(layout, raw.entries))
    return [each[: layout.size - COUNTERS.size] + each[layout.size :] for each in entries]
