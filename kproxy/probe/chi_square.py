"""Pearson's chi-square test that connections are spread evenly.

A tolerance picked by eye ("between 80 and 120 of 300") is either too strict or too lax; this test
gives the probability that pure chance is at least as uneven as the observation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

REJECT_BELOW = 1e-4
"""Below this p-value a spread counts as uneven: a correct proxy fails one run in 10,000.

300 connections still detect a wrong one. If one of three endpoints gets half of them (the mistake
of giving each rule the probability 1/2), the median p-value is 1e-8.
"""

_PRECISION = 1e-15


def p_value(counts: Sequence[int]) -> float:
    """Return the probability, 0 to 1, that chance makes counts at least as uneven as these.

    There is a count for each candidate, also for one that was never chosen. With one candidate, or
    without any choice made, it is 1.
    """
    total = sum(counts)
    if len(counts) < 2 or not total:
        return 1.0
    expected = total / len(counts)
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    return survival(statistic, len(counts) - 1)


def survival(statistic: float, degrees_of_freedom: int) -> float:
    """Return P(X >= statistic) for X distributed as chi-square.

    This is the regularised upper gamma function Q. Source: Numerical Recipes, 3rd edition, section
    6.2: the series where it converges quickly, elsewhere the continued fraction by Lentz's method.
    """
    a, x = degrees_of_freedom / 2, statistic / 2
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1 - scale * _series(a, x) if x < a + 1 else scale * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while term > total * _PRECISION:
        n += 1
        term *= x / n
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c = math.inf
    d = total = 1 / b
    i, step = 0, 0.0
    while abs(step - 1) > _PRECISION:
        i += 1
        numerator = -i * (i - a)
        b += 2
        d = 1 / (numerator * d + b)
        c = b + numerator / c
        step = c * d
        total *= step
    return total
