"""Requests of a trace that a lab's process refuses before it does anything."""

from __future__ import annotations

from typing import Any, cast

import pytest

from kproxy.errors import BadInput
from kproxy.lab import Lab
from kproxy.resident.tracing import Tracing

BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "the request of a trace: Object missing required field `source`"),
    ({"source": 1, "target": "web"}, "the request of a trace: Expected `str`"),
    ({"source": "a", "target": "b", "more": 1}, "the request of a trace: Object contains unknown"),
    ({"source": "a", "target": "b", "family": "IPX"}, "the request of a trace: Invalid enum value"),
    ({"source": "a", "target": "b", "count": 0}, "0 probes: 1 to 250 can be traced at once"),
    ({"source": "a", "target": "b", "count": 251}, "251 probes: 1 to 250 can be traced at once"),
]


@pytest.mark.parametrize(("request_", "said"), BAD)
def test_bad_requests(request_: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        Tracing(cast("Lab", None)).answer({"do": "trace", **request_})
    assert caught.value.problems[0].startswith(said)
