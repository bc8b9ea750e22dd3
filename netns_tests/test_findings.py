"""Findings that are not as expected are printed whole."""

from __future__ import annotations

import pytest

from kproxy.probe import Finding
from kproxy.tour.part import Part
from netns_tests.findings import require_none, require_ok, surprises

LONG = "a reason of many words, "[:20] * 100
WRONG = Finding(
    check="node port",
    client="outside",
    asked="192.168.10.12:30080",
    answered="dropped at node-b",
    source="",
    expected="delivered to shop-a from 192.168.10.12",
    why=LONG,
    hops=("outside", "router", "node-b"),
    problems=("packet dropped, last seen on node-b", "connection timed out"),
)
TEXT = f"""\
node port: outside asks 192.168.10.12:30080
  seen: dropped at node-b; hops: outside -> router -> node-b
  expected: delivered to shop-a from 192.168.10.12: {LONG}
  wrong: packet dropped, last seen on node-b
  wrong: connection timed out"""


def test_a_finding_is_printed_whole() -> None:
    with pytest.raises(AssertionError) as caught:
        require_ok(WRONG)
    assert TEXT in str(caught.value)


def test_all_of_a_tour_that_is_wrong_is_printed() -> None:
    parts = [
        Part(title="one", findings=[WRONG]),
        Part(title="two", problems=["web-1 is ready"]),
    ]
    assert surprises("node-port", parts) == [
        f"node-port: one: {TEXT}",
        "node-port: two: web-1 is ready",
    ]
    assert surprises("node-port", []) == ["node-port: nothing shown"]
    with pytest.raises(AssertionError) as caught:
        require_none(surprises("node-port", parts) * 50)
    assert str(caught.value).count(TEXT) == 50
