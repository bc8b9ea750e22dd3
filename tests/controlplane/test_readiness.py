"""Thresholds of readiness probes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kproxy.api.types import Probe
from kproxy.controlplane.readiness import Readiness

OUTCOMES = [  # success and failure threshold, outcomes of probes (+ success) -> ready after each
    (1, 3, "", ""),
    (1, 3, "+", "+"),
    (1, 3, "---", "---"),
    (1, 3, "+--+", "++++"),
    (1, 3, "+---+", "+++-+"),
    (1, 3, "+--+--+---", "+++++++++-"),
    (1, 1, "+-+-", "+-+-"),
    (3, 1, "++-+++-", "-----+-"),
    (2, 2, "+-+-+-", "------"),
    (2, 2, "++-+-+--+", "-++++++--"),
]


def signs(of: Sequence[bool]) -> str:
    return "".join("-+"[each] for each in of)


@pytest.mark.parametrize(("success", "failure", "outcomes", "ready"), OUTCOMES)
def test_thresholds(success: int, failure: int, outcomes: str, ready: str) -> None:
    pod = Readiness(Probe(success_threshold=success, failure_threshold=failure))
    assert not pod.ready
    before, states, changes = False, [], []
    for each in outcomes:
        changed = pod.saw(each == "+")
        states.append(pod.ready)
        changes.append(changed == (pod.ready != before))
        before = pod.ready
    assert signs(states) == ready
    assert all(changes)


@pytest.mark.parametrize(
    ("success", "failure", "outcomes", "decided"),
    [
        (1, 3, "+", "+"),
        (1, 3, "---", "--+"),
        (1, 3, "+--+", "+--+"),
        (2, 3, "+-+--++", "------+"),
        (2, 3, "--+---", "-----+"),
    ],
)
def test_decided(success: int, failure: int, outcomes: str, decided: str) -> None:
    pod = Readiness(Probe(success_threshold=success, failure_threshold=failure))
    assert not pod.decided
    states = []
    for each in outcomes:
        pod.saw(each == "+")
        states.append(pod.decided)
    assert signs(states) == decided


@pytest.mark.parametrize(("success", "failure"), [(1, 1), (1, 3), (3, 1), (2, 3)])
@pytest.mark.parametrize("last", [True, False])
def test_one_change_of_mind_is_decided_in_time(success: int, failure: int, last: bool) -> None:
    """This holds at any moment: at the latest, the other outcome lacks one to be decided."""
    pod = Readiness(Probe(success_threshold=success, failure_threshold=failure))
    first = (failure if last else success) - 1
    for number in range(pod.most_asks):
        assert not pod.decided
        pod.saw(last if number >= first else not last)
    assert pod.decided
    assert pod.ready == last
