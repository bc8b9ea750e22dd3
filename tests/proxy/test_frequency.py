"""Requests and outcomes in, moments out."""

from __future__ import annotations

import pytest

from kproxy.proxy.frequency import BoundedFrequency, Due


def frequency(min_interval_s: float = 1.0) -> BoundedFrequency:
    return BoundedFrequency(
        min_interval_s=min_interval_s, retry_limit_s=30.0, full_interval_s=100.0
    )


def run(bounded: BoundedFrequency, start: float, end: float, *, ok: bool = True) -> None:
    bounded.started(start)
    bounded.finished(end, ok=ok)


def test_nothing_is_due_until_requested() -> None:
    bounded = frequency()
    assert bounded.due(50.0) is Due.NOTHING
    assert bounded.next_at() == float("inf")


def test_two_syncs_at_once_then_one_for_each_interval_after_the_end_of_the_last() -> None:
    bounded = frequency()
    starts = []
    now = 10.0
    for _ in range(5):
        bounded.request()
        now = max(now, bounded.next_at())
        assert bounded.due(now) is Due.SYNC
        starts.append(now)
        run(bounded, now, now + 3.0)
        now += 3.0
    # ends at 13, 16, 20, ...: 1 s after each end
    assert starts == [10.0, 13.0, 17.0, 21.0, 25.0]


def test_quiet_time_restores_the_burst_and_no_more() -> None:
    bounded = frequency()
    starts = []
    now = 0.0
    for moment in (0.0, 0.0, 0.0, 100.0, 100.0, 100.0):
        now = max(now, moment)
        bounded.request()
        now = max(now, bounded.next_at())
        starts.append(now)
        run(bounded, now, now)
    assert starts == [0.0, 0.0, 1.0, 100.0, 100.0, 101.0]


def test_due_says_no_before_its_time() -> None:
    bounded = frequency()
    for _ in range(2):
        run(bounded, 5.0, 5.0)
    bounded.request()
    assert bounded.next_at() == 6.0
    assert bounded.due(5.99) is Due.NOTHING
    assert bounded.due(6.0) is Due.SYNC


def test_retries_double_up_to_the_limit_and_start_over_after_a_success() -> None:
    bounded = frequency()
    pauses = []
    now = 0.0
    bounded.request()
    for ok in (False, False, False, False, False, False, False, True, False):
        run(bounded, now, now, ok=ok)
        if not ok:
            pauses.append(bounded.next_at() - now)
            assert bounded.due(bounded.next_at()) is Due.SYNC
            now = bounded.next_at()
        else:
            now += 10
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 1.0]


def test_a_request_does_not_wait_for_the_retry() -> None:
    bounded = frequency()
    for _ in range(4):
        run(bounded, 0.0, 0.0, ok=False)
    assert bounded.next_at() == 8.0
    bounded.request()
    assert bounded.next_at() == 3.0  # only for its turn


@pytest.mark.parametrize("ok", [True, False])
def test_without_a_minimum_interval_only_failures_pause(ok: bool) -> None:
    bounded = frequency(min_interval_s=0.0)
    for _ in range(3):
        bounded.request()
        assert bounded.due(7.0) is Due.SYNC
        run(bounded, 7.0, 7.0, ok=ok)
    assert bounded.next_at() == (107.0 if ok else 11.0)


def test_a_full_sync_is_due_an_interval_after_the_last_one_whatever_happens_between() -> None:
    bounded = frequency()
    bounded.request()
    run(bounded, 0.0, 1.0)
    for now in (20.0, 40.0, 60.0, 80.0, 99.0):
        bounded.request()
        assert bounded.due(now) is Due.SYNC
        run(bounded, now, now)
    assert bounded.next_at() == 101.0
    assert bounded.due(101.0) is Due.FULL_SYNC
    run(bounded, 101.0, 102.0)
    assert bounded.next_at() == 202.0


def test_a_failed_periodic_full_sync_waits_like_any_other() -> None:
    bounded = frequency()
    bounded.request()
    run(bounded, 0.0, 0.0)
    for start, pause in ((100.0, 1.0), (101.0, 2.0), (103.0, 4.0)):
        assert bounded.due(start) is Due.FULL_SYNC
        run(bounded, start, start, ok=False)
        assert bounded.next_at() == start + pause
