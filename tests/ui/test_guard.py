"""Whom the page's server answers."""

from __future__ import annotations

import pytest

from kproxy.ui import guard

PORT = 4711
TOKEN = "a" * 43

FOREIGN = [  # headers -> status, None: answered
    ({"Host": "127.0.0.1:4711"}, None),
    ({"Host": "localhost:4711"}, None),
    ({"Host": "[::1]:4711"}, None),
    ({}, 421),
    ({"Host": "127.0.0.1"}, 421),
    ({"Host": "127.0.0.1:4712"}, 421),
    ({"Host": "rebound.example.com:4711"}, 421),
    ({"Host": "127.0.0.1:4711", "Origin": "http://127.0.0.1:4711"}, None),
    ({"Host": "127.0.0.1:4711", "Origin": "http://127.0.0.1:4712"}, 403),
    ({"Host": "127.0.0.1:4711", "Origin": "null"}, 403),
    ({"Host": "127.0.0.1:4711", "Sec-Fetch-Site": "same-origin"}, None),
    ({"Host": "127.0.0.1:4711", "Sec-Fetch-Site": "none"}, None),
    ({"Host": "127.0.0.1:4711", "Sec-Fetch-Site": "same-site"}, 403),
    ({"Host": "127.0.0.1:4711", "Sec-Fetch-Site": "cross-site"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), FOREIGN, ids=str)
def test_requests_of_others_are_refused(headers: dict[str, str], status: int | None) -> None:
    refusal = guard.foreign(headers, PORT)
    assert (refusal.status if refusal else None) == status


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        (f"Bearer {TOKEN}", True),
        (f"Bearer {TOKEN}a", False),
        (f"Bearer {TOKEN[:-1]}", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer", False),
        ("Bearer \N{SNOWMAN}", False),
    ],
)
def test_only_the_token_opens(given: str, answered: bool) -> None:
    assert (guard.without_token({"Authorization": given}, TOKEN) is None) == answered
    assert guard.without_token({}, TOKEN) == guard.Refusal(
        401, "the token of the page's address is missing\n"
    )


def test_a_page_may_load_nothing_foreign() -> None:
    assert guard.security_headers()["Content-Security-Policy"].startswith("default-src 'self';")
