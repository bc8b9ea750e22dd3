"""Objects that others hold on to are named once and tried again."""

from __future__ import annotations

import logging

import pytest

from kproxy.backend.held import RETRY_S, Held

WHY = {"a": "MINE leads to it"}


def test_what_cannot_be_removed_is_tried_again_until_it_can() -> None:
    held = Held("IPv4")
    assert held.again_in_s(0.0) == 0
    held.tried(["a", "b"], WHY, 0.0)
    assert held.names == {"a"}
    assert not held.is_due(RETRY_S - 1)
    assert held.again_in_s(10.0) == RETRY_S - 10
    assert held.is_due(RETRY_S)
    held.tried(held.names, WHY, RETRY_S)
    assert not held.is_due(RETRY_S + 1)
    held.tried(held.names, {}, 2 * RETRY_S)
    assert (held.names, held.again_in_s(2 * RETRY_S), held.knows("a")) == (frozenset(), 0, False)


def test_what_is_needed_again_is_not_tried_but_remembered() -> None:
    held = Held("IPv4")
    held.tried(["a"], WHY, 0.0)
    held.needed(["a", "never heard of"])
    assert held.knows("a")
    assert (held.names, held.is_due(RETRY_S), held.again_in_s(1.0)) == (frozenset(), False, 0)
    held.unneeded(["a"])
    assert held.names == {"a"}
    assert 0 < held.again_in_s(5.0) <= RETRY_S


def test_each_holder_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    held = Held("IPv4")
    with caplog.at_level(logging.INFO, "kproxy"):
        for now in (0.0, 60.0):
            held.tried(["a"], WHY, now)
        held.needed(["a"])
        held.tried(["a"], WHY, 120.0)
        assert caplog.text.count("IPv4: a cannot be removed yet: MINE leads to it") == 1
        held.tried(["a"], {"a": "OTHER leads to it"}, 180.0)
        assert "OTHER leads to it" in caplog.text
        held.tried(["a", "b"], {}, 240.0)
    assert [each.getMessage() for each in caplog.records][2:] == [
        "IPv4: a is removed, nothing holds it any more"
    ]
