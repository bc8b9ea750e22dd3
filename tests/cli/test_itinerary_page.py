"""Itineraries as pages."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kproxy.cli.itinerary_page import page_of
from kproxy.cli.itinerary_text import lines_of, summary_lines
from kproxy.explain.itinerary import Itinerary
from tests.explain.itineraries import ITINERARY, ON_A_NODE, THROUGH, step
from tests.report.pages import Page

EVIL = "<script>'\"&"
LOST = replace(ITINERARY, answered=False, outcome="dropped", sentence="node-b drops it")
HOSTILE = replace(
    ITINERARY,
    question=replace(ITINERARY.question, target=EVIL),
    sentence=EVIL,
    hops=tuple(
        replace(hop, host=EVIL, steps=(step("dnat", EVIL, EVIL),), entry=EVIL)
        for hop in ITINERARY.hops
    ),
)


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize(
    "itinerary",
    [ITINERARY, LOST, HOSTILE, THROUGH, ON_A_NODE],
    ids=["", "lost", "hostile", "through a proxy", "on a node"],
)
def test_it_has_all_that_the_text_has(itinerary: Itinerary, *, everything: bool) -> None:
    found = Page(page_of([itinerary], everything=everything))
    assert found.pictures == 1
    rows = [row for rows in found.tables.values() for row in rows[1:]]
    assert [row[0] for row in rows] == [str(n) for n in range(1, len(itinerary.hops) + 1)]
    for line in lines_of(itinerary, 10_000, everything=everything):
        for words in line.strip().split("  "):  # of the first line of a hop: number, host, links
            assert all(map(found.has, words.split(", in by")[0].split(", out by"))), line


def test_several_probes_are_counted_and_one_of_each_fate_is_shown() -> None:
    probes = [LOST, ITINERARY, ITINERARY]
    found = Page(page_of(probes))
    assert found.tables["What became of them"] == [
        ["fate", "endpoint", "probes"],
        ["answered by web", "10.244.1.11:8080", "2"],
        ["node-b drops it", "10.244.1.11:8080", "1"],
    ]
    assert found.pictures == 2
    assert found.headings[0] == ("h1", summary_lines(probes, 200)[0])


def test_packets_of_several_clients_have_their_own_titles() -> None:
    other = replace(LOST, question=replace(LOST.question, source="visitor"))
    found = Page(page_of([ITINERARY, other]))
    assert found.headings[0] == ("h1", "2 packets")
    assert any("visitor asks 10.96.0.10:80 (web), TCP" in words for _, words in found.headings)
