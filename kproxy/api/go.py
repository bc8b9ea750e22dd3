"""Text and times as Go, in which Kubernetes is written, prints and reads them."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable

_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"} | {
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_LAYOUT = "2006-01-02T15:04:05Z07:00"
# What the layout expects one after the other: its name there, the text that fits, the group's name.
_ELEMENTS = (
    ("2006", r"[0-9]{4}", "year"),
    ("-", "-", ""),
    ("01", r"[0-9]{2}", "month"),
    ("-", "-", ""),
    ("02", r"[0-9]{2}", "day"),
    ("T", "T", ""),
    ("15", r"[0-9]{1,2}", "hour"),
    (":", ":", ""),
    ("04", r"[0-9]{2}", "minute"),
    (":", ":", ""),
    ("05", r"[0-9]{2}(?:[.,][0-9]+)?", "second"),
    ("Z07:00", r"Z|[-+][0-9]{2}:[0-9]{2}", ""),
)
_RANGES: dict[str, Callable[[int], bool]] = {
    "month": lambda number: 1 <= number <= 12,
    "hour": lambda number: number < 24,
    "minute": lambda number: number < 60,
    "second": lambda number: number < 60,
}


def quoted(text: str) -> str:
    """Return the text as %q prints it."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    number = ord(character)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def time_problem(text: str) -> str:
    """Return why `text` is not a time such as 2026-01-31T12:00:00Z; "" if it is one.

    The words are those of `time.Parse(time.RFC3339, text)`.
    """
    told, rest = f"parsing time {quoted(text)}", text
    numbers: dict[str, int] = {}
    for element, pattern, name in _ELEMENTS:
        found = re.match(pattern, rest)
        if not found:
            return f'{told} as "{_LAYOUT}": cannot parse {quoted(rest)} as "{element}"'
        if name:
            numbers[name] = int(found[0][:4] if name == "year" else found[0][:2])
            if name in _RANGES and not _RANGES[name](numbers[name]):
                return f"{told}: {name} out of range"
        rest = rest[found.end() :]
    if rest:
        return f"{told}: extra text: {quoted(rest)}"
    if not 1 <= numbers["day"] <= monthrange(numbers["year"] or 4, numbers["month"])[1]:
        return f"{told}: day out of range"
    return ""
