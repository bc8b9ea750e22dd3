from __future__ import annotations

import pytest

from kproxy.config.durations import format_duration, parse_duration

DURATIONS = [  # text, seconds, as Go prints it
    ("0", 0, "0s"),
    ("0s", 0, "0s"),
    ("30s", 30, "30s"),
    ("1h0m0s", 3600, "1h0m0s"),
    ("24h", 86400, "24h0m0s"),
    ("90s", 90, "1m30s"),
    ("1.5h", 5400, "1h30m0s"),
    ("100ms", 0.1, "100ms"),
    ("1.5s", 1.5, "1.5s"),
    ("2m0.25s", 120.25, "2m0.25s"),
    ("7us", 7e-6, "7µs"),
    ("7µs", 7e-6, "7µs"),
    ("12ns", 1.2e-8, "12ns"),
    (".5s", 0.5, "500ms"),
    ("-1s", -1, "-1s"),
    ("+3m", 180, "3m0s"),
]


@pytest.mark.parametrize(("text", "seconds", "printed"), DURATIONS)
def test_go_durations(text: str, seconds: float, printed: str) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
    assert format_duration(parse_duration(text)) == printed


@pytest.mark.parametrize("text", ["", "30", "s", "1d", "1 s", "1s ", "--1s", "1s2", "٣s", ".s"])
def test_what_go_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
