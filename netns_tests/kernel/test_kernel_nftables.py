"""Transactions of nf_tables: all or nothing, undisturbed by others; and reading a table."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel.links import Links
from kproxy.kernel.netlink import Request
from kproxy.kernel.netns import Namespace
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables.expressions import Verdict
from kproxy.kernel.nftables.listing import table_listing
from kproxy.kernel.nftables.objects import (
    AnonymousSet,
    Hook,
    Rule,
    Set,
    Table,
    data_value,
    element,
)
from kproxy.kernel.nftables.session import Session, TableReader
from kproxy.kernel.nftables.types import INTEGER, VERDICT, address
from kproxy.kernel.process import run

IPV4 = Family.IPV4
ACCEPT = Rule((expr.verdict(Verdict.ACCEPT),), "let in")
CHOICE = Rule(  # with a set of its own
    (
        expr.random_number(2),
        AnonymousSet(
            tuple(
                element(bytes([number, 0, 0, 0]), expr.verdict_data(Verdict.GOTO, "end"))
                for number in range(2)
            ),
            INTEGER,
            VERDICT,
            target=0,
        ),
    )
)
ADDRESSES = Set("addresses", address(IPV4))


@pytest.fixture
def session() -> Iterator[Session]:
    with Namespace.create() as namespace, namespace.entered(), Session() as session:
        yield session


@pytest.fixture
def table() -> Table:
    return Table(IPV4, "mine")


def small(table: Table) -> list[Request]:
    chains = [table.add_chain(name) for name in ("end", "choice", "empty")]
    rules = [*table.add_rule("end", ACCEPT), *table.add_rule("choice", CHOICE)]
    elements = table.add_elements(
        "addresses", [element(bytes([10, 0, 0, last])) for last in (1, 2)]
    )
    return [table.create("for a test"), *chains, table.add_set(ADDRESSES), *rules, *elements]


def test_what_is_written_is_read(session: Session, table: Table) -> None:
    reader = TableReader(session, IPV4, "mine")
    assert not reader.exists()
    assert (reader.chains(), reader.sets(), reader.rules()) == ({}, {}, {})
    assert reader.element_count("addresses") == 0
    session.commit(small(table))
    assert reader.exists()
    assert reader.chains() == dict.fromkeys(("end", "choice", "empty"), False)
    assert list(reader.sets().values()) == [False, True]
    assert reader.rules() == {"end": [ACCEPT.digest], "choice": [CHOICE.digest]}
    assert reader.element_count("addresses") == 2
    assert table_listing(IPV4, "mine") == {
        "chain end": ('accept comment "let in"',),
        "chain choice": ("numgen random mod 2 vmap { 0 : goto end, 1 : goto end }",),
        "chain empty": (),
        "set addresses": ("10.0.0.1", "10.0.0.2"),
    }
    assert table_listing(Family.IPV6, "mine") == {}


def test_counters(session: Session, table: Table) -> None:
    """One that is added again keeps its value; one that a rule uses cannot be deleted."""
    reader = TableReader(session, IPV4, "mine")
    assert reader.counters() == {}
    session.commit([table.create(), table.add_counter("one"), table.add_counter("other")])
    run(["nft", "add table ip others; add counter ip others three { packets 3 bytes 4 }"])
    run(["nft", "add quota ip mine one { 5 bytes }"])  # other objects have names of their own
    hook = Hook("filter", 3, 0)
    rules = table.add_rule("out", Rule((expr.count_in("one"),)))
    session.commit([table.add_chain("out", hook), *rules])
    with Links() as links:
        links.up("lo")
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"?", ("127.0.0.1", 9))
    counted = reader.counters()
    assert counted.pop("one") > 0
    assert counted == {"other": 0}
    before = reader.counters()
    session.commit([table.add_counter("one"), table.delete_counter("other")])
    assert reader.counters() == {"one": before["one"]}
    with pytest.raises(KernelRefused, match="delete counter ip mine one"):
        session.commit([table.delete_counter("one")])
    assert table_listing(IPV4, "mine") == {"chain out": ('counter name "one"',)}


def test_rules_of_others_have_no_digest(session: Session, table: Table) -> None:
    session.commit(small(table))
    run(["nft", "add", "rule", "ip", "mine", "end", "accept"])
    assert TableReader(session, IPV4, "mine").rules()["end"] == [ACCEPT.digest, b""]


REFUSED = [  # the last message of a transaction, the text of the error
    (
        lambda t: t.add_rule("nowhere", ACCEPT),
        "add rule ip mine nowhere: No such file or directory",
    ),
    (lambda t: t.delete_elements("addresses", [element(bytes(4))]), "delete elements ip mine addr"),
    (lambda t: [t.delete_chain("end")], "delete chain ip mine end: Device or resource busy"),
    (lambda t: [t.delete_set("nothing")], "delete set ip mine nothing: No such file or directory"),
]


@pytest.mark.parametrize(("bad", "words"), REFUSED)
def test_one_refusal_undoes_all(session: Session, table: Table, bad: object, words: str) -> None:
    session.commit(small(table))
    before, generation = run(["nft", "list", "ruleset"]), session.generation()
    assert callable(bad)
    with pytest.raises(KernelRefused, match=words):
        session.commit([table.add_chain("another"), table.flush_set("addresses"), *bad(table)])
    assert run(["nft", "list", "ruleset"]) == before
    assert session.generation() == generation
    session.commit([table.add_chain("another")])
    assert session.generation() == generation + 1


def test_a_rehearsal_changes_nothing(session: Session, table: Table) -> None:
    generation = session.generation()
    session.rehearse(small(table))
    assert run(["nft", "list", "ruleset"]) == ""
    assert session.generation() == generation
    with pytest.raises(KernelRefused, match="nowhere"):
        session.rehearse([*small(table), *table.add_rule("nowhere", ACCEPT)])


def test_thousands_of_refusals_are_counted(session: Session, table: Table) -> None:
    """More errors than the socket has room for still raise one."""
    missing = [table.delete_chain(f"missing-{number}") for number in range(5000)]
    with pytest.raises(KernelRefused, match=r"missing-0: No such file(?s:.*)and \d+ more"):
        session.commit([table.create(), *missing])
    assert run(["nft", "list", "ruleset"]) == ""
    session.commit(small(table))


def test_a_large_transaction(session: Session, table: Table) -> None:
    chains = [table.add_chain(f"chain-{number}") for number in range(20_000)]
    elements = [element(number.to_bytes(4, "big")) for number in range(50_000)]
    session.commit(
        [
            table.create(),
            *chains,
            table.add_set(ADDRESSES),
            *table.add_elements("addresses", elements),
        ]
    )
    reader = TableReader(session, IPV4, "mine")
    assert len(reader.chains()) == 20_000
    assert reader.element_count("addresses") == 50_000


def test_maps_yield_what_was_put_in(session: Session, table: Table) -> None:
    map_ = Set("numbers", address(IPV4), INTEGER)
    pairs = [element(bytes([10, 0, 0, 1]), data_value(bytes([7, 0, 0, 0])), "seven")]
    session.commit([table.create(), table.add_set(map_), *table.add_elements("numbers", pairs)])
    listed = run(["nft", "--json", "list", "map", "ip", "mine", "numbers"])
    assert '"comment": "seven"' in listed
    assert "10.0.0.1" in listed


def test_others_may_commit_at_the_same_time(session: Session, table: Table) -> None:
    """Other processes change a table of their own all the while."""
    run(["nft", "add table ip theirs; add set ip theirs s { type ipv4_addr; }"])
    enough = threading.Event()
    namespace_thread = threading.Thread(target=partial(_disturb, enough))
    namespace_thread.start()
    try:
        for _ in range(50):
            session.commit([table.create(), table.delete(), *small(table)])
    finally:
        enough.set()
        namespace_thread.join()
    assert "chain choice" in table_listing(IPV4, "mine")
    assert "set s" in table_listing(IPV4, "theirs")


def _disturb(enough: threading.Event) -> None:
    """Change another table until told, in the namespace of the thread that starts this one."""
    while not enough.is_set():
        run(["nft", "add element ip theirs s { 10.0.0.1 }; flush set ip theirs s"])
