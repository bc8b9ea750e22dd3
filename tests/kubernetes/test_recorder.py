"""Events are sent in the background, once, and never at the expense of who records them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from kproxy.errors import AccessRefused, KernelRefused, Unreachable
from kproxy.kubernetes.connection import Answer
from kproxy.kubernetes.events import Event, metrics_server_failed, starting
from kproxy.kubernetes.recorder import (
    ATTEMPTS,
    QUEUE_MAX,
    REPEATED_S,
    Recorder,
)
from tests.kubernetes.api_server import ApiServer, answer
from tests.kubernetes.asking import Connect
from tests.kubernetes.certificates import Authority, Pair

Outcome = int | Exception


class Server:
    """Answers with the given statuses, one after the other, and then with 201."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes: Iterator[Outcome] = iter(outcomes)
        self.notes: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = threading.Semaphore(0)

    def post(self, path: str, body: bytes) -> Answer:
        assert path == "/apis/events.k8s.io/v1/namespaces/default/events"
        self.notes.append(json.loads(body).get("note", ""))
        self.asked.release()
        assert self.may_answer.wait(30)
        outcome = next(self._outcomes, 201)
        if isinstance(outcome, Exception):
            raise outcome
        return Answer(outcome, {}, b"")


def failed(note: str) -> Event:
    return metrics_server_failed("node-a", note)


def test_what_is_recorded_is_sent() -> None:
    server = Server()
    sender = Recorder(server.post, "host-1")
    sender.record(starting("node-a"))
    sender.record(failed("one"))
    sender.close(30)
    assert server.notes == ["", "one"]


def test_over_a_connection(connect: Connect, authority: Authority, server_pair: Pair) -> None:
    with ApiServer(lambda _: answer(status=201), server_pair) as server:
        cluster = {"server": server.url, "certificate-authority": str(authority.certificate)}
        post = partial(connect(cluster).post, timeout_s=30)
        events = Recorder(post, "host-1")
        events.record(starting("node-a"))
        events.close(30)
        (request,) = server.requests
    assert request.method == "POST"
    assert request.path == "/apis/events.k8s.io/v1/namespaces/default/events"
    assert json.loads(request.body)["reportingInstance"] == "kube-proxy-host-1"


def test_nothing_is_sent_after_the_end() -> None:
    server = Server()
    sender = Recorder(server.post, "host-1")
    sender.close(30)
    sender.record(failed("late"))
    sender.close(30)
    assert server.notes == []


def test_repeated_events_are_sent_once() -> None:
    server = Server()
    now = [0.0]
    sender = Recorder(server.post, "host-1", clock=lambda: now[0])
    for moment in (0.0, 1.0, REPEATED_S - 1, REPEATED_S, REPEATED_S + 1):
        now[0] = moment
        sender.record(failed(f"at {moment >= REPEATED_S}"))
        sender.record(failed("again"))
    sender.close(30)
    assert server.notes == ["at False", "again", "at True", "again"]


def test_a_full_queue_loses_what_comes_last(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.may_answer.clear()
    sender = Recorder(server.post, "host-1")
    sender.record(failed("first"))
    assert server.asked.acquire(timeout=30)  # it is on its way, and no longer in the queue
    for number in range(QUEUE_MAX + 1):
        sender.record(failed(str(number)))
    server.may_answer.set()
    sender.close(30)
    assert server.notes == ["first", *map(str, range(QUEUE_MAX))]
    (lost,) = [each for each in caplog.records if each.name == "kproxy"]
    assert (lost.levelname, f"'{QUEUE_MAX}'" in lost.getMessage()) == ("DEBUG", True)


RETRIED: list[Outcome] = [
    429,
    500,
    503,
    Unreachable("no answer"),
    AccessRefused(["no longer valid"]),
    KernelRefused("no memory to renew credentials"),
]


@pytest.mark.parametrize("outcome", RETRIED, ids=str)
def test_what_may_pass_is_tried_again(outcome: Outcome) -> None:
    server = Server(outcome, outcome)
    sender = Recorder(server.post, "host-1", retry_s=0)
    sender.record(failed("one"))
    for _ in range(3):
        assert server.asked.acquire(timeout=30)
    sender.close(30)
    assert server.notes == ["one"] * 3


@pytest.mark.parametrize("status", [400, 403, 404, 409, 415, 422])
def test_what_is_refused_is_lost(status: int, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(status)
    sender = Recorder(server.post, "host-1")
    sender.record(failed("one"))
    sender.record(failed("two"))
    sender.close(30)
    assert server.notes == ["one", "two"]
    (lost,) = [each for each in caplog.records if each.name == "kproxy"]
    assert lost.levelname == "DEBUG"
    assert lost.getMessage().endswith(f": status {status}")


def test_it_is_not_tried_for_ever() -> None:
    server = Server(*[503] * (ATTEMPTS + 5))
    sender = Recorder(server.post, "host-1", retry_s=0)
    sender.record(failed("one"))
    sender.record(failed("two"))
    for _ in range(ATTEMPTS + 1):
        assert server.asked.acquire(timeout=30)
    sender.close(30)
    assert server.notes[: ATTEMPTS + 1] == [*["one"] * ATTEMPTS, "two"]


def test_the_end_does_not_wait_for_another_attempt() -> None:
    """Each of those queued is tried once."""
    server = Server(503, 503)
    sender = Recorder(server.post, "host-1", retry_s=3600)
    sender.record(failed("one"))
    assert server.asked.acquire(timeout=30)
    sender.record(failed("two"))
    sender.record(failed("three"))
    sender.close(30)
    assert server.notes == ["one", "two", "three"]


def test_the_end_does_not_wait_for_a_server_that_hangs() -> None:
    server = Server()
    server.may_answer.clear()
    sender = Recorder(server.post, "host-1")
    sender.record(failed("one"))
    assert server.asked.acquire(timeout=30)
    sender.close(0.01)
    server.may_answer.set()
    sender.close(30)
    assert server.notes == ["one"]
