"""Quantities, as Kubernetes writes amounts of CPU and memory."""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

_FORM = re.compile(r"(\d+\.?\d*|\.\d+)(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,2}))?", re.ASCII)
_THOUSANDS = {suffix: power for power, suffix in enumerate("num", start=-3)} | {
    suffix: power for power, suffix in enumerate("kMGTPE", start=1)
}
_KIBIS = {f"{suffix}i": power for power, suffix in enumerate("KMGTPE", start=1)}
SUFFIXES = frozenset({"", *_THOUSANDS, *_KIBIS})


def milli_units(quantity: float | str) -> int | None:
    """Return the quantity in thousandths, rounded up; None if it is invalid or below zero.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    amount = _amount(quantity)
    return None if amount is None else ceil(amount * 1000)


def fraction_of(quantity: float | str) -> str:
    """Return the quantity as Kubernetes writes it if it is no whole number; else "".

    It is whole if it is when rounded up to thousandths.
    """
    amount, exponential = _amount(quantity), "e" in str(quantity).lower()
    if amount is None or ceil(amount * 1000) % 1000 == 0:
        return ""
    places, letter = next(
        (each for each in ((3, "m"), (6, "u")) if (amount * 10 ** each[0]).denominator == 1),
        (9, "n"),
    )
    return f"{ceil(amount * 10**places)}" + (f"e-{places}" if exponential else letter)


def _amount(quantity: float | str) -> Fraction | None:
    found = _FORM.fullmatch(str(quantity))
    if not found:
        return None
    from fractions import Fraction

    digits, suffix, exponent = found.groups()
    if suffix in _KIBIS:
        return Fraction(digits) * Fraction(1024) ** _KIBIS[suffix]
    scale = 3 * _THOUSANDS[suffix] if suffix else int(exponent or 0)
    return Fraction(digits) * Fraction(10) ** scale
