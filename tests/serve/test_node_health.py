"""The answers of the health server, and the health behind them. The clock is the test's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import Metadata, Node, Taint
from kproxy.loop.http import Response
from kproxy.proxy.health import ProxyHealth
from kproxy.serve.node_health import health_answer, is_eligible, rfc3339
from tests.proxy.objects import node

EPOCH_NS = 1_767_323_045_000_000_000  # 2026-01-02T03:04:05Z


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Rig:
    """The health of two families, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.health = ProxyHealth(
            Family, limit_s=60, clock=lambda: self.now, wall_clock_ns=lambda: self.now_ns
        )

    @property
    def now_ns(self) -> int:
        return EPOCH_NS + int(self.now * 1e9)

    def answer(self, *, eligible: bool | None = None) -> Response:
        return health_answer(self.health.families, self.now_ns, eligible=eligible)

    def status(self) -> int:
        assert self.health.healthy is (self.answer().status == 200)
        return self.answer().status


def test_the_bytes_of_an_answer() -> None:
    rig = Rig()
    rig.now = 0.1
    rig.health.started()
    rig.now = 0.2
    rig.health.synced(Family.IPV6)
    rig.now = 0.678
    answer = rig.answer(eligible=True)
    assert answer.status == 200
    assert answer.headers == (
        ("Content-Type", "application/json"),
        ("X-Content-Type-Options", "nosniff"),
    )
    assert answer.body == (
        b'{"lastUpdated":"2026-01-02T03:04:05.678Z","currentTime":"2026-01-02T03:04:05.678Z",'
        b'"nodeEligible":true,"healthy":true,"status":{'
        b'"IPv4":{"lastUpdated":"2026-01-02T03:04:05.1Z","healthy":true},'
        b'"IPv6":{"lastUpdated":"2026-01-02T03:04:05.2Z","healthy":true}}}'
    )


def test_a_node_that_is_not_eligible_is_healthy_all_the_same() -> None:
    rig = Rig()
    rig.health.started()
    rig.now = 5
    answer = rig.answer(eligible=False)
    body = json.loads(answer.body)
    assert (answer.status, body["healthy"], body["nodeEligible"]) == (503, True, False)
    assert body["lastUpdated"] == "2026-01-02T03:04:05Z"  # the last update, not now
    assert body["currentTime"] == "2026-01-02T03:04:10Z"
    live = rig.answer()
    assert live.status == 200
    assert "nodeEligible" not in json.loads(live.body)


def test_before_the_start() -> None:
    answer = Rig().answer(eligible=False)
    assert answer.status == 503
    assert answer.body == (
        b'{"lastUpdated":"0001-01-01T00:00:00Z","currentTime":"2026-01-02T03:04:05Z",'
        b'"nodeEligible":false,"healthy":true}'
    )


def test_the_oldest_request_decides() -> None:
    rig = Rig()
    rig.health.started()
    rig.now = 1000
    assert rig.status() == 200  # nothing was requested, however long ago the last sync was
    rig.health.requested()
    rig.now = 1050
    rig.health.requested()
    rig.now = 1059.9
    assert rig.status() == 200
    rig.now = 1060
    assert rig.status() == 503
    rig.health.synced(Family.IPV4)
    assert rig.status() == 503  # IPv6 is still waiting
    states = json.loads(rig.answer().body)["status"]
    assert {family: each["healthy"] for family, each in states.items()} == {
        "IPv4": True,
        "IPv6": False,
    }
    rig.health.synced(Family.IPV6)
    assert rig.status() == 200


NODES: list[tuple[Node | None, bool]] = [
    (None, False),
    (node(), True),
    (
        replace(node(), metadata=Metadata(name="a", deletion_timestamp="2026-01-02T03:04:05Z")),
        False,
    ),
    *(
        (
            replace(
                node(),
                spec=replace(
                    node().spec,
                    taints=(
                        Taint(key="other"),
                        Taint(key="ToBeDeletedByClusterAutoscaler", effect=e),
                    ),
                ),
            ),
            False,
        )
        for e in ("NoSchedule", "PreferNoSchedule", "")
    ),
    (replace(node(), spec=replace(node().spec, taints=(Taint(key="other"),))), True),
]


@pytest.mark.parametrize(("known", "eligible"), NODES)
def test_which_nodes_are_eligible(known: Node | None, eligible: bool) -> None:
    assert is_eligible(known) is eligible


TIMES = [  # nanoseconds after the epoch -> as Go writes it
    (678_901_234, "2026-01-02T03:04:05.678901234Z"),
    (100_000_000, "2026-01-02T03:04:05.1Z"),
    (1, "2026-01-02T03:04:05.000000001Z"),
    (0, "2026-01-02T03:04:05Z"),
]


@pytest.mark.parametrize(("nanoseconds", "text"), TIMES)
def test_times(nanoseconds: int, text: str) -> None:
    assert rfc3339(EPOCH_NS + nanoseconds) == text


def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "LOC-05:30")
    time.tzset()
    assert rfc3339(EPOCH_NS) == "2026-01-02T08:34:05+05:30"
