"""A reflector asks, takes answers, and passes on what they change, without any network."""

from __future__ import annotations

import gc
import json
import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from kproxy.api.types import Node
from kproxy.api.watched_types import Service
from kproxy.kubernetes import reflector as module
from kproxy.kubernetes import stream
from kproxy.kubernetes.reflector import Phase, Reflector
from kproxy.kubernetes.resources import SERVICE_CIDRS, SERVICES, own_node
from tests.kubernetes.copies import Copy, watching
from tests.kubernetes.served import Answer, Json, Served, expired, lines, service, status


def test_a_watch_list_brings_all_and_a_watch_goes_on_from_there() -> None:
    copy = Copy(Served("a", "b"))
    copy.step()
    assert copy.reflector.synced
    assert copy.ports == {"a": 80, "b": 80}
    copy.served.put("a", port=81)
    copy.served.remove("b")
    copy.served.put("c")
    copy.step()
    assert copy.ports == {"a": 81, "c": 80}
    first, second = copy.queries
    assert first == {
        "allowWatchBookmarks": "true",
        "fieldSelector": "spec.clusterIP!=None",
        "labelSelector": "!service.kubernetes.io/service-proxy-name",
        "resourceVersionMatch": "NotOlderThan",
        "sendInitialEvents": "true",
        "timeoutSeconds": "450",
        "watch": "true",
    }
    assert second["resourceVersion"] == "102"
    assert "sendInitialEvents" not in second


def test_nothing_is_passed_on_before_all_is_there() -> None:
    copy = Copy(Served("a", "b"))
    whole = copy.served.answer({"watch": "true", "sendInitialEvents": "true"} | _match()).body
    without_end = whole[: whole.rindex(b'{"type": "BOOKMARK"')]
    copy.step(Answer(200, without_end))
    assert not copy.reflector.synced
    assert copy.ports == {}
    assert "before" in copy.reflector.problem
    copy.step()
    assert copy.ports == {"a": 80, "b": 80}


@pytest.mark.parametrize("how", ["refused", "failing"])
def test_without_watch_lists_everything_is_listed_in_pages(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 2)
    copy = Copy(Served(*"abcde", watch_lists=how))
    for _ in range(4):
        copy.step()
    assert copy.ports == dict.fromkeys("abcde", 80)
    _, first, second, third = copy.queries
    assert (first["limit"], first["resourceVersion"]) == ("2", "0")
    assert "continue" not in first
    assert "resourceVersion" not in second
    assert second["continue"] != third["continue"]
    assert copy.pauses == [0, 0, 0, 0]
    copy.served.put("f")
    copy.step()
    assert copy.queries[-1]["resourceVersion"] == "105"
    assert "f" in copy.ports


def test_an_expired_token_makes_the_list_begin_again_without_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 2)
    copy = Copy(Served(*"abcde", watch_lists="refused"))
    copy.step()
    copy.step()
    copy.served.compact()
    copy.served.remove("a")
    copy.step()
    assert copy.ports == {}
    copy.step()
    assert copy.ports == dict.fromkeys("bcde", 80)
    assert "limit" not in copy.queries[-1]
    assert "continue" not in copy.queries[-1]


def _gone_as_status() -> Answer:
    return Answer(410, json.dumps(status(410, "Gone", "too old")).encode())


def _gone_as_event() -> Answer:
    return Answer(200, lines(expired()))


def _too_large() -> Answer:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    body = status(504, "Timeout", "Too large resource version: 9, current: 8", causes=causes)
    return Answer(504, json.dumps(body).encode())


@pytest.mark.parametrize("watch_lists", ["supported", "refused", "failing"])
@pytest.mark.parametrize("answer", [_gone_as_status(), _gone_as_event(), _too_large()])
def test_a_lost_version_is_followed_by_the_differences_only(
    answer: Answer, watch_lists: str
) -> None:
    copy = watching(Served(*"abcd", watch_lists=watch_lists))
    copy.served.put("b", port=8080)
    copy.served.remove("c")
    copy.served.put("e")
    copy.step(answer)
    assert copy.ports == dict.fromkeys("abcd", 80)
    while copy.reflector.phase is not Phase.WATCH:
        copy.step()
    assert copy.ports == {"a": 80, "b": 8080, "d": 80, "e": 80}
    assert copy.writes == 3
    assert copy.queries[1].get("resourceVersion", "") == ""
    assert copy.pauses[1] > 0


def test_an_error_event_of_an_overloaded_server_keeps_the_version() -> None:
    copy = watching(Served("a"))
    copy.bring({"type": "ERROR", "object": status(500, "InternalError", "etcd is away")})
    assert copy.reflector.problem == "refused: 500 etcd is away"
    copy.served.put("b")
    copy.step()
    assert copy.queries[-1]["resourceVersion"] == "101"
    assert copy.ports == {"a": 80, "b": 80}
    assert copy.reflector.problem == ""


def test_pauses_double_up_to_a_limit_and_begin_anew_after_a_success() -> None:
    copy = watching(Served("a"))
    for _ in range(8):
        copy.step(Answer(503, b"upstream is away"))
    copy.step()
    copy.served.put("b")
    copy.step()
    copy.step(Answer(500, b""))
    copy.step()
    assert copy.pauses[:8] == pytest.approx([0, 1.2, 2.4, 4.8, 9.6, 19.2, 38.4, 45])
    assert copy.pauses[-1] == pytest.approx(1.2)


def test_retry_after_is_kept_with_a_random_part() -> None:
    copy = watching(Served("a"))
    copy.step(Answer(429, b"", {"retry-after": "7"}))
    copy.step(Answer(503, b"", {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    copy.step(Answer(429, json.dumps(status(429, "", "", retryAfterSeconds=100)).encode()))
    copy.step(Answer(429, b"", {"retry-after": "99999"}))
    copy.step(Answer(429, b"", {"retry-after": "Wed, 21 Oct 9999 07:28:00"}))  # of no zone
    copy.step(Answer(429, b"", {"retry-after": f"Wed, 21 Oct {10**30} 07:28:00 GMT"}))
    copy.step()
    assert copy.pauses == pytest.approx([0, 7 * 1.25, 2.4, 125, 375, 375, 38.4])


def test_an_object_that_cannot_be_accepted_keeps_its_last_good_version() -> None:
    copy = watching(Served("a", "b"))
    copy.served.put("a", sessionAffinity="Sometimes")
    copy.served.put("b", port=81)
    copy.step()
    assert copy.ports == {"a": 80, "b": 81}
    (rejected,) = copy.rejected
    assert rejected.name == "Service shop/a"
    assert rejected.metadata.uid == "uid-a"
    assert "spec.sessionAffinity" in rejected.problems[0]
    copy.served.compact()
    copy.step()
    copy.step()
    assert copy.ports == {"a": 80, "b": 81}
    assert len(copy.rejected) == 1, "the same version is reported once"
    copy.served.put("a", port=82)
    copy.step()
    assert copy.ports == {"a": 82, "b": 81}


@pytest.mark.parametrize(
    "object_", [{"metadata": {"name": "x", "namespace": "shop"}, "spec": 3}, {}]
)
def test_an_object_of_the_wrong_shape_is_rejected_alone(object_: Json) -> None:
    copy = watching(Served("a"))
    copy.bring({"type": "ADDED", "object": object_}, {"type": "ADDED", "object": service("b", 200)})
    assert copy.ports == {"a": 80, "b": 80}
    assert len(copy.rejected) == 1


def test_an_event_is_read_once_unless_something_is_wrong_with_it() -> None:
    usual = {"type": "ADDED", "object": service("a", 200)}
    wrong = {"type": "ADDED", "object": service("b", 201, sessionAffinity=3)}
    bookmark = Served().bookmark(note="kept")
    given = lines(usual, wrong, bookmark).splitlines()
    first, *others = (each.object for each in stream.events("Service", given))
    assert isinstance(first, Service)
    assert all(isinstance(each, Raw) for each in others)
    assert stream.head(first).resource_version == "200"
    assert isinstance(others[1], Raw)
    assert stream.head(others[1]).annotations == {"note": "kept"}


@pytest.mark.parametrize("affinity", ["Sometimes", 3], ids=["read at once", "read in parts"])
def test_a_rejection_names_the_object_and_its_version(affinity: object) -> None:
    copy = watching(Served("a"))
    bad = service("bad", 200, sessionAffinity=affinity)
    copy.bring({"type": "ADDED", "object": bad})
    (rejected,) = copy.rejected
    known = rejected.metadata
    assert rejected.name == "Service shop/bad"
    assert (known.uid, known.resource_version) == ("uid-bad", "200")


def test_events_that_come_twice_or_late_change_nothing() -> None:
    copy = watching(Served("a", "b"))
    newer = {"type": "MODIFIED", "object": service("a", 210, 210)}
    older = {"type": "MODIFIED", "object": service("a", 205, 205)}
    gone = {"type": "DELETED", "object": service("b", 220)}
    late = {"type": "MODIFIED", "object": service("b", 215)}
    other = {"type": "ADDED", "object": service("c", 203)}
    copy.bring(newer, older, gone, late, gone, newer, other)
    assert copy.ports == {"a": 210, "c": 80}
    copy.step()
    assert copy.queries[-1]["resourceVersion"] == "220"


def test_a_service_that_is_deleted_and_made_again_exists() -> None:
    copy = watching(Served("a"))
    copy.served.remove("a")
    copy.served.put("a", port=9)
    copy.step()
    assert copy.ports == {"a": 9}


def test_unknown_types_of_events_are_passed_over() -> None:
    copy = watching(Served("a"))
    copy.bring({"type": "RENAMED", "object": service("z", 300)})
    assert copy.ports == {"a": 80}


def test_bookmarks_move_the_version_on() -> None:
    copy = watching(Served("a"))
    copy.served.version = 900
    copy.bring(copy.served.bookmark())
    copy.step()
    assert copy.queries[-1]["resourceVersion"] == "900"


def test_a_server_that_ends_watches_at_once_is_not_asked_in_a_loop() -> None:
    copy = watching(Served("a"))
    ask = copy.reflector.ask(copy.now)
    assert ask.pause_s == 0
    copy.reflector.opened()
    copy.reflector.ended(copy.now)
    assert copy.reflector.ask(copy.now).pause_s > 0


def test_a_silent_watch_is_replaced_at_once_and_a_silent_watch_list_by_lists() -> None:
    copy = watching(Served("a"))
    copy.reflector.ask(0)
    copy.reflector.failed("silent", silent=True)
    assert copy.reflector.ask(0).pause_s == 0
    fresh = Copy(Served("a"))
    fresh.reflector.ask(0)
    fresh.reflector.failed("silent", silent=True)
    fresh.step()
    assert "limit" in fresh.queries[-1]
    assert fresh.ports == {"a": 80}


@pytest.mark.parametrize("code", [403, 404])
def test_of_an_optional_collection_that_is_missing_there_is_nothing(code: int) -> None:
    reflector = Reflector(SERVICE_CIDRS)
    for _ in range(2):
        reflector.ask(0)
        reflector.refused(code, {}, b"not here")
        assert reflector.synced
        assert (reflector.problem, reflector.missing) == ("", f"{code} not here")
    assert reflector.ask(0).pause_s >= 30
    reflector.took(lines(Served().bookmark(**{"k8s.io/initial-events-end": "true"})))
    assert reflector.missing == ""
    reflector.ask(0)
    reflector.refused(code, {}, b"not here")
    assert reflector.problem == f"refused: {code} not here"
    services = Reflector(SERVICES)
    services.ask(0)
    services.refused(code, {}, b"not here")
    assert not services.synced


def test_a_node_may_have_addresses_that_are_none() -> None:
    """Clouds write an empty ExternalIP: a proxy must not wait for another Node."""
    told = [("InternalIP", "node-a"), ("ExternalIP", ""), ("InternalIP", "192.0.2.1")]
    addresses = [{"type": type_, "address": address} for type_, address in told]
    node = {"metadata": {"name": "node-a"}, "status": {"addresses": addresses}}
    end = Served().bookmark(**{"k8s.io/initial-events-end": "true"})
    reflector = Reflector(own_node("node-a"))
    reflector.ask(0)
    received = reflector.took(lines({"type": "ADDED", "object": node}, end))
    assert received.rejected == ()
    (found,) = received.update.upserts
    assert isinstance(found, Node)
    assert [each.address for each in found.status.addresses] == ["192.0.2.1"]


@given(st.integers(0, 2**32), st.sampled_from(["supported", "refused", "failing"]))
def test_after_any_history_the_copy_is_what_the_server_has(seed: int, watch_lists: str) -> None:
    random = Random(seed)
    served = Served(*"abcdefg", watch_lists=watch_lists)
    copy = Copy(served)
    for _ in range(random.randrange(40)):
        _change(served, random)
        match random.randrange(9):
            case 0:
                served.compact()
            case 1:
                copy.step(Answer(random.choice([429, 500, 503, 410]), b"{}"))
            case 2:
                copy.step(Answer(200, b"half an ans"))
            case 3:
                copy.reflector.ask(copy.now)
                copy.reflector.failed("reset", silent=random.random() < 0.5)
            case _:
                copy.step(chunk_bytes=random.choice([7, 100, 100_000]))
    for _ in range(6):
        copy.step()
    expected = {name: each["spec"]["ports"][0]["port"] for name, each in served.objects.items()}
    assert copy.ports == expected


def _change(served: Served, random: Random) -> None:
    name = random.choice("abcdefghij")
    if name in served.objects and random.random() < 0.4:
        served.remove(name)
    else:
        served.put(name, port=random.randrange(1, 1000))


def _match() -> dict[str, str]:
    return {"resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}


def test_a_later_version_of_an_object_costs_no_second_key() -> None:
    names = [f"svc-{number}" for number in range(1000)]
    reflector = watching(Served(*names)).reflector

    def later(version: int) -> bytes:
        changed = (service(name, version, version) for name in names)
        return lines(*({"type": "MODIFIED", "object": each} for each in changed))

    reflector.ask(0.0)
    fresh = later(5000)
    gc.collect()
    tracemalloc.start()
    try:
        reflector.took(fresh)
        gc.collect()  # also frees what Python keeps for the next tuples
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken_bytes / len(names) < 100  # the text of a version takes 53
