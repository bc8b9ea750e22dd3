"""Go durations, as Kubernetes writes them: `30s`, `1h0m0s`, `1.5h`, `100ms`, `0`."""

from __future__ import annotations

import re

from kproxy.config.types import Seconds

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # micro sign
    "μs": 1_000,  # Greek mu: Go accepts both
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
# Compiled when a duration is read: most configurations have none.
_PART = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_WHOLE = rf"([-+]?)((?:{_PART})+|0)"


def parse_duration(text: str) -> Seconds:
    """Return the duration in `text`. Raises ValueError where Go's time.ParseDuration does."""
    match = re.fullmatch(_WHOLE, text)
    if not match:
        raise ValueError(f"{text!r} is not a duration such as 30s or 1h0m0s")
    parts: list[tuple[str, str]] = re.findall(_PART, match[2])
    total_ns = sum(float(number) * _UNITS_NS[unit] for number, unit in parts)
    return Seconds((-total_ns if match[1] == "-" else total_ns) / 1e9)


def format_duration(length: float) -> str:
    """Return a length in seconds as Go prints it: 3600 -> `1h0m0s`, 0.1 -> `100ms`, 0 -> `0s`."""
    sign, total_ns = ("-" if length < 0 else ""), round(abs(length) * 1e9)
    if total_ns == 0:
        return "0s"
    for unit in ("ns", "µs", "ms"):
        if total_ns < _UNITS_NS[unit] * 1000:
            return f"{sign}{total_ns / _UNITS_NS[unit]:.9g}{unit}"
    minutes, rest_ns = divmod(total_ns, _UNITS_NS["m"])
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest_ns / 1e9:.11g}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"
