"""The time as objects bear it: RFC 3339 in UTC."""

from __future__ import annotations

from datetime import datetime


def seconds(text: str) -> float:
    """Return a time in seconds since the epoch. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
