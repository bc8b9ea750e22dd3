"""A reflector meets answers that are no lists, no events or no Statuses, whole or in part."""

from __future__ import annotations

import json

import pytest

from tests.kubernetes.copies import Copy, watching
from tests.kubernetes.served import Answer, Served, expired


def test_a_half_written_event_is_asked_for_again() -> None:
    copy = watching(Served("a"))
    copy.served.put("b")
    copy.served.put("c")
    whole = copy.served.answer({"watch": "true", "resourceVersion": "101"}).body
    copy.step(Answer(200, whole[:-20]))
    assert copy.ports == {"a": 80, "b": 80}
    copy.step()
    assert copy.queries[-1]["resourceVersion"] == "102"
    assert copy.ports == {"a": 80, "b": 80, "c": 80}


def test_lines_that_are_no_events_are_asked_for_again_and_then_all_is_read_again() -> None:
    copy = watching(Served("a"))
    copy.served.put("b")
    for _ in range(3):
        copy.step(Answer(200, b'{"type": "ADDED", "obj\n'))
    assert all(copy.pauses[1:])
    copy.step()
    assert "sendInitialEvents" in copy.queries[-1]
    assert copy.ports == {"a": 80, "b": 80}


@pytest.mark.parametrize("told", [b'"restarting"', b"null", b"[]", b'{"code": "x"}', b'"\xff"'])
def test_an_error_event_without_a_status_is_tried_again(told: bytes) -> None:
    copy = watching(Served("a"))
    copy.step(Answer(200, b'{"type": "ERROR", "object": ' + told + b"}\n"))
    assert copy.reflector.problem.startswith("refused: ")
    copy.served.put("b")
    copy.step()
    assert copy.queries[-1]["resourceVersion"] == "101"
    assert copy.ports == {"a": 80, "b": 80}


def test_a_text_that_is_not_utf_8_is_asked_for_again() -> None:
    copy = watching(Served("a"))
    copy.served.put("b")
    broken = copy.served.answer({"watch": "true", "resourceVersion": "101"}).body
    copy.step(Answer(200, broken.replace(b"shop", b"sh\xffp")))
    assert copy.ports == {"a": 80}
    copy.step(Answer(500, b'{"message": "\xff"}'))
    copy.step()
    assert copy.ports == {"a": 80, "b": 80}


def test_a_list_that_is_not_utf_8_is_asked_for_again() -> None:
    copy = Copy(Served("a", watch_lists="refused"))
    copy.step()
    copy.step(Answer(200, b'{"kind": "ServiceList", "items": [{"metadata": {"name": "\xff"}}]}'))
    assert not copy.reflector.synced
    copy.step()
    assert copy.ports == {"a": 80}


@pytest.mark.parametrize("body", [b"{}", b'{"kind": "Status", "status": "Success"}', b"[]"])
def test_an_answer_that_is_no_list_is_no_empty_list(body: bytes) -> None:
    copy = watching(Served("a", watch_lists="refused"))
    copy.bring(expired())
    copy.step(Answer(200, body))
    assert copy.reflector.problem.startswith("the answer is not a list: ")
    copy.step()
    assert copy.ports == {"a": 80}


def test_a_null_is_an_absent_field() -> None:
    copy = Copy(Served("a", watch_lists="refused"))
    copy.step()
    metadata = {"resourceVersion": "9", "continue": None}
    empty = {"kind": "ServiceList", "metadata": metadata, "items": None}
    copy.step(Answer(200, json.dumps(empty).encode()))
    assert copy.reflector.synced
    event = copy.served.events[0][1]
    event["object"]["metadata"] |= {"annotations": None, "labels": None}
    error = {"code": 410, "reason": "Expired", "details": None}
    copy.bring(event, {"type": "ERROR", "object": error})
    assert copy.ports == {"a": 80}
    copy.step()
    assert "limit" in copy.queries[-1]


def test_a_status_without_a_code_is_judged_by_its_reason() -> None:
    copy = watching(Served("a"))
    for reason in ("Expired", "InternalError"):
        copy.bring({"type": "ERROR", "object": {"kind": "Status", "reason": reason}})
    copy.step()
    assert ["sendInitialEvents" in each for each in copy.queries] == [False, True, False]
    assert "limit" in copy.queries[-1]
