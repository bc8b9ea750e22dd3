"""The ports that a request for forwarded ports names."""

from __future__ import annotations

import pytest

from kproxy.apiserver.http.port_channels import ports
from kproxy.controlplane.plane import Refused


def test_ports_of_a_request() -> None:
    query = (("name", "web"), ("ports", "80,443"), ("ports", "8080"))
    assert ports(query) == [80, 443, 8080]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "is required"),
        ([""], "numbers of ports"),
        (["0"], "numbers of ports"),
        (["65536"], "numbers of ports"),
        (["80,"], "numbers of ports"),
        (["٣"], "numbers of ports"),
        ([",".join(["80"] * 129)], "more than 128 ports"),
    ],
)
def test_what_cannot_be_forwarded(given: list[str], words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        ports(tuple(("ports", each) for each in given))
    assert refused.value.status == 400
