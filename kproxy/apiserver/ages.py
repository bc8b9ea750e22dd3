"""Ages, as kubectl prints them. Source: apimachinery, pkg/util/duration"""

from __future__ import annotations

from datetime import datetime

_MINUTE, _HOUR = 60, 3600


def age(since: str | None, now: datetime) -> str:
    """Return how long ago a time was, as `5m10s`; `<unknown>` without one."""
    moment = _moment(since)
    if moment is None:
        return "<unknown>"
    seconds = int((now - moment).total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(0, seconds)
    minutes, hours = seconds // _MINUTE, seconds // _HOUR
    days, years = hours // 24, hours // 24 // 365
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"
