"""UDP probes and their answers are recognised by their first bytes."""

from __future__ import annotations

import pytest

from kproxy.probe.datagrams import Tagged, probe, reply_prefix, tagged

TAG = 0xFFFF0A00


def test_a_reply_repeats_the_tag() -> None:
    assert tagged(probe(TAG)) == Tagged(TAG, reply=False)
    assert tagged(reply_prefix(probe(TAG)) + b'{"pod": "a"}\n') == Tagged(TAG, reply=True)


def test_twelve_bytes_are_enough() -> None:
    assert tagged(probe(TAG)[:12]) == Tagged(TAG, reply=False)
    assert tagged(reply_prefix(probe(TAG))[:12]) == Tagged(TAG, reply=True)


@pytest.mark.parametrize(
    "other", [b"", b"kproxy\n", b"kproxy?123", b"anything else", probe(TAG)[1:]]
)
def test_other_datagrams_get_the_usual_answer(other: bytes) -> None:
    assert tagged(other) is None
    assert reply_prefix(other) == b""


def test_a_reply_is_no_probe() -> None:
    assert reply_prefix(reply_prefix(probe(TAG))) == b""
