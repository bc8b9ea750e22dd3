"""Quantities, as Kubernetes writes amounts of CPU and memory."""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil

_FORM = re.compile(r"(\d+\.?\d*|\.\d+)(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,2}))?", re.ASCII)
_SCALES = (
    {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 10**3)}
    | {suffix: Fraction(1000) ** i for i, suffix in enumerate("kMGTPE", start=1)}
    | {f"{suffix}i": Fraction(1024) ** i for i, suffix in enumerate("KMGTPE", start=1)}
)


def milli_units(quantity: float | str) -> int | None:
    """Return the quantity in thousandths, rounded up; None if it is invalid or below zero.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    found = _FORM.fullmatch(str(quantity))
    if not found:
        return None
    digits, suffix, exponent = found.groups()
    scale = _SCALES[suffix] if suffix else Fraction(10) ** int(exponent or 0)
    return ceil(Fraction(digits) * scale * 1000)
