"""Actions that wait at the same time."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from kproxy.kernel.at_once import at_once


def test_they_run_at_the_same_time() -> None:
    meeting = threading.Barrier(5, timeout=30)  # breaks unless all five come

    def act(number: int) -> int:
        meeting.wait()
        return number

    assert at_once([partial(act, number) for number in range(5)], print) == [0, 1, 2, 3, 4]
    assert at_once([], print) == []


def test_if_one_fails_the_others_are_undone() -> None:
    undone: list[int] = []

    def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        at_once([lambda: 1, fail, lambda: 2], undone.append)
    assert sorted(undone) == [1, 2]
