"""A target becomes healthy and unhealthy with the results of its checks."""

from __future__ import annotations

import pytest

from kproxy.edge.health import Health
from kproxy.edge.listeners import CheckTimes

TIMES = CheckTimes(interval_s=1.0, timeout_s=0.5, threshold=2)

HISTORIES = [  # answers (+ good, - bad) -> healthy after each of them
    ("+", [True]),
    ("-", [False]),
    ("--+", [False, False, True]),
    ("+-", [True, True]),
    ("+--", [True, True, False]),
    ("+-+-", [True, True, True, True]),
    ("+---+", [True, True, False, False, True]),
]


@pytest.mark.parametrize(("answers", "expected"), HISTORIES)
def test_in_and_out(answers: str, expected: list[bool]) -> None:
    health = Health(TIMES, 0.0)
    seen = []
    for now, answer in enumerate(answers):
        before = health.healthy
        health.start(now)
        changed = health.end("" if answer == "+" else "refused")
        assert changed == (health.healthy != before)
        assert health.due_s == now + TIMES.interval_s
        seen.append(health.healthy)
    assert seen == expected


def test_a_new_target_is_awaited_until_its_first_result() -> None:
    health = Health(TIMES, 10.0)
    assert health.awaited(10.0)
    assert health.awaited(11.9)
    assert not health.awaited(12.0)  # not forever
    assert health.start(10.0) == 1.0
    health.end("refused")
    assert not health.awaited(10.5)
    assert health.start(11.0) == TIMES.timeout_s


@pytest.mark.parametrize("reason", ["", "refused"])
def test_only_what_is_out_is_hurried(reason: str) -> None:
    health = Health(TIMES, 0.0)
    health.start(0.0)
    health.end(reason)
    health.hurry(0.3)
    assert (health.due_s, health.awaited(0.3)) == ((0.3, True) if reason else (1.0, False))
